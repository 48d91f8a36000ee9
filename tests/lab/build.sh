#!/usr/bin/env bash
# Builds the lab's programs from the Go modules pinned under tools/ and prints where they are, one name=path a line.
#
#   tests/lab/build.sh            builds what is missing (about 20 minutes from cold on two cores), then prints the paths
#   tests/lab/build.sh --check    builds nothing; fails when something is missing
#
# What is built is kept outside the checkout, under a name made of the tool's go.mod and go.sum: a changed pin is built anew, an
# unchanged one costs nothing. PALIER_LAB_CACHE names another place; programs found in KUBEBUILDER_ASSETS are taken as they are.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PALIER_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/palier}/lab
kubernetes=1.36.3
check=${1:-}

say() { printf 'lab: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# program | tool folder | package | build tags | what to expect
programs() {
  cat <<LIST
etcd|etcd|go.etcd.io/etcd/server/v3||about 1 minute
kube-apiserver|k8s|k8s.io/kubernetes/cmd/kube-apiserver||about 5 minutes
kube-controller-manager|k8s|k8s.io/kubernetes/cmd/kube-controller-manager||about 1 minute
kube-scheduler|k8s|k8s.io/kubernetes/cmd/kube-scheduler||half a minute
kubectl|k8s|k8s.io/kubernetes/cmd/kubectl||about 2 minutes
kwok|kwok|sigs.k8s.io/kwok/cmd/kwok||about 2 minutes
prometheus|prometheus|github.com/prometheus/prometheus/cmd/prometheus|remove_all_sd|about 2 minutes
helm|helm|helm.sh/helm/v3/cmd/helm||about 1 minute
traefik|traefik|github.com/traefik/traefik/v3/cmd/traefik||about 8 minutes
LIST
}

# The place of a tool's output: a changed pin is another place.
place() {
  local sum
  sum=$(cat "$here/tools/$1/go.mod" "$here/tools/$1/go.sum" | sha256sum)
  printf '%s/%s-%.12s' "$cache" "$1" "$sum"
}

# Where a program is, or is to be.
path_of() {
  if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; then
    printf '%s/%s' "$KUBEBUILDER_ASSETS" "$1"
  else
    printf '%s/bin/%s' "$(place "$2")" "$1"
  fi
}

need_command() { # command, Debian package
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing $2 (for $1)"
    { apt-get install -y -qq "$2" || { apt-get update -qq && apt-get install -y -qq "$2"; }; } >&2
  fi
  command -v "$1" >/dev/null || fail "the command $1 is missing: install the package $2"
}

need_go() {
  command -v go >/dev/null || fail "Go 1.26 or newer is missing: see https://go.dev/dl/"
  # Asked inside a tool's folder, Go says whether it is, or can fetch, the toolchain that the pin wants.
  (cd "$here/tools/k8s" && go version >/dev/null) || fail "Go 1.26 or newer is needed; this is $(GOTOOLCHAIN=local go version)"
}

build() { # program, folder, package, tags, expectation
  local out seconds=$SECONDS flags="-s -w"
  out=$(place "$2")/bin/$1
  [ -x "$out" ] && return
  [ "$2" = k8s ] && for part in gitVersion=v$kubernetes gitMajor=1 gitMinor=36 gitTreeState=clean; do
    flags="$flags -X k8s.io/component-base/version.$part"
  done
  say "building $1 ($5, once) …"
  mkdir -p "$(dirname "$out")"
  (cd "$here/tools/$2" && go build -trimpath -ldflags "$flags" ${4:+-tags "$4"} -o "$out.new" "$3" >&2) ||
    fail "building $1 failed; its pins are in tests/lab/tools/$2"
  mv "$out.new" "$out"
  say "built $1 in $((SECONDS - seconds)) s"
}

gateway_crds() {
  local out source
  out=$(place gateway-api)/crds
  [ -d "$out" ] && return
  say "fetching the Gateway API's resource definitions"
  cd "$here/tools/gateway-api"
  go mod download sigs.k8s.io/gateway-api >&2 || fail "fetching sigs.k8s.io/gateway-api failed"
  source=$(go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)/config/crd/standard
  rm -rf "$out.new" && mkdir -p "$out.new"
  cp "$source"/*.yaml "$out.new/" && chmod u+w "$out.new"/*.yaml
  mv "$out.new" "$out"
}

missing() {
  programs | while IFS='|' read -r program folder _; do
    [ -x "$(path_of "$program" "$folder")" ] || printf '%s ' "$program"
  done
  [ -d "$(place gateway-api)/crds" ] || printf 'gateway-api '
}

need_command ip iproute2
need_command unshare util-linux
need_command setpriv util-linux

todo=$(missing)
if [ -n "$todo" ]; then
  [ "$check" = --check ] && fail "not built yet: ${todo}(run tests/lab/build.sh)"
  need_go
  export CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false" GOWORK=off
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock -n 9 || { say "another build is running; waiting for it"; flock 9; }
  todo=" $(missing)"
  gateway_crds
  while IFS='|' read -r program folder package tags expectation; do
    [[ $todo == *" $program "* ]] && build "$program" "$folder" "$package" "$tags" "$expectation"
  done < <(programs)
fi

programs | while IFS='|' read -r program folder _; do
  printf '%s=%s\n' "$program" "$(path_of "$program" "$folder")"
done
printf 'gateway-crds=%s\n' "$(place gateway-api)/crds"
