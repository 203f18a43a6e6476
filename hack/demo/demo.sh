#!/usr/bin/env bash
# Runs the operator on this machine, with a real API server and a simulated DLI. Creates
# the jobs of config/samples, submits another, and shows them with kubectl. Fails unless
# every job has the expected outcome.
#
#   make demo          run the demo and clean up
#   KEEP=1 make demo   run the demo and leave everything running
set -euo pipefail
cd "$(dirname "$0")/../.."

# The endpoint in the samples.
readonly sample_address=127.0.0.1:18080

# With job control, every command below gets its own process group: Ctrl-C only reaches
# this script, which then stops them.
set -m
started=()  # process groups that run until the end, oldest first
latest=     # the newest of these
current=    # the process group of the command in the foreground
table=      # the process group that prints the table
work=$(mktemp -d "${TMPDIR:-/tmp}/dli-demo.XXXXXX")
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

cleanup() {
  local status=$? i
  trap '' INT TERM HUP
  if [[ $status -eq 0 && -n "${KEEP:-}" ]]; then
    farewell
    return
  fi
  end "$current"
  end "$table"
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    end "${started[i]}"
  done
  if [[ $status -eq 0 || $status -ge 128 ]]; then
    rm -rf "$work"
  else
    find "$work" -mindepth 1 ! -name '*.log' -delete 2>/dev/null || true
    printf '\nThe demo failed. Logs: %s\n' "$work/*.log" >&2
  fi
}

