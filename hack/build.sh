#!/usr/bin/env bash
# Prints the directory of the programs of a module below hack/, after downloading or
# building them if necessary. Only the directory goes to standard output; progress
# goes to standard error.
#
#   hack/build.sh controlplane    etcd, kube-apiserver and kubectl
#   hack/build.sh operator        the operator of this checkout, manager
#   hack/build.sh node            kubelet, controllers, scheduler, CNI plugins; Linux
#   hack/build.sh containerd      containerd and runc, from Debian's packages
#   hack/build.sh prometheus      prometheus and promtool
#   hack/build.sh alertmanager    alertmanager, without its web pages, and amtool
#   hack/build.sh helm            helm
#   hack/build.sh helm3           helm, version 3
#   hack/build.sh setup-envtest   setup-envtest
#   hack/build.sh flux            kustomize-controller
#   hack/build.sh argo-workflows  argoexec
#   hack/build.sh argo-cd         argo-cd-sync
#   hack/build.sh kro             kro
#   hack/build.sh tekton          Tekton's controller, webhook and entrypoint
#   hack/build.sh opentofu        tofu
#
# If KUBEBUILDER_ASSETS, OPERATOR_ASSETS, NODE_ASSETS, CONTAINERD_ASSETS,
# PROMETHEUS_ASSETS, ALERTMANAGER_ASSETS, HELM_ASSETS, HELM3_ASSETS, SETUP_ENVTEST_ASSETS,
# FLUX_ASSETS, ARGO_WORKFLOWS_ASSETS, ARGO_CD_ASSETS, KRO_ASSETS, TEKTON_ASSETS or
# OPENTOFU_ASSETS names a directory, its programs are used as they are. Otherwise the programs are built once, from
# the versions in the module's go.mod, and kept in the user's cache. containerd and runc are
# unpacked there, not installed.
#
# A control plane is downloaded if possible rather than built: the binaries that
# controller-tools publishes for tests, verified with the SHA-512 in their index. Two
# more variables apply to it:
#
#   KUBERNETES_VERSION   its version, such as 1.29, v1.29 or v1.29.6; the default is
#                        that of hack/controlplane/go.mod. A download uses the newest
#                        patch release of that minor release in the index.
#   ENVTEST_INDEX        the index to use; none to build without it.
set -euo pipefail
hack=$(cd "$(dirname "$0")" && pwd)
name=${1:-}
cache="${XDG_CACHE_HOME:-$HOME/.cache}/dli-operator"
platform=$(go env GOOS)-$(go env GOARCH)

say() { printf '%s: %s\n' "$name" "$*" >&2; }

die() {
  say "$@"
  exit 1
}

# version DIRECTORY MODULE: the version of MODULE in DIRECTORY/go.mod.
version() { go -C "$1" list -m -f '{{.Version}}' "$2"; }

# holds DIRECTORY PROGRAM...: succeeds if all programs are there.
holds() {
  local dir=$1 program
  shift
  for program; do
    [[ -x "$dir/$program" ]] || return 1
  done
}

# build PROGRAM PACKAGE: a program only gets its name when it is complete, so an
# interrupted build can be resumed.
build() {
  local program=$1 package=$2 from=$module
  [[ -x "$dir/$program" ]] && return
  # All versions of Kubernetes use the same etcd.
  [[ "$program" != etcd ]] || from=$hack/controlplane
  say "building $program"
  CGO_ENABLED=0 go -C "$from" build ${modfile:+-modfile="$modfile"} -v -trimpath -tags="$tags" -ldflags="-s -w $stamp" \
    -o "$dir/$program.partial" "$package" 2>&1 |
    awk -v name="$name: $program" '
      /^[A-Za-z0-9_.\/-]+$/ { n++; if (n % 100 == 0) print name ": " n " packages compiled"; next }
      { print }' >&2
  mv "$dir/$program.partial" "$dir/$program"
}

