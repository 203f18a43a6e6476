#!/bin/sh
# Submits SQL or a Spark job to DLI and prints the job ID, and nothing else, to standard
# output.
#
#   submit-to-dli.sh load.sql
#   submit-to-dli.sh -e 'INSERT INTO t SELECT * FROM s'
#   generate-sql | submit-to-dli.sh
#   submit-to-dli.sh --spark job.json    # with file, className, args ... as DLI's API has them
#
# Requires curl 7.55, jq 1.6, openssl and these environment variables:
#
#   DLI_ENDPOINT           such as https://dli.cn-north-4.myhuaweicloud.com
#   DLI_PROJECT_ID         the ID of the project in that region
#   DLI_ACCESS_KEY_ID      an access key with the permission dli:queue:submitJob
#   DLI_SECRET_ACCESS_KEY  its secret
#   DLI_SECURITY_TOKEN     only if the access key is temporary: its security token
#   DLI_TOKEN              instead of an access key: an IAM token for the project
#   DLI_QUEUE              optional: the queue
#   DLI_DATABASE           optional: the database of tables that the SQL does not qualify
#
# Exit code 0: the job was submitted. 1: it was not; standard error says why.
# 2: unknown, because DLI did not respond, or not clearly.
#
# Submitting is not idempotent: every submission runs the job again. The script
# therefore never retries. Callers should not retry either, unless somebody has
# checked the project's jobs.
set -eu
set +x # a trace would print the credentials
LC_ALL=C
export LC_ALL

say() { printf 'submit-to-dli: %s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

unknown() {
  say "$@"
  say "the job may be running: check the jobs of the project before you submit it again"
  exit 2
}

for program in curl jq openssl; do
  command -v $program >/dev/null || fail "$program is not installed"
done
case ${DLI_ENDPOINT:-} in
'') fail "DLI_ENDPOINT is not set" ;;
https://* | http://127.0.0.1:*) ;;
*) fail "DLI_ENDPOINT=$DLI_ENDPOINT must start with https://, so that nobody can read the request" ;;
esac
case ${DLI_PROJECT_ID:-} in
'') fail "DLI_PROJECT_ID is not set" ;;
*[!A-Za-z0-9]*) fail "DLI_PROJECT_ID=$DLI_PROJECT_ID must consist of letters and digits" ;;
esac
access_key=${DLI_ACCESS_KEY_ID:-} secret=${DLI_SECRET_ACCESS_KEY:-}
security_token=${DLI_SECURITY_TOKEN:-} token=${DLI_TOKEN:-}
case ${token:+token}${access_key:+key}${secret:+secret}${security_token:+temporary} in
token | keysecret | keysecrettemporary) ;;
'') fail "neither DLI_ACCESS_KEY_ID and DLI_SECRET_ACCESS_KEY nor DLI_TOKEN are set" ;;
token*) fail "both DLI_TOKEN and an access key are set: unset one" ;;
key*) fail "DLI_SECRET_ACCESS_KEY is not set" ;;
*) fail "DLI_ACCESS_KEY_ID is not set" ;;
esac
case $access_key$secret$security_token$token in
*[!!-~]*) fail "the access key or token contains white space, such as a line end, or is not ASCII" ;;
esac
[ ${#secret} -le 64 ] || fail "DLI_SECRET_ACCESS_KEY is longer than 64 characters"

case "$# ${1:-}" in
"0 " | "2 -e") ;;
"2 --spark") [ -r "$2" ] || fail "cannot read $2" ;;
"1 -"* | [!1]*) fail "usage: submit-to-dli.sh [FILE | -e SQL | --spark FILE]; without arguments it reads SQL from standard input" ;;
*) [ -r "$1" ] || fail "cannot read $1" ;;
esac

sql() {
  case $# in
  0) cat ;;
  1) cat "$1" ;;
  2) printf '%s' "$2" ;;
  esac
}

# sql_job prints the body for SQL. jq replaces invalid UTF-8 with U+FFFD, which would
# change the SQL.
sql_job() {
  sql "$@" | jq -Rs --arg queue "${DLI_QUEUE:-}" --arg database "${DLI_DATABASE:-}" '
  if contains("\ufffd") then "submit-to-dli: the SQL is not UTF-8\n" | halt_error(1)
  elif test("\\S") | not then "submit-to-dli: there is no SQL\n" | halt_error(1)
  else {sql: ., queue_name: $queue, currentdb: $database} | with_entries(select(.value != "")) end'
}