# end GROUP: stops a process group, if there is one, and waits until it has stopped.
end() {
  [[ -n "$1" ]] || return 0
  kill -TERM -- "-$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# start NAME COMMAND...: runs a command in the background, with its output in NAME.log.
start() {
  local name=$1
  shift
  "$@" </dev/null >"$work/$name.log" 2>&1 &
  latest=$!
  started+=("$latest")
}

# await COMMAND...: runs a command until it ends or a signal arrives.
await() {
  local status=0
  "$@" </dev/null &
  current=$!
  wait "$current" || status=$?
  current=
  return "$status"
}

heading() { printf '\n== %s\n\n' "$*"; }

# typed TEXT: prints a command like a user would type it.
typed() { printf '$ %s\n' "$*"; }

run() {
  typed "$@"
  await "$@"
}

fail() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

# until_ready NAME CONDITION...: waits until the command that was started last meets a
# condition.
until_ready() {
  local name=$1 tries=0
  shift
  until "$@" 2>/dev/null; do
    if ! kill -0 "$latest" 2>/dev/null || ((++tries > 600)); then
      cat "$work/$name.log" >&2
      fail "$name did not start"
    fi
    await sleep 0.1
  done
}

# start_simulator ADDRESS: fails if the address is taken.
start_simulator() {
  start dlisim dlisim -addr "$1"
  until grep -q '^endpoint:' "$work/dlisim.log"; do
    if ! kill -0 "$latest" 2>/dev/null; then
      started=("${started[@]:0:${#started[@]}-1}")
      return 1
    fi
    await sleep 0.1
  done
  address=$(sed -n 's|^endpoint: *http://||p' "$work/dlisim.log")
}

farewell() {
  cat <<END

Everything is still running. To look around:

  export KUBECONFIG=$KUBECONFIG PATH="$assets:\$PATH"
  kubectl get dlijobs
  less $work/operator.log

To stop it:

  kill ${started[*]} && sleep 5 && rm -r $work

END
}

heading "Preparing"
for program in curl jq openssl; do
  command -v "$program" >/dev/null || fail "$program is not installed"
done
echo "etcd, kube-apiserver and kubectl ..."
await hack/build.sh controlplane >"$work/assets"
assets=$(<"$work/assets")
export PATH="$PWD/bin/demo:$assets:$PATH" KUBECONFIG="$work/kubeconfig" KUBECACHEDIR="$work/cache"
echo "the operator and the simulator of DLI ..."
await go build -ldflags='-s -w' -o bin/demo/ . ./hack/dlisim ./hack/demo/apiserver
SECONDS=0

heading "Starting a control plane and a simulated DLI"
TMPDIR=$work KUBEBUILDER_ASSETS=$assets start apiserver apiserver "$KUBECONFIG"
until_ready apiserver test -e "$KUBECONFIG"
echo "kube-apiserver is ready after $SECONDS s."
start_simulator "$sample_address" || start_simulator 127.0.0.1:0 || fail "the simulator did not start: $(<"$work/dlisim.log")"
echo "DLI is simulated at http://$address."

heading "Starting the operator"
run kubectl apply -k config/crd
await kubectl wait --for=condition=Established crd --all >/dev/null
# Short intervals, because the defaults wait for minutes.
operator=(dli-operator --allow-insecure-endpoints
  --poll-interval-min=1s --stall-after=5s --not-found-after=5s)
typed "${operator[*]} &"
start operator "${operator[@]}" --metrics-bind-address=0 --health-probe-bind-address=0
until_ready operator grep -q 'Starting workers' "$work/operator.log"

heading "Creating eight DLIJobs"
if [[ "$address" == "$sample_address" ]]; then
  run kubectl apply -k config/samples
else
  echo "Port ${sample_address#*:} is taken, so the samples use another endpoint."
  typed "kubectl kustomize config/samples | sed s/$sample_address/$address/ | kubectl apply -f -"
  kubectl kustomize config/samples | sed "s/$sample_address/$address/" | kubectl apply -f -
fi

heading "Submitting a job, like a pipeline does"
fact() { sed -n "s|^$1: *||p" "$work/dlisim.log"; }
DLI_ENDPOINT=$(fact endpoint) DLI_PROJECT_ID=$(fact projectID)
DLI_ACCESS_KEY_ID=$(fact accessKeyID) DLI_SECRET_ACCESS_KEY=$(fact secretAccessKey)
export DLI_ENDPOINT DLI_PROJECT_ID DLI_ACCESS_KEY_ID DLI_SECRET_ACCESS_KEY
typed "id=\$(config/examples/submit-to-dli.sh -e 'SELECT * FROM t1')"
id=$(config/examples/submit-to-dli.sh -e 'SELECT * FROM t1')
manifest='apiVersion: dli.huaweicloud.com/v1alpha1
kind: DLIJob
metadata:
  name: submitted
spec:
  jobID: "$id"'
typed "kubectl create -f - <<END
$manifest
END"
kubectl create -f - <<<"${manifest/\$id/$id}"

heading "Watching the DLIJobs"
typed kubectl get dlijobs --watch
kubectl get dlijobs --watch </dev/null 2>"$work/watch.log" &
table=$!
settled=yes
await kubectl wait --for=condition=Completed --timeout=60s \
  dlijob/{finished,inserted,spark,failed,cancelled,not-found,submitted} >"$work/wait.log" 2>&1 &&
  await kubectl wait --for=condition=Stalled --timeout=30s dlijob/wrong-credentials >>"$work/wait.log" 2>&1 ||
  settled=
await sleep 0.5 # so that the last line is printed
end "$table"
table=

heading "Waiting for a job, like a pipeline does"
# gate NAME: waits as described in docs/gating.md.
gate() {
  local status=0
  run kubectl wait --for=condition=Completed --timeout=2h "dlijob/$1" || status=$?
  if [[ $status -eq 0 ]]; then
    run kubectl wait --for=condition=Succeeded --timeout=0 "dlijob/$1" 2>&1 || status=$?
  fi
  printf '=> exit code %d\n' "$status"
  return "$status"
}
if [[ -n "$settled" ]]; then
  gate submitted || fail "the gate fails for a job that finished"
  echo
  ! gate failed || fail "the gate succeeds for a job that failed"
fi

heading "Showing details"
run kubectl get dlijobs -o wide
echo
run kubectl describe dlijob failed

heading "Checking the outcomes"
wrong=0
# expect NAME WANTED JSONPATH
expect() {
  local is
  is=$(kubectl get dlijob "$1" -o "jsonpath=$3")
  if [[ "$is" == "$2" ]]; then
    printf '  %-18s %s\n' "$1" "$2"
  else
    printf '  %-18s want %s, got %s\n' "$1" "$2" "${is:-nothing}"
    wrong=$((wrong + 1))
  fi
}
reason() { printf '{.status.conditions[?(@.type=="%s")].reason}' "$1"; }
expect finished Succeeded '{.status.outcome}'
expect submitted Succeeded '{.status.outcome}'
expect inserted Succeeded '{.status.outcome}'
expect spark Succeeded '{.status.outcome}'
expect failed Failed '{.status.outcome}'
expect cancelled Cancelled '{.status.outcome}'
expect not-found NotFound '{.status.outcome}'
expect wrong-credentials CredentialsRejected "$(reason Stalled)"
expect suspended Suspended "$(reason Ready)"
((wrong == 0)) || fail "$wrong of 8 jobs do not have the expected outcome"
printf '\nAll jobs have the expected outcome, after %d s.\n' "$SECONDS"