# within SECONDS COMMAND...: kills a command that takes longer, and fails.
child=
trap '[[ -z "$child" ]] || kill "$child" 2>/dev/null || true' EXIT
within() {
  local tenths=$(($1 * 10)) status=0
  shift
  "$@" &
  child=$!
  while kill -0 "$child" 2>/dev/null; do
    ((tenths-- > 0)) || kill "$child" 2>/dev/null || true
    sleep 0.1
  done
  wait "$child" || status=$?
  child=
  return "$status"
}

# download LINK: makes LINK a link to the directory of a downloaded control plane.
# It fails if none is available, so that one is built; a bad download ends the script,
# because it may not be what the index names.
download() {
  local link=$1 envtest found
  [[ "$index" != none ]] || return 1
  envtest=$("$hack/build.sh" setup-envtest)/setup-envtest || return 1
  say "looking for binaries of Kubernetes $minor at $index; ENVTEST_INDEX=none skips this"
  # To a file, so that within runs in this shell.
  found=$(mktemp)
  if ! within 5 "$envtest" list "$minor.x" --index="$index" --bin-dir="$cache/envtest" >"$found" 2>&1; then
    say "it was not read within 5 s: $(tail -n 1 "$found")"
    rm -f "$found"
    return 1
  fi
  if ! grep -q available "$found"; then
    say "it has none for $platform"
    rm -f "$found"
    return 1
  fi
  say "downloading them, some 70 MB"
  if ! within 900 "$envtest" use "$minor.x" --index="$index" --bin-dir="$cache/envtest" --print=path >"$found"; then
    rm -f "$found"
    die "the download failed, see above; to build from source instead, set ENVTEST_INDEX=none"
  fi
  # shellcheck disable=SC2086 # one word each
  holds "$(<"$found")" $programs || die "not all of $programs are in $(<"$found")"
  ln -sfn "$(<"$found")" "$link" || die "no link $link"
  rm -f "$found"
}

# stamp sets the linker flags that give Kubernetes its version.
stamp() {
  local component=k8s.io/component-base/version
  stamp="-X $component.gitVersion=$kubernetes -X $component.gitMajor=1 -X $component.gitMinor=${minor#1.} -X $component.gitTreeState=clean"
}

