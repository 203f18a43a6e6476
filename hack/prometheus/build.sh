#!/usr/bin/env bash
# Prints the directory that holds prometheus and promtool, building them first
# if need be. Only that directory goes to standard output; progress goes to
# standard error.
#
# Binaries that PROMETHEUS_ASSETS names are used as they are. Else they are
# built once from the version in go.mod here and kept in the user's cache.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf 'prometheus: %s\n' "$*" >&2; }

if [[ -n "${PROMETHEUS_ASSETS:-}" ]]; then
  for tool in prometheus promtool; do
    if [[ ! -x "$PROMETHEUS_ASSETS/$tool" ]]; then
      say "PROMETHEUS_ASSETS=$PROMETHEUS_ASSETS holds no $tool; unset it to build one"
      exit 1
    fi
  done
  echo "$PROMETHEUS_ASSETS"
  exit
fi

version=$(go list -m -f '{{.Version}}' github.com/prometheus/prometheus)
dir="${XDG_CACHE_HOME:-$HOME/.cache}/dli-operator/prometheus/$version-$(go env GOOS)-$(go env GOARCH)"

# A tool appears under its name only when whole, so an interrupted build is
# taken up again where it stopped. Without service discovery, which pulls in the
# libraries of every cloud, there is half as much to compile.
build() {
  local name=$1
  [[ -x "$dir/$name" ]] && return
  say "building $name $version from source: about two minutes on two cores, once"
  CGO_ENABLED=0 go build -trimpath -tags=remove_all_sd -ldflags='-s -w' -o "$dir/$name.partial" \
    "github.com/prometheus/prometheus/cmd/$name" >&2
  mv "$dir/$name.partial" "$dir/$name"
}

mkdir -p "$dir"
exec 9>"$dir/.lock"
if command -v flock >/dev/null; then flock 9; fi
build promtool
build prometheus
echo "$dir"
