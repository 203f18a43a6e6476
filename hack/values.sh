#!/usr/bin/env bash
# Writes the table of values into the chart's README, from the comments of values.yaml. A
# value without a comment of its own has that of the map it is in.
set -euo pipefail
cd "$(dirname "$0")/../config/helm/dli-operator"

table() {
  awk '
    function trim(text) { sub(/^ +/, "", text); return text }
    function row(    i, path, meaning) {
      for (i = 0; i <= depth; i++) path = path (i ? "." : "") key[i]
      for (i = depth; i >= 0 && meaning == ""; i--) meaning = comment[i]
      if (meaning == "") { print "values: " path " has no comment" >"/dev/stderr"; exit 1 }
      gsub(/\|/, "\\|", meaning)
      printf "| `%s` | `%s` | %s |\n", path, value, meaning
    }
    /^ *#/ { text = trim($0); sub(/^# ?/, "", text); pending = pending (pending == "" ? "" : " ") text; next }
    /^ *$/ { pending = ""; next }
    {
      depth = (match($0, /[^ ]/) - 1) / 2
      key[depth] = value = trim($0)
      sub(/:.*/, "", key[depth])
      sub(/^[^:]*: */, "", value)
      comment[depth] = pending
      pending = ""
      if (value != "" && value !~ /:$/) row()
    }
  ' values.yaml
}

rows=$(table)
{
  sed '/^<!-- values -->$/q' README.md
  printf '\n| value | default | meaning |\n|---|---|---|\n'
  printf '%s\n\n' "$rows"
  sed -n '/^<!-- end of values -->$/,$p' README.md
} >README.md.new
mv README.md.new README.md
