// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// Flux's kustomize-controller. The test serves its source as an ExternalArtifact.
func TestFlux(t *testing.T) {
	flux := newFlux(t)
	t.Parallel()
	for name, waiting := range map[string]func(job) string{
		"Flux, `wait`": func(job) string { return "wait: true" },
		"Flux, `healthChecks`": func(j job) string {
			return fmt.Sprintf("healthChecks: [{apiVersion: dli.huaweicloud.com/v1alpha1, kind: DLIJob, name: %s, namespace: %s}]", j.id, j.namespace)
		},
		"Flux, `healthCheckExprs`": func(job) string {
			return `wait: true
  healthCheckExprs:
  - apiVersion: dli.huaweicloud.com/v1alpha1
    kind: DLIJob
    inProgress: "!has(status.phase) || status.phase in ['Pending', 'Running', 'Suspended']"
    current: has(status.phase) && status.phase == 'Succeeded'
    failed: has(status.phase) && status.phase in ['Failed', 'Cancelled', 'NotFound', 'Stalled']`
		},
	} {
		gate{name: name, spark: true, begin: func(t *testing.T, j job) func() verdict {
			t.Helper()
			flux.store(t, j, j.manifest())
			flux.kustomize(t, j, "load", "interval: 1h\n  timeout: 10m\n  "+waiting(j))
			return func() verdict { return flux.verdict(t, j) }
		}}.judge(t)
	}

	gate{name: "Flux, `dependsOn`", spark: true, begin: func(t *testing.T, j job) func() verdict {
		t.Helper()
		flux.store(t, j, j.manifest())
		flux.kustomize(t, j, "load", "interval: 1h\n  timeout: 10m\n  wait: true")
		flux.kustomize(t, j, "next", "interval: 1h\n  dependsOn: [{name: "+j.id+"-load}]")
		return func() verdict {
			next := &corev1.ConfigMap{}
			err := admin.Get(t.Context(), client.ObjectKey{Namespace: j.namespace, Name: j.id + "-next"}, next)
			switch {
			case err == nil:
				return passes
			case !apierrors.IsNotFound(err):
				t.Fatal(err)
			}
			if flux.verdict(t, j) == fails {
				return fails
			}
			return waits
		}
	}}.judge(t)

	// After a failure, Flux checks again only after the interval.
	t.Run("healing", func(t *testing.T) {
		t.Parallel()
		j := job{scenario{name: "heals", namespace: pipelines, newJob: dlitest.Query}, "flux-heals"}
		dli.SetJob(j.newJob(j.id).Running(time.Hour))
		flux.store(t, j, j.manifest()+"  activeDeadlineSeconds: 1\n")
		flux.kustomize(t, j, "load", "interval: 1m\n  timeout: 30s\n  wait: true")
		if !eventually(time.Minute, func() bool { return flux.verdict(t, j) == fails }) {
			t.Fatal("the Kustomization does not fail while the DLIJob is Stalled")
		}
		failed := time.Now()
		dli.SetJob(j.newJob(j.id).Finishes(4))
		if !eventually(time.Minute, func() bool { return j.watched(t).IsSucceeded() }) {
			t.Fatal("the DLIJob does not recover")
		}
		healed := time.Now()
		if !eventually(2*time.Minute, func() bool { return flux.verdict(t, j) == passes }) {
			t.Fatal("the Kustomization does not become ready after the interval")
		}
		t.Logf("the DLIJob recovered %.0f s after the failure, and the Kustomization became ready %.0f s later", healed.Sub(failed).Seconds(), time.Since(healed).Seconds())
		if time.Since(failed) < 50*time.Second {
			t.Error("the Kustomization became ready before the interval was over, unlike docs/gating.md says")
		}
	})
}

// flux is a kustomize-controller and the server of its artifacts.
type flux struct {
	server *httptest.Server
	mu     sync.Mutex
	// archives has the artifacts by path.
	archives map[string][]byte
}

