#!/bin/sh
# Submits SQL to DLI and prints the job ID, and nothing else, to standard output.
#
#   submit-to-dli.sh load.sql
#   submit-to-dli.sh -e 'INSERT INTO t SELECT * FROM s'
#   generate-sql | submit-to-dli.sh
#
# Requires curl 7.55, jq 1.6 and these environment variables:
#
#   DLI_ENDPOINT    such as https://dli.cn-north-4.myhuaweicloud.com
#   DLI_PROJECT_ID  the ID of the project in that region
#   DLI_TOKEN       an IAM token for the project, with the permission dli:queue:submitJob
#   DLI_QUEUE       optional: the queue
#   DLI_DATABASE    optional: the database of tables that the SQL does not qualify
#
# Exit code 0: the job was submitted. 1: it was not; standard error says why.
# 2: unknown, because DLI did not respond, or not clearly.
#
# Submitting is not idempotent: every submission runs the SQL again. The script
# therefore never retries. Callers should not retry either, unless somebody has
# checked the project's SQL jobs.
set -eu
set +x # a trace would print the token

say() { printf 'submit-to-dli: %s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

unknown() {
  say "$@"
  say "the SQL may be running: check the SQL jobs of the project before you submit it again"
  exit 2
}

for program in curl jq; do
  command -v $program >/dev/null || fail "$program is not installed"
done
case ${DLI_ENDPOINT:-} in
'') fail "DLI_ENDPOINT is not set" ;;
https://* | http://127.0.0.1:*) ;;
*) fail "DLI_ENDPOINT=$DLI_ENDPOINT must start with https://, so that the token is encrypted" ;;
esac
case ${DLI_PROJECT_ID:-} in
'') fail "DLI_PROJECT_ID is not set" ;;
*[!A-Za-z0-9]*) fail "DLI_PROJECT_ID=$DLI_PROJECT_ID must consist of letters and digits" ;;
esac
case ${DLI_TOKEN:-} in
'') fail "DLI_TOKEN is not set" ;;
*[[:space:]]*) fail "DLI_TOKEN contains white space, such as a line end" ;;
esac

case "$# ${1:-}" in
"0 " | "2 -e") ;;
"1 -"* | [!1]*) fail "usage: submit-to-dli.sh [FILE | -e SQL]; with neither it reads standard input" ;;
*) [ -r "$1" ] || fail "cannot read $1" ;;
esac

sql() {
  case $# in
  0) cat ;;
  1) cat "$1" ;;
  2) printf '%s' "$2" ;;
  esac
}

# jq replaces invalid UTF-8 with U+FFFD, which would change the SQL.
body=$(sql "$@" | jq -Rs --arg queue "${DLI_QUEUE:-}" --arg database "${DLI_DATABASE:-}" '
  if contains("\ufffd") then "submit-to-dli: the SQL is not UTF-8\n" | halt_error(1)
  elif test("\\S") | not then "submit-to-dli: there is no SQL\n" | halt_error(1)
  else {sql: ., queue_name: $queue, currentdb: $database} | with_entries(select(.value != "")) end') || exit 1

response=$(mktemp -d) || exit 1
trap 'rm -rf "$response"' EXIT

# post sends the SQL and prints the HTTP status and the number of body bytes sent.
# The token is not on the command line, where other users could read it, and curl
# ignores .curlrc, which could make it print the token. DLI takes up to two minutes
# to respond to statements that it does not queue, such as DDL.
post() {
  printf '%s' "$body" | curl --disable --silent --show-error --connect-timeout 10 --max-time 150 \
    --header @/dev/fd/3 --header 'Content-Type: application/json' --data-binary @- \
    --dump-header "$response/header" --output "$response/body" --write-out '%{http_code} %{size_upload}' \
    "${DLI_ENDPOINT%/}/v1.0/$DLI_PROJECT_ID/jobs/submit-job" 3<<END
X-Auth-Token: $DLI_TOKEN
END
}

if ! sent=$(post); then
  case $sent in
  *' 0') fail "not submitted: no connection to $DLI_ENDPOINT" ;;
  *) unknown "no response from $DLI_ENDPOINT" ;;
  esac
fi
status=${sent% *}

if [ "$status" = 200 ] && id=$(jq -er 'select(.is_success | tostring == "true") | .job_id
    | select(test("\\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\\z"))' "$response/body" 2>/dev/null); then
  printf '%s\n' "$id"
  exit
fi

request=$(tr -d '\r' <"$response/header" | sed -n 's/^[Xx]-[Rr]equest-[Ii]d: *//p' | tail -n 1)
why=$(jq -r --arg request "$request" '
  [.error_code, .error_msg // .message, "request " + (($request | select(. != "")) // .request_id // "unknown")]
  | map(select(. != null) | tostring) | join(", ")
  | split(env.DLI_TOKEN) | join("[token]") | gsub("[[:cntrl:]]+"; " ") | .[:1000]' "$response/body" 2>/dev/null) || why=
why="HTTP $status, ${why:-not a response of DLI; check DLI_ENDPOINT}"

# DLI reports some of its own failures and timeouts with HTTP 400 and these codes.
case "$status $why" in
200*) jq -e '.is_success | tostring == "false"' "$response/body" >/dev/null 2>&1 || unknown "no job_id in the response: $why" ;;
5* | 408* | *DLI.0019* | *DLI.0999*) unknown "DLI failed: $why" ;;
esac
fail "not submitted: $why"
