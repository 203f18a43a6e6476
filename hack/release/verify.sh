#!/usr/bin/env bash
# Checks that a release only depends on its sources: builds it twice, the second time
# from a copy in another directory, with other file times and permissions, in another
# time zone and offline, and compares the bytes.
#
#   verify.sh VERSION [DIRECTORY]    where to write the release
set -euo pipefail
cd "$(dirname "$0")/../.."

version=${1:?usage: verify.sh VERSION [DIRECTORY]}
REVISION=${REVISION:-$(git describe --match= --always --abbrev=40 --dirty 2>/dev/null || true)}
export REVISION

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

hack/release/release.sh "$version" "$scratch/first"

copy=$scratch/some/other/place
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [[ ! -e "$file" && ! -L "$file" ]] || printf '%s\0' "$file"; done |
  tar -c --null --files-from=- -f - | (umask 077 && tar -x -m --no-same-permissions -C "$copy" -f -)

# Uses the tools that were just built; a separate network namespace has no network.
isolated=(env)
if unshare --net true 2>/dev/null; then
  isolated=(unshare --net env)
else
  echo "release: network namespaces are not available; only Go is prevented from downloads" >&2
fi
(umask 077 && "${isolated[@]}" GOPROXY=off GOFLAGS=-mod=readonly GOAMD64=v3 TZ=Asia/Shanghai LANG=zh_CN.UTF-8 \
  "$copy/hack/release/release.sh" "$version" "$scratch/second")

if ! diff -r "$scratch/first" "$scratch/second"; then
  echo "release: two runs give different bytes" >&2
  exit 1
fi
echo "release: two runs give the same bytes"
if [[ -n "${2:-}" ]]; then
  mv "$scratch/first" "$2"
fi
