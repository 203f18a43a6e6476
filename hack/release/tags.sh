#!/usr/bin/env bash
# Checks the tags of a release: VERSION, such as v0.2.0, and api/VERSION, without which Go
# finds no release of the module in api/. Without either, the files are for yourself.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=${1:?usage: tags.sh VERSION}

# commit REVISION: its commit; nothing if there is no such revision.
commit() { git rev-parse --quiet --verify "$1^{commit}" || true; }

head=$(commit HEAD)
if [[ -z "$(commit "refs/tags/$version")$(commit "refs/tags/api/$version")" ]]; then
  echo "release: there are no tags $version and api/$version; do not publish the files" >&2
  exit
fi
for tag in "$version" "api/$version"; do
  found=$(commit "refs/tags/$tag")
  if [[ "$found" != "$head" ]]; then
    echo "release: the tag $tag is ${found:-missing}, not HEAD, $head; run git tag -s $tag" >&2
    exit 1
  fi
done
