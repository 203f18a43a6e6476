// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// Argo CD's engine, with the health script of config/argocd.
func TestArgoCD(t *testing.T) {
	program := filepath.Join(testenv.Assets(t, "argo-cd"), "argo-cd-sync")
	t.Parallel()
	sync := func(t *testing.T, j job, annotation, spec string) func() verdict {
		t.Helper()
		manifests := filepath.Join(t.TempDir(), "manifests.yaml")
		text := hook(j, annotation) + spec + "---\n" +
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: ` + j.id + `-next, namespace: ` + j.namespace + `, annotations: {argocd.argoproj.io/sync-wave: "1"}}}` + "\n"
		if err := os.WriteFile(manifests, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return run(t, j, nil, program, "-argocd-cm=../../config/argocd/argocd-cm.yaml", "-namespace="+j.namespace, manifests)
	}
	for name, annotation := range map[string]string{
		"Argo CD, sync wave":     `argocd.argoproj.io/sync-wave: "0"`,
		"Argo CD, PreSync hook":  "argocd.argoproj.io/hook: PreSync",
		"Argo CD, PostSync hook": "argocd.argoproj.io/hook: PostSync",
	} {
		gate{name: name, spark: true, begin: func(t *testing.T, j job) func() verdict {
			t.Helper()
			return sync(t, j, annotation, "")
		}}.judge(t)
	}

	// A finalizer keeps a hook that its TTL deletes until Argo CD has seen it complete.
	t.Run("a hook with a TTL", func(t *testing.T) {
		t.Parallel()
		j := job{scenario{name: "TTL", namespace: pipelines, newJob: dlitest.Query}, "argo-cd-ttl"}
		dli.SetJob(j.newJob(j.id).Finishes(4))
		decided := sync(t, j, "argocd.argoproj.io/hook: PreSync", "  ttlSecondsAfterFinished: 0\n")
		eventually(within, func() bool { return decided() != waits })
		if got := decided(); got != passes {
			t.Errorf("the sync %s, want passes", got)
		}
	})
}
