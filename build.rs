//! How the program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Addresses that the loader has to adjust take 24 bytes each in a table that it reads at every start; packed, they take
    // one bit or so. glibc 2.36 and musl 1.2.4 read that form.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
