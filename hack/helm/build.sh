#!/usr/bin/env bash
# Prints the directory that holds helm, building it first if need be. Only that
# directory goes to standard output; progress goes to standard error.
#
# The helm of the directory HELM_ASSETS is used as it is. Else it is built once
# from the version in go.mod here and kept in the user's cache.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf 'helm: %s\n' "$*" >&2; }

if [[ -n "${HELM_ASSETS:-}" ]]; then
  if [[ ! -x "$HELM_ASSETS/helm" ]]; then
    say "HELM_ASSETS=$HELM_ASSETS holds no helm; unset it to build one"
    exit 1
  fi
  echo "$HELM_ASSETS"
  exit
fi

version=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
dir="${XDG_CACHE_HOME:-$HOME/.cache}/dli-operator/helm/$version-$(go env GOOS)-$(go env GOARCH)"

mkdir -p "$dir"
exec 9>"$dir/.lock"
if command -v flock >/dev/null; then flock 9; fi
# It appears under its name only when whole.
if [[ ! -x "$dir/helm" ]]; then
  say "building $version from source: about two minutes on two cores, once"
  CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$dir/helm.partial" helm.sh/helm/v4/cmd/helm >&2
  mv "$dir/helm.partial" "$dir/helm"
fi
echo "$dir"
