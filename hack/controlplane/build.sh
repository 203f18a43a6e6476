#!/usr/bin/env bash
# Prints the directory that holds kube-apiserver, etcd and kubectl, building
# them first if need be. Only that directory goes to standard output; progress
# goes to standard error.
#
# Binaries that KUBEBUILDER_ASSETS names are used as they are. Else they are
# built once from the versions in go.mod here and kept in the user's cache.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf 'control plane: %s\n' "$*" >&2; }

if [[ -n "${KUBEBUILDER_ASSETS:-}" ]]; then
  for tool in kube-apiserver etcd kubectl; do
    if [[ ! -x "$KUBEBUILDER_ASSETS/$tool" ]]; then
      say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS holds no $tool; unset it to build one"
      exit 1
    fi
  done
  echo "$KUBEBUILDER_ASSETS"
  exit
fi

kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
etcd=$(go list -m -f '{{.Version}}' go.etcd.io/etcd/server/v3)
dir="${XDG_CACHE_HOME:-$HOME/.cache}/dli-operator/controlplane/$kubernetes-etcd-$etcd-$(go env GOOS)-$(go env GOARCH)"

# build NAME PACKAGE [LDFLAGS]: a tool appears under its name only when whole,
# so an interrupted build is taken up again where it stopped.
build() {
  local name=$1 package=$2 ldflags="-s -w ${3:-}"
  [[ -x "$dir/$name" ]] && return
  say "building $name"
  CGO_ENABLED=0 go build -v -trimpath -ldflags "$ldflags" -o "$dir/$name.partial" "$package" 2>&1 |
    awk -v name="$name" '
      /^[A-Za-z0-9_.\/-]+$/ { n++; if (n % 100 == 0) print "control plane: " name ": " n " packages compiled"; next }
      { print }' >&2
  mv "$dir/$name.partial" "$dir/$name"
}

mkdir -p "$dir"
exec 9>"$dir/.lock"
if command -v flock >/dev/null; then flock 9; fi

if [[ ! -x "$dir/etcd" || ! -x "$dir/kube-apiserver" || ! -x "$dir/kubectl" ]]; then
  say "building kubernetes $kubernetes and etcd $etcd from source: about five minutes on two cores, once"
fi
version=k8s.io/component-base/version
minor=${kubernetes#v1.}
stamp="-X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*} -X $version.gitTreeState=clean"
build etcd go.etcd.io/etcd/server/v3
build kubectl k8s.io/kubernetes/cmd/kubectl "$stamp"
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$stamp"
echo "$dir"
