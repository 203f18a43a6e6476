#!/usr/bin/env bash
# Prints the release notes of a version, such as v0.2.0, from CHANGELOG.md: its
# section or, if it has none, the section Unreleased. With --artifacthub, prints them
# as the list for a chart's annotation artifacthub.io/changes.
set -euo pipefail
cd "$(dirname "$0")/../.."

format=markdown
if [[ "${1:-}" == --artifacthub ]]; then
  format=artifacthub
  shift
fi
version=${1:?usage: notes.sh [--artifacthub] VERSION}

# section NAME: the lines below the heading NAME, up to the next heading.
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
  echo "release: CHANGELOG.md has no entries for $version" >&2
  exit 1
fi

if [[ "$format" == markdown ]]; then
  printf '# %s\n\n' "$version"
  # Without leading and trailing blank lines.
  awk 'NF { for (; blank > 0; blank--) if (begun) print ""; print; begun = 1; blank = 0; next } { blank++ }' <<<"$notes"
  exit
fi
# An entry may continue on indented lines; its kind is the heading.
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
