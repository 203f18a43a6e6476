#!/bin/sh
# Submits SQL to DLI as a job and prints the job's id, alone, to standard output.
#
#   submit-to-dli.sh load.sql
#   submit-to-dli.sh -e 'INSERT INTO t SELECT * FROM s'
#   make-sql | submit-to-dli.sh
#
# It needs curl 7.55, jq 1.6, and in its environment
#
#   DLI_ENDPOINT    such as https://dli.cn-north-4.myhuaweicloud.com
#   DLI_PROJECT_ID  the id of the project in that region
#   DLI_TOKEN       an IAM token for that project, whose user may dli:queue:submitJob
#   DLI_QUEUE       the queue; DLI takes its default queue without
#   DLI_DATABASE    the database, if the SQL does not name it
#
# Exit code: 0 if the job was submitted, 1 if it was not. Anything else, 2 as a
# rule, means that nobody knows, because DLI's answer is missing or unclear. Why
# goes to standard error.
#
# Submitting is not idempotent: each time the SQL runs once more. That is why this
# script never tries again, and what calls it should not either before somebody has
# looked at the SQL jobs of the project.
set -eu
set +x # a trace would show the token

say() { printf 'submit-to-dli: %s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

unknown() {
  say "$@"
  say "the SQL may be running: look at the SQL jobs of the project before you submit it again"
  exit 2
}

for program in curl jq; do
  command -v $program >/dev/null || fail "$program is not installed"
done
case ${DLI_ENDPOINT:-} in
'') fail "the environment has no DLI_ENDPOINT" ;;
https://* | http://127.0.0.1:*) ;;
*) fail "DLI_ENDPOINT=$DLI_ENDPOINT does not begin with https://, and the token must not travel in the clear" ;;
esac
case ${DLI_PROJECT_ID:-} in
'') fail "the environment has no DLI_PROJECT_ID" ;;
*[!A-Za-z0-9]*) fail "DLI_PROJECT_ID=$DLI_PROJECT_ID is not letters and digits" ;;
esac
case ${DLI_TOKEN:-} in
'') fail "the environment has no DLI_TOKEN" ;;
*[[:space:]]*) fail "DLI_TOKEN has white space in it, such as the end of a line" ;;
esac

case "$# ${1:-}" in
"0 " | "2 -e") ;;
"1 -"* | [!1]*) fail "usage: submit-to-dli.sh [FILE | -e SQL]; without either it reads standard input" ;;
*) [ -r "$1" ] || fail "cannot read $1" ;;
esac

sql() {
  case $# in
  0) cat ;;
  1) cat "$1" ;;
  2) printf '%s' "$2" ;;
  esac
}

# jq writes U+FFFD for what is not UTF-8, which would be other SQL.
body=$(sql "$@" | jq -Rs --arg queue "${DLI_QUEUE:-}" --arg database "${DLI_DATABASE:-}" '
  if contains("\ufffd") then "submit-to-dli: the SQL is not UTF-8\n" | halt_error(1)
  elif test("\\S") | not then "submit-to-dli: there is no SQL\n" | halt_error(1)
  else {sql: ., queue_name: $queue, currentdb: $database} | with_entries(select(.value != "")) end') || exit 1

answer=$(mktemp -d) || exit 1
trap 'rm -rf "$answer"' EXIT

# post sends the SQL and prints the status of the answer, and how many bytes of the
# SQL have left. The token is on no command line, where others could read it, and
# curl reads no .curlrc, which could make it print the token. DLI takes up to two
# minutes for statements that it does not queue, such as DDL.
post() {
  printf '%s' "$body" | curl --disable --silent --show-error --connect-timeout 10 --max-time 150 \
    --header @/dev/fd/3 --header 'Content-Type: application/json' --data-binary @- \
    --dump-header "$answer/header" --output "$answer/body" --write-out '%{http_code} %{size_upload}' \
    "${DLI_ENDPOINT%/}/v1.0/$DLI_PROJECT_ID/jobs/submit-job" 3<<END
X-Auth-Token: $DLI_TOKEN
END
}

if ! sent=$(post); then
  case $sent in
  *' 0') fail "no connection to $DLI_ENDPOINT: nothing was submitted" ;;
  *) unknown "no answer from $DLI_ENDPOINT" ;;
  esac
fi
status=${sent% *}

if [ "$status" = 200 ] && id=$(jq -er 'select(.is_success | tostring == "true") | .job_id
    | select(test("\\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\\z"))' "$answer/body" 2>/dev/null); then
  printf '%s\n' "$id"
  exit
fi

request=$(tr -d '\r' <"$answer/header" | sed -n 's/^[Xx]-[Rr]equest-[Ii]d: *//p' | tail -n 1)
why=$(jq -r --arg request "$request" '
  [.error_code, .error_msg // .message, "request " + (($request | select(. != "")) // .request_id // "unknown")]
  | map(select(. != null) | tostring) | join(", ")
  | split(env.DLI_TOKEN) | join("[token]") | gsub("[[:cntrl:]]+"; " ") | .[:1000]' "$answer/body" 2>/dev/null) || why=
why="HTTP $status, ${why:-and no JSON as DLI answers; is DLI_ENDPOINT right?}"

# The two codes mean that DLI itself failed, or was too slow, which it answers with 400.
case "$status $why" in
200*) jq -e '.is_success | tostring == "false"' "$answer/body" >/dev/null 2>&1 || unknown "no job_id in the answer: $why" ;;
5* | 408* | *DLI.0019* | *DLI.0999*) unknown "DLI failed: $why" ;;
esac
fail "not submitted: $why"
