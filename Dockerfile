# One static binary on nothing else: no shell, no package, no root.
#
#   docker build --tag palier:0.1.0 .

FROM rust:1.95-alpine AS build
# ring has parts in C and assembly.
RUN apk add --no-cache ca-certificates gcc musl-dev
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
# musl links statically; --locked builds exactly what was tested. Sources and build products stay in caches.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin palier && cp target/release/palier /palier

FROM scratch
# For metric servers with a certificate of a public authority.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /palier /palier
# Nobody: a number, so that runAsNonRoot can be checked without a user database.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/palier"]
CMD ["run"]