# unpack extracts the programs from the packages of this Debian release.
unpack() {
  local program found
  for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || die "there is no $program to unpack Debian's packages with;" \
      "where containerd and runc are installed, set CONTAINERD_ASSETS to their directory"
  done
  say "unpacking Debian's packages $packages"
  rm -rf "$dir/partial"
  mkdir -p "$dir/partial"
  # shellcheck disable=SC2086 # one word each
  (cd "$dir/partial" && apt-get -qq -o APT::Sandbox::User=root download $packages) >&2 ||
    die "apt-get has no $packages; apt-get update may help"
  for found in "$dir"/partial/*.deb; do
    dpkg-deb --extract "$found" "$dir/partial"
  done
  # Without seccomp, pods of the restricted standard do not start.
  find "$dir/partial" -type f -path '*bin/runc' -exec {} --version \; | grep -q libseccomp ||
    die "runc does not start, or has no seccomp; libseccomp2 may help"
  # shellcheck disable=SC2086 # one word each
  for program in $programs; do
    mv "$(find "$dir/partial" -type f -path "*bin/$program")" "$dir/$program"
  done
  rm -r "$dir/partial"
}

# operator builds the operator with the flags of the other programs. Its directory is
# named after its content: go test then repeats what depends on it, and nothing else.
operator() {
  local partial
  mkdir -p "$cache/operator"
  partial=$(mktemp -d "$cache/operator/partial.XXXXXX")
  say "building it"
  CGO_ENABLED=0 go -C "$hack/.." build -trimpath -buildvcs=false -ldflags='-s -w -X main.version=v0.0.0-test' \
    -o "$partial/manager" . >&2
  dir=$cache/operator/$(cksum <"$partial/manager" | tr ' ' -)
  mkdir -p "$dir"
  mv "$partial/manager" "$dir/manager"
  rmdir "$partial"
  # Those of other days are not used any more.
  find "$cache/operator" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -r {} +
}

# The modules: the directory of go.mod, the packages, build tags, linker flags, the
# version in the cache, and how long the build takes.
module=$hack/$name
tags= stamp= index=none modfile= upstream=
case $name in
controlplane)
  given=KUBEBUILDER_ASSETS
  programs='etcd kubectl kube-apiserver'
  packages='go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/kubectl k8s.io/kubernetes/cmd/kube-apiserver'
  takes='about five minutes'
  ;;
operator)
  given=OPERATOR_ASSETS
  programs=manager
  ;;
node)
  given=NODE_ASSETS
  module=$hack/controlplane
  programs='kubelet kube-controller-manager kube-scheduler bridge host-local loopback'
  packages="$(printf 'k8s.io/kubernetes/cmd/%s ' kubelet kube-controller-manager kube-scheduler)
    $(printf 'github.com/containernetworking/plugins/plugins/%s ' main/bridge ipam/host-local main/loopback)"
  takes='about three minutes after the control plane'
  ;;
containerd)
  given=CONTAINERD_ASSETS
  programs='containerd containerd-shim-runc-v2 ctr runc'
  packages='containerd runc'
  ;;
prometheus)
  given=PROMETHEUS_ASSETS
  programs='promtool prometheus'
  packages='github.com/prometheus/prometheus/cmd/promtool github.com/prometheus/prometheus/cmd/prometheus'
  # Without service discovery, which pulls in the libraries of every cloud, the build
  # takes half as long.
  tags=remove_all_sd
  takes='about four minutes'
  ;;
alertmanager)
  given=ALERTMANAGER_ASSETS
  programs='alertmanager amtool'
  packages='github.com/prometheus/alertmanager/cmd/alertmanager github.com/prometheus/alertmanager/cmd/amtool'
  upstream=github.com/prometheus/alertmanager
  takes='about two minutes'
  ;;
helm)
  given=HELM_ASSETS
  programs=helm
  packages=helm.sh/helm/v4/cmd/helm
  takes='about two minutes'
  ;;
helm3)
  given=HELM3_ASSETS
  programs=helm
  packages=helm.sh/helm/v3/cmd/helm
  takes='about two minutes'
  ;;
setup-envtest)
  given=SETUP_ENVTEST_ASSETS
  programs=setup-envtest
  packages=sigs.k8s.io/controller-runtime/tools/setup-envtest
  takes='a few seconds'
  ;;
flux)
  given=FLUX_ASSETS
  programs=kustomize-controller
  packages=github.com/fluxcd/kustomize-controller
  module=$hack/engines/flux
  takes='about three minutes'
  ;;
argo-workflows)
  given=ARGO_WORKFLOWS_ASSETS
  programs=argoexec
  packages=github.com/argoproj/argo-workflows/v4/cmd/argoexec
  module=$hack/engines/argo-workflows
  upstream=github.com/argoproj/argo-workflows/v4
  takes='about three minutes'
  ;;
argo-cd)
  given=ARGO_CD_ASSETS
  programs=argo-cd-sync
  packages=.
  module=$hack/engines/argo-cd
  takes='about three minutes'
  ;;
kro)
  given=KRO_ASSETS
  programs=kro
  packages=github.com/kubernetes-sigs/kro/cmd/controller
  module=$hack/engines/kro
  takes='about a minute'
  ;;
tekton)
  given=TEKTON_ASSETS
  programs='controller webhook entrypoint'
  packages="$(printf 'github.com/tektoncd/pipeline/cmd/%s ' controller webhook entrypoint)"
  module=$hack/engines/tekton
  takes='about four minutes'
  ;;
opentofu)
  given=OPENTOFU_ASSETS
  programs=tofu
  packages=github.com/opentofu/opentofu/cmd/tofu
  module=$hack/engines/opentofu
  takes='about three minutes'
  ;;
*)
  sed -n 's/^#   \(hack\/build.sh .*\)/\1/p' "$0" >&2
  exit 2
  ;;
esac

# shellcheck disable=SC2086 # one word each
if [[ -n "${!given:-}" ]]; then
  for program in $programs; do
    holds "${!given}" "$program" || die "$given=${!given} holds no $program; unset it to get one"
  done
  echo "${!given}"
  exit
fi

case $name in
operator)
  operator
  echo "$dir"
  exit
  ;;
controlplane)
  wanted=${KUBERNETES_VERSION:-}
  wanted=${wanted#v}
  # The default, or the module for the requested version.
  for module in "$hack/controlplane" "$hack"/controlplane/*/; do
    kubernetes=$(version "$module" k8s.io/kubernetes)
    case $wanted in '' | "${kubernetes#v}" | "$(cut -d. -f1,2 <<<"${kubernetes#v}")") break ;; esac
    kubernetes=
  done
  [[ -n "$kubernetes" ]] || module=
  minor=$(cut -d. -f1,2 <<<"${wanted:-${kubernetes#v}}")
  index=${ENVTEST_INDEX:-https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml}
  stamp
  # Without the built-in cloud providers of releases before 1.31.
  tags=providerless
  version=$kubernetes-etcd-$(version "$hack/controlplane" go.etcd.io/etcd/server/v3)
  ;;
node)
  kubernetes=$(version "$module" k8s.io/kubernetes)
  minor=$(cut -d. -f1,2 <<<"${kubernetes#v}")
  stamp
  version=$kubernetes-cni-$(version "$module" github.com/containernetworking/plugins)
  ;;
containerd) version=$(. /etc/os-release 2>/dev/null && echo "${ID:-}-${VERSION_ID:-}") || version=unknown ;;
prometheus) version=$(version "$module" github.com/prometheus/prometheus) ;;
helm) version=$(version "$module" helm.sh/helm/v4) ;;
helm3)
  version=$(version "$module" helm.sh/helm/v3)
  # helm template takes charts for the Kubernetes that it is stamped with, by default 1.20.
  minor=$(version "$module" k8s.io/client-go | cut -d. -f2)
  stamp="-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=$minor"
  ;;
