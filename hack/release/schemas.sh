#!/usr/bin/env bash
# Writes the JSON schemas of the CRDs for kubeconform, editors and other tools that validate
# manifests without a cluster, as KIND_VERSION.json:
#
#   schemas.sh DIRECTORY
#
# Unknown fields are errors: the API server drops them.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=${1:?usage: schemas.sh DIRECTORY}
kubectl=$(hack/build.sh controlplane)/kubectl
for crd in config/crd/bases/*.yaml; do
  # As JSON; there is no command that only converts.
  json=$("$kubectl" annotate --local --filename="$crd" --output=json converted=yes)
  for version in $(jq -r '.spec.versions[].name' <<<"$json"); do
    kind=$(jq -r '.spec.names.singular' <<<"$json")
    jq --sort-keys --arg version "$version" '
      .spec.group as $group | .spec.names.kind as $kind
      | .spec.versions[] | select(.name == $version).schema.openAPIV3Schema
      | walk(if type == "object" and (.properties | type) == "object" and .additionalProperties == null
          then .additionalProperties = false else . end)
      | .properties.apiVersion = {const: "\($group)/\($version)"}
      | .properties.kind = {const: $kind}
      | .required = ((.required // []) + ["apiVersion", "kind", "metadata"] | unique)
      | {"$schema": "http://json-schema.org/draft-07/schema#"} + .
    ' <<<"$json" >"$out/${kind}_$version.json"
  done
done
