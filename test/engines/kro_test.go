// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// kro knows when a resource is ready, but not that it never will be.
func TestKro(t *testing.T) {
	dir := testenv.Assets(t, "kro")
	install(t, filepath.Join(directory(t, "kro", "github.com/kubernetes-sigs/kro"), "helm/crds"))
	execute(t, pipelines, nil, filepath.Join(dir, "kro"), "--metrics-bind-address=0", "--health-probe-bind-address=0")
	apply(t, `apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: load}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Load
    spec: {jobID: string}
  resources:
  - id: dlijob
    template:
      apiVersion: dli.huaweicloud.com/v1alpha1
      kind: DLIJob
      metadata: {name: "${schema.spec.jobID}"}
      spec: {jobID: "${schema.spec.jobID}"}
    readyWhen: ["${dlijob.status.?phase.orValue('') == 'Succeeded'}"]
  - id: next
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: "${schema.spec.jobID}-next"}
      data: {outcome: "${dlijob.status.outcome}"}
`)
	definition := object("kro.run", "v1alpha1", "ResourceGraphDefinition", "", "load")
	if !eventually(time.Minute, func() bool {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(definition), definition); err != nil {
			t.Fatal(err)
		}
		return condition(definition, "Ready")["status"] == "True"
	}) {
		t.Fatalf("the definition does not become ready: %v", definition.Object["status"])
	}

	t.Parallel()
	never := map[string]verdict{}
	for _, s := range scenarios {
		if s.want == fails {
			never[s.name] = waits
		}
	}
	gate{name: "kro, `readyWhen`", unlike: never, begin: func(t *testing.T, j job) func() verdict {
		t.Helper()
		apply(t, "{apiVersion: kro.run/v1alpha1, kind: Load, metadata: {name: "+j.id+", namespace: "+j.namespace+"}, spec: {jobID: "+j.id+"}}")
		return func() verdict {
			err := admin.Get(t.Context(), client.ObjectKey{Namespace: j.namespace, Name: j.id + "-next"}, &corev1.ConfigMap{})
			switch {
			case err == nil:
				return passes
			case !apierrors.IsNotFound(err):
				t.Fatal(err)
			}
			return waits
		}
	}}.judge(t)
}
