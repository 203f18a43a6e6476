#!/usr/bin/env bash
# Builds the files of a release, without Docker, and offline once the modules are
# downloaded:
#
#   release.sh VERSION DIRECTORY    such as v0.2.0 dist
#
# IMAGE is the repository of the image, REVISION the commit of the sources. The same
# sources, revision and Go version give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Settings for other builds would change the bytes of this one.
export LC_ALL=C TZ=UTC GOFLAGS=-trimpath GOWORK=off GOEXPERIMENT='' GOAMD64=v1 GOARM64=v8.0

say() { printf 'release: %s\n' "$*" >&2; }

version=${1:?usage: release.sh VERSION DIRECTORY}
out=${2:?usage: release.sh VERSION DIRECTORY}
repository=${IMAGE:-ghcr.io/dli-operator/dli-operator}
revision=${REVISION:-$(git describe --match= --always --abbrev=40 --dirty 2>/dev/null || true)}
# The image in the source tree.
development=dli-operator:v0.1.0

if [[ ! "$version" =~ ^v(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}(-[0-9A-Za-z.-]+)?$ ]]; then
  say "VERSION=$version is not a version such as v0.2.0 or v0.2.0-rc.1"
  exit 1
fi
if [[ "$revision" == *-dirty ]]; then
  say "there are uncommitted changes; the image will say so in its label"
fi
image=$repository:$version

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
files=$scratch/files
mkdir "$files"

# named FILE: replaces the image in the source tree with that of this release.
named() {
  grep -q "image: $development\$" "$1" || { say "$1 does not name $development"; exit 1; }
  sed "s|image: $development\$|image: $image|" "$1"
}

install_yaml() {
  "$(hack/build.sh controlplane)/kubectl" kustomize config/default >"$scratch/default.yaml"
  {
    echo "# The DLI operator $version: kubectl apply -f install.yaml"
    named "$scratch/default.yaml"
  } >"$files/install.yaml"
}

# crds_yaml is for those who install the CRDs on their own, as for rbac.namespaced.
crds_yaml() {
  {
    echo "# The CRDs of the DLI operator $version: kubectl apply -f crds.yaml"
    cat config/crd/bases/*.yaml
  } >"$files/crds.yaml"
}

# chart packs a copy, with fixed modification times.
chart() {
  local chart=$scratch/dli-operator
  cp -R config/helm/dli-operator "$chart"
  cp LICENSE "$chart"
  {
    named config/helm/dli-operator/Chart.yaml
    echo "  artifacthub.io/changes: |"
    hack/release/notes.sh --artifacthub "$version" | sed 's/^/    /'
  } >"$chart/Chart.yaml"
  if [[ "$version" == *-* ]]; then
    sed -i.orig 's|artifacthub.io/prerelease: "false"|artifacthub.io/prerelease: "true"|' "$chart/Chart.yaml"
  fi
  sed -i.orig "s|^  repository: dli-operator\$|  repository: $repository|" "$chart/values.yaml"
  grep -q "^  repository: $repository\$" "$chart/values.yaml" || { say "values.yaml does not name the repository"; exit 1; }
  find "$chart" -name '*.orig' -delete
  find "$chart" -exec touch -t 197001010000 {} +
  "$(hack/build.sh helm)/helm" package "$chart" --version="${version#v}" --app-version="$version" \
    --destination="$files" >&2
}

# sboms are created from the managers in the image, so they list what is shipped.
sboms() {
  local platform
  for platform in linux-amd64 linux-arm64; do
    go -C hack/sbom tool cyclonedx-gomod bin -json -std -noserial -notimestamp \
      -version="$version" -output="$files/dli-operator-$version-$platform.cdx.json" "$scratch/bin/manager-$platform"
  done
}

say "install.yaml"
install_yaml
say "CRDs"
crds_yaml
hack/release/schemas.sh "$files"
say "chart"
chart
say "image $image"
go -C hack/image run . -root="$PWD" -image="$image" -version="$version" -revision="$revision" \
  -binaries="$scratch/bin" -output="$files/dli-operator-$version-image.tar"
say "SBOMs"
sboms
hack/release/notes.sh "$version" >"$files/release-notes.md"
(cd "$files" && { sha256sum -- * 2>/dev/null || shasum -a 256 -- *; } >"$scratch/checksums.txt" && mv "$scratch/checksums.txt" .)

# Only a complete release replaces the directory.
rm -rf "$out"
mkdir -p "$(dirname "$out")"
mv "$files" "$out"
cat "$out/checksums.txt"