func newFlux(t *testing.T) *flux {
	t.Helper()
	dir := testenv.Assets(t, "flux")
	install(t,
		filepath.Join(directory(t, "flux", "github.com/fluxcd/kustomize-controller"), "config/crd/bases"),
		filepath.Join(directory(t, "flux", "github.com/fluxcd/source-controller@"+testenv.ModuleVersion(t, enginesDir+"flux", "github.com/fluxcd/source-controller/api")), "config/crd/bases"))
	f := &flux{archives: map[string][]byte{}}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		_, _ = w.Write(f.archives[r.URL.Path])
	}))
	t.Cleanup(f.server.Close)
	execute(t, pipelines, []string{"RUNTIME_NAMESPACE=" + pipelines}, filepath.Join(dir, "kustomize-controller"),
		"--metrics-addr=0", "--health-addr=0", "--events-addr=", "--concurrent=20", "--feature-gates=ExternalArtifact=true")
	return f
}

// store creates an artifact with the manifest of a job, and a ConfigMap to apply after
// it.
func (f *flux) store(t *testing.T, j job, manifest string) {
	t.Helper()
	var archive bytes.Buffer
	zipped := gzip.NewWriter(&archive)
	testenv.Tar(t, zipped, map[string]string{
		"load/dlijob.yaml": manifest,
		"next/next.yaml":   fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s-next, namespace: %s}}\n", j.id, j.namespace),
	})
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	path := "/" + j.id + ".tar.gz"
	f.mu.Lock()
	f.archives[path] = archive.Bytes()
	f.mu.Unlock()

	apply(t, fmt.Sprintf("{apiVersion: source.toolkit.fluxcd.io/v1, kind: ExternalArtifact, metadata: {name: %s, namespace: %s}}", j.id, j.namespace))
	artifact := object("source.toolkit.fluxcd.io", "v1", "ExternalArtifact", j.namespace, j.id)
	patch := fmt.Sprintf(`{"status": {
		"artifact": {"path": %q, "url": %q, "revision": "main@sha256:%[3]x", "digest": "sha256:%[3]x", "size": %d, "lastUpdateTime": %q},
		"conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored", "lastTransitionTime": %[5]q}]}}`,
		path, f.server.URL+path, sha256.Sum256(archive.Bytes()), archive.Len(), time.Now().UTC().Format(time.RFC3339))
	if err := admin.Status().Patch(t.Context(), artifact, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// kustomize creates a Kustomization for a directory of the job's artifact.
func (f *flux) kustomize(t *testing.T, j job, dir, spec string) {
	t.Helper()
	apply(t, fmt.Sprintf(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: %[1]s-%[2]s, namespace: %[3]s}
spec:
  prune: true
  path: ./%[2]s
  sourceRef: {kind: ExternalArtifact, name: %[1]s}
  %[4]s
`, j.id, dir, j.namespace, spec))
}

// verdict returns the verdict of the job's Kustomization.
func (f *flux) verdict(t *testing.T, j job) verdict {
	t.Helper()
	kustomization := object("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", j.namespace, j.id+"-load")
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(kustomization), kustomization); err != nil {
		t.Fatal(err)
	}
	switch ready := condition(kustomization, "Ready"); {
	case ready["status"] == "True":
		return passes
	case ready["reason"] == "HealthCheckFailed":
		if message := fmt.Sprint(ready["message"]); !isNamedIn(j.watched(t), message) {
			t.Errorf("the failure does not name the DLIJob: %s", message)
		}
		return fails
	case ready["status"] == "False":
		t.Fatalf("the Kustomization failed for another reason: %v", ready)
	}
	return waits
}

func object(group, version, kind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: version, Kind: kind})
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

// condition returns the condition of a type; nil if there is none.
func condition(o *unstructured.Unstructured, kind string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == kind {
			return c
		}
	}
	return nil
}
