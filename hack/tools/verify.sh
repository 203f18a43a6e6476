#!/usr/bin/env bash
# Checks everything that can be checked without running the code, and prints for each
# finding the command that fixes it. Does not change the work tree. Run it from the
# root of the repository, like make verify.
set -euo pipefail

failed=()

# step NAME REMEDY COMMAND...: runs the command. All steps run, so that one push shows
# every finding.
step() {
  local name=$1 remedy=$2
  shift 2
  echo "==> $name"
  if ! "$@"; then
    failed+=("$name: $remedy")
  fi
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The functions below are called as conditions, where set -e has no effect.

# generated regenerates everything in a copy of the work tree without generated files,
# and compares the result.
generated() {
  local copy=$scratch/copy before=$scratch/before
  mkdir -p "$copy"
  # All files that are not ignored, committed or not; deleted files are listed, too.
  git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [[ ! -f "$file" ]] || printf '%s\0' "$file"; done |
    tar -c --null --files-from=- -f - | tar -x -C "$copy" -f -
  cp -r "$copy" "$before"
  rm -rf "$copy/api/v1alpha1/applyconfiguration" "$copy/api/v1alpha1/zz_generated.deepcopy.go" \
    "$copy/config/crd/bases" "$copy/config/rbac/role.yaml" "$copy/docs/api.md" "$copy"/docs/images/*.svg
  make --no-print-directory -C "$copy" generate manifests docs pictures >"$scratch/log" 2>&1 || { cat "$scratch/log"; return 1; }
  if ! diff -rqN "$before" "$copy"; then
    # All names first, then enough of the differences to see the problem.
    { diff -ruN "$before" "$copy" || true; } | head -n 100
    return 1
  fi
}

# small finds programs and archives that were added by mistake.
small() {
  local file status=0
  while IFS= read -r -d '' file; do
    [[ ! -f "$file" ]] || (($(wc -c <"$file") <= 500000)) || { echo "$file is large"; status=1; }
  done < <(git ls-files -z --cached --others --exclude-standard)
  return $status
}

formatted() {
  local found
  found=$(git ls-files -z --cached --others --exclude-standard -- '*.go' |
    while IFS= read -r -d '' file; do [[ ! -f "$file" ]] || printf '%s\0' "$file"; done |
    xargs -0 -r gofmt -s -l)
  [[ -z "$found" ]] || { echo "$found"; return 1; }
}

modules() {
  local module status=0
  # Not hack/engines, which would download a thousand modules: make test-engines does.
  for module in . api hack/*/go.mod hack/controlplane/*/go.mod; do
    module=${module%/go.mod}
    go -C "$module" mod tidy -diff || { echo "$module/go.mod or go.sum is not tidy"; status=1; }
  done
  return $status
}

kustomizations() {
  local kubectl file status=0
  kubectl=$(hack/build.sh controlplane)/kubectl || return 1
  # Also with all optional components.
  mkdir -p "$scratch/config"
  cp -r config/. "$scratch/config/everything"
  sed -i.orig -e 's/^#components:/components:/' -e 's/^#- /- /' "$scratch/config/everything/default/kustomization.yaml"
  for file in config/*/kustomization.yaml "$scratch/config/everything/default/kustomization.yaml"; do
    grep -q '^kind: Component' "$file" && continue
    "$kubectl" kustomize "$(dirname "$file")" >/dev/null || { echo "$file does not render"; status=1; }
  done
  return $status
}

step "generated files" "run make generate manifests docs pictures" generated
step "size of files" "remove what is not source, or add it to .gitignore" small
step "format" "run make fmt" formatted
step "modules" "run go mod tidy where it is said above" modules
step "vet" "run go vet ./..." go vet ./...
step "vet of api" "run go -C api vet ./..." go -C api vet ./...
step "lint" "run make lint" make --no-print-directory lint
step "workflows" "see the messages of actionlint" go tool -modfile=hack/checks/go.mod actionlint
step "kustomizations" "run kubectl kustomize on the directory" kustomizations

if ((${#failed[@]})); then
  printf '\nverify failed:\n' >&2
  printf '  %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "verify: all is well"