# spark_job FILE prints the body for a Spark job.
spark_job() {
  jq -e --arg queue "${DLI_QUEUE:-}" 'if .file | strings | test("\\S") then . else empty end
    | {queue: (.queue // $queue)} + . | del(select(.queue == "").queue)' "$1" 2>/dev/null ||
    fail "$1 is not a JSON object with the field file"
}

call=v1.0/$DLI_PROJECT_ID/jobs/submit-job response_id='select(.is_success | tostring == "true") | .job_id'
if [ "${1:-}" = --spark ]; then
  call=v2.0/$DLI_PROJECT_ID/batches response_id=.id
  body=$(spark_job "$2") || exit 1
else
  body=$(sql_job "$@") || exit 1
fi

response=$(mktemp -d) || exit 1
trap 'rm -rf "$response"' EXIT

address=${DLI_ENDPOINT#*://}
address=${address%/}
host=${address%%/*}
path=${address#"$host"}/$call

# hash prints the SHA-256 of standard input in hexadecimal.
hash() { openssl dgst -sha256 -r | cut -c1-64; }

# hmac_key BYTE prints the secret, filled up with zeros to the block size of SHA-256, with
# BYTE added to each byte by exclusive or. HMAC is made of two such keys and hashes;
# openssl can compute it, but only with the secret on its command line, where other users
# could read it.
hmac_key() {
  # shellcheck disable=SC2046 # one word for each byte
  set -- "$1" $(printf %s "$secret" | od -An -v -tu1)
  mask=$1 block='' length=0
  shift
  while [ $length -lt 64 ]; do
    byte=$((${1:-0} ^ mask)) length=$((length + 1))
    [ $# -eq 0 ] || shift
    block=$block\\$((byte / 64))$((byte / 8 % 8))$((byte % 8))
  done
  # shellcheck disable=SC2059 # it consists of escapes
  printf "$block"
}

# sign prints the signature of a POST of body at the time date.
sign() {
  canonical=$(
    printf '%s\n' POST "$path/" '' "host:${host%:443}" "x-project-id:$DLI_PROJECT_ID" "x-sdk-date:$date" \
      ${security_token:+"x-security-token:$security_token"} '' "$signed"
    printf %s "$body" | hash
  )
  message=$(printf '%s\n' SDK-HMAC-SHA256 "$date" && printf %s "$canonical" | hash)
  { hmac_key 92 && { hmac_key 54 && printf %s "$message"; } | openssl dgst -sha256 -binary; } | hash
}

# credentials prints the header lines that authenticate the request.
credentials() {
  if [ -n "$token" ]; then
    printf 'X-Auth-Token: %s\n' "$token"
    return
  fi
  printf '%s\n' "X-Project-Id: $DLI_PROJECT_ID" "X-Sdk-Date: $date" ${security_token:+"X-Security-Token: $security_token"} \
    "Authorization: SDK-HMAC-SHA256 Access=$access_key, SignedHeaders=$signed, Signature=$signature"
}

signed="host;x-project-id;x-sdk-date${security_token:+;x-security-token}" signature=
if [ -z "$token" ]; then
  date=$(date -u +%Y%m%dT%H%M%SZ)
  signature=$(sign)
fi

# post sends the job and prints the HTTP status and the number of body bytes sent. The
# credentials are not on the command line either, and curl ignores .curlrc, which could
# make it print them. DLI takes up to two minutes to respond to statements that it does
# not queue, such as DDL.
post() {
  printf '%s' "$body" | curl --disable --silent --show-error --connect-timeout 10 --max-time 150 \
    --header @/dev/fd/3 --header 'Content-Type: application/json' --data-binary @- \
    --dump-header "$response/header" --output "$response/body" --write-out '%{http_code} %{size_upload}' \
    "${DLI_ENDPOINT%%://*}://$host$path" 3<<END
$(credentials)
END
}

if ! sent=$(post); then
  case $sent in
  *' 0') fail "not submitted: no connection to $DLI_ENDPOINT" ;;
  *) unknown "no response from $DLI_ENDPOINT" ;;
  esac
fi
status=${sent% *}

if [ "$status" = 200 ] && id=$(jq -er "$response_id"'
    | strings | select(test("\\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\\z"))' "$response/body" 2>/dev/null); then
  printf '%s\n' "$id"
  exit
fi

request=$(tr -d '\r' <"$response/header" | sed -n 's/^[Xx]-[Rr]equest-[Ii]d: *//p' | tail -n 1)
export token secret security_token signature
why=$(jq -r --arg request "$request" '
  [.error_code, .error_msg // .message, "request " + (($request | select(. != "")) // .request_id // "unknown")]
  | map(select(. != null) | tostring) | join(", ")
  | reduce (env.token, env.secret, env.security_token, env.signature | select(. != "")) as $hidden
      (.; split($hidden) | join("[redacted]"))
  | gsub("[[:cntrl:]]+"; " ") | .[:1000]' "$response/body" 2>/dev/null) || why=
why="HTTP $status, ${why:-not a response of DLI; check DLI_ENDPOINT}"

# DLI reports some of its own failures and timeouts with HTTP 400 and these codes.
case "$status $why" in
200*) jq -e '.is_success | tostring == "false"' "$response/body" >/dev/null 2>&1 || unknown "no job ID in the response: $why" ;;
5* | 408* | *DLI.0019* | *DLI.0999*) unknown "DLI failed: $why" ;;
esac
fail "not submitted: $why"
