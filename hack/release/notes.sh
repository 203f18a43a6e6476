#!/usr/bin/env bash
# Prints the notes of a version, such as v0.2.0, out of CHANGELOG.md: its section,
# or what is unreleased while it has none. With --artifacthub they come as the
# list that Artifact Hub reads from a chart's annotation artifacthub.io/changes.
set -euo pipefail
cd "$(dirname "$0")/../.."

format=markdown
if [[ "${1:-}" == --artifacthub ]]; then
  format=artifacthub
  shift
fi
version=${1:?usage: notes.sh [--artifacthub] VERSION}

# section NAME: the lines below the heading of that name, up to the next one.
section() {
  awk -v name="$1" '
    /^## / { title = $2; gsub(/[][]/, "", title); found = title == name; next }
    /^\[[^]]+\]: / { found = 0 }
    found { print }
  ' CHANGELOG.md
}

notes=$(section "${version#v}")
if [[ -z "$notes" ]]; then
  echo "release: CHANGELOG.md has no section ${version#v}; the notes are those of Unreleased" >&2
  notes=$(section Unreleased)
fi
if [[ -z "$notes" ]]; then
  echo "release: CHANGELOG.md says nothing of $version" >&2
  exit 1
fi

if [[ "$format" == markdown ]]; then
  printf '# %s\n\n' "$version"
  # Without the blank lines at both ends.
  awk 'NF { for (; blank > 0; blank--) if (begun) print ""; print; begun = 1; blank = 0; next } { blank++ }' <<<"$notes"
  exit
fi
# An entry may go on in lines that are indented; its kind is the heading's word.
awk '
  function flush() {
    if (text != "") { gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text); printf "- kind: %s\n  description: \"%s\"\n", kind, text }
    text = ""
  }
  /^### / { flush(); kind = tolower($2); next }
  /^- / { flush(); text = substr($0, 3); next }
  /^  / && text != "" { sub(/^ +/, ""); text = text " " $0; next }
  { flush() }
  END { flush() }
' <<<"$notes"
