// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// olderCRDs are the CRDs of an earlier version, without the status fields that were
// added since.
const olderCRDs = "testdata/crds-9e3bb8c"

// The operator works with CRDs that lack its newest fields. Only what these fields
// store is lost in a restart.
func TestOlderCRDs(t *testing.T) {
	w := newOwnCluster(t, olderCRDs)
	o := w.start("--not-found-after=6s", "--stall-after=3s", "--poll-interval-min=1s", "--poll-interval-max=1s")
	w.DLI.SetJob(dlitest.Query("ends").Running(3 * time.Second).Finishes(4))
	w.DLI.SetJob(dlitest.Query("runs").Running(time.Hour))
	ends, runs, missing := w.WatchJob("ends", everySecond), w.WatchJob("runs", everySecond), w.WatchJob("missing", everySecond)
	w.AwaitReason(runs, v1alpha1.ReasonJobRunning)
	w.Await(ends, world.Patience, "finished", (*v1alpha1.DLIJob).IsCompleted)
	found := w.Await(missing, world.Patience, "not found", (*v1alpha1.DLIJob).IsCompleted)
	if found.Status.Outcome != v1alpha1.OutcomeNotFound {
		t.Errorf("got outcome %s", found.Status.Outcome)
	}
	// It is polled once per second, and confirmation takes six.
	if n := w.DLI.Requests("missing"); n > 12 {
		t.Errorf("a job that does not exist was polled %d times", n)
	}

	// Stored with the older CRD, read with the current one.
	before := w.Reload(ends)
	_ = o.terminate(t)
	w.apply(crdsOf(t, crds))
	w.start()
	w.DLI.SetJob(dlitest.Query("runs").Finishes(2))
	w.Await(runs, world.Patience, "finished", (*v1alpha1.DLIJob).IsCompleted)
	// The field that the older CRD lacks is added, and nothing else changes.
	after := w.Await(ends, world.Patience, "in a phase", func(job *v1alpha1.DLIJob) bool { return job.Status.Phase != "" })
	before.Status.Phase = v1alpha1.PhaseSucceeded
	if diff := cmp.Diff(before.Status, after.Status); diff != "" {
		t.Errorf("a completed job changed: %s", diff)
	}
}

// The operator preserves unknown fields of newer CRDs.
func TestNewerCRDs(t *testing.T) {
	newer := t.TempDir()
	for _, crd := range crdsOf(t, crds) {
		version := crd.Object["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)
		for _, part := range []string{"spec", "status"} {
			if err := unstructured.SetNestedField(version, "string", "schema", "openAPIV3Schema", "properties", part, "properties", "newField", "type"); err != nil {
				t.Fatal(err)
			}
		}
		text, err := yaml.Marshal(crd.Object)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(newer, crd.GetName()+".yaml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newOwnCluster(t, newer)
	w.DLI.SetJob(dlitest.Query("job").Running(2 * time.Second).Finishes(4))
	object := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{"jobID": "job", "newField": "stays", "pollIntervalSeconds": int64(1)},
	}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("DLIJob"))
	object.SetNamespace(w.Namespace)
	object.SetName("job")
	w.MustCreate(object)
	w.start()
	job := &v1alpha1.DLIJob{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "job"}}
	w.Await(job, world.Patience, "finished", (*v1alpha1.DLIJob).IsCompleted)
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(job), object); err != nil {
		t.Fatal(err)
	}
	if kept, _, _ := unstructured.NestedString(object.Object, "spec", "newField"); kept != "stays" {
		t.Errorf("the new field is %q", kept)
	}
}

// crdsOf returns the CRDs in a directory.
func crdsOf(t *testing.T, dir string) (all []*unstructured.Unstructured) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) != 2 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range files {
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(strings.TrimPrefix(testenv.Read(t, file), "---\n")), &crd.Object); err != nil {
			t.Fatal(err)
		}
		all = append(all, crd)
	}
	return all
}

// apply replaces the CRDs.
func (c cluster) apply(all []*unstructured.Unstructured) {
	c.Helper()
	for _, crd := range all {
		current := crd.DeepCopy()
		if err := c.Get(c.Context(), client.ObjectKeyFromObject(crd), current); err != nil {
			c.Fatal(err)
		}
		crd.SetResourceVersion(current.GetResourceVersion())
		if err := c.Update(c.Context(), crd); err != nil {
			c.Fatal(err)
		}
	}
}
