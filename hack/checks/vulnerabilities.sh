#!/usr/bin/env bash
# Looks for known vulnerabilities that the operator and its API reach, in the Go
# vulnerability database, or in the one that GOVULNDB names, which may be a file:// URL. Where
# it cannot be reached, nothing is checked, and the script says so and succeeds. Run it from
# the root of the repository, like make vulnerabilities.
set -euo pipefail
export GOVULNDB=${GOVULNDB:-https://vuln.go.dev}

if ! curl -fsS --max-time 20 -o /dev/null "$GOVULNDB/index/db.json"; then
  echo "SKIPPED, nothing was checked: the database at $GOVULNDB cannot be reached"
  exit
fi
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go -C hack/checks build -o "$bin" golang.org/x/vuln/cmd/govulncheck
"$bin/govulncheck" -db="$GOVULNDB" .
"$bin/govulncheck" -db="$GOVULNDB" -C api ./v1alpha1