setup-envtest) version=$(version "$module" sigs.k8s.io/controller-runtime/tools/setup-envtest) ;;
flux) version=$(version "$module" github.com/fluxcd/kustomize-controller) ;;
argo-workflows | alertmanager) version=$(version "$module" "$upstream") ;;
# With the sum of its own source.
argo-cd) version=$(version "$module" github.com/argoproj/argo-cd/v3)-$(cksum <"$module/main.go" | cut -d' ' -f1) ;;
kro) version=$(version "$module" github.com/kubernetes-sigs/kro) ;;
tekton) version=$(version "$module" github.com/tektoncd/pipeline) ;;
opentofu) version=$(version "$module" github.com/opentofu/opentofu) ;;
esac

dir=$cache/$name/$version-$platform
downloaded=$cache/$name/envtest-${minor:-}-$platform
# finish prints the directory and ends if the programs are there.
finish() {
  local there
  for there in "$dir" "$downloaded"; do
    # shellcheck disable=SC2086 # one word each
    if holds "$there" $programs; then
      echo "$there"
      exit
    fi
  done
}

# Once without the lock, which is held while another version is built.
finish
mkdir -p "$cache/$name"
exec 9>"$cache/$name/.lock"
if command -v flock >/dev/null; then flock 9; fi
finish
if download "$downloaded"; then
  echo "$downloaded"
  exit
fi
if [[ "$name" == containerd ]]; then
  unpack
  echo "$dir"
  exit
fi
[[ -n "$module" ]] || die "no module below hack/controlplane builds Kubernetes $wanted from source"
say "building $version from source: $takes on two cores, once"
mkdir -p "$dir"
if [[ -n "$upstream" ]]; then
  # Its module, as published, lacks files that the build needs.
  go -C "$module" mod download "$upstream"
  rm -rf "$dir/source"
  cp -r "$(go -C "$module" list -m -f '{{.Dir}}' "$upstream")" "$dir/source"
  chmod -R u+w "$dir/source"
  cp -r "$module/missing/." "$dir/source"
  cp "$module/go.mod" "$module/go.sum" "$dir"
  go mod edit -replace="$upstream=$dir/source" "$dir/go.mod"
  modfile=$dir/go.mod
fi
# shellcheck disable=SC2086 # one word each
set -- $packages
for program in $programs; do
  build "$program" "$1"
  shift
done
echo "$dir"
