// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/text"
)

func TestTransform(t *testing.T) {
	// Two decodings of the same JSON share no memory.
	decoded := func() *v1alpha1.DLIJob {
		return &v1alpha1.DLIJob{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "etl", Name: "nightly", UID: "1", ResourceVersion: "2", Generation: 3,
				CreationTimestamp: metav1.Now(), DeletionTimestamp: new(metav1.Now()),
				Annotations:     map[string]string{corev1.LastAppliedConfigAnnotation: "{}", v1alpha1.PollRequestedAtAnnotation: "1"},
				Labels:          map[string]string{"app": "etl"},
				Finalizers:      []string{"example.com/wait"},
				OwnerReferences: []metav1.OwnerReference{{Name: "owner"}},
				ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
			},
			Spec: v1alpha1.DLIJobSpec{JobID: "job"},
			Status: v1alpha1.DLIJobStatus{
				JobStatus:  string([]byte("RUNNING")),
				Conditions: []metav1.Condition{{Type: v1alpha1.ReadyCondition, Reason: v1alpha1.ReasonJobRunning}},
				Columns:    []v1alpha1.Column{{Name: "a", Type: "int"}},
			},
		}
	}
	transform := newTransform(new(text.Pool))
	transformed := func(job *v1alpha1.DLIJob) *v1alpha1.DLIJob {
		object, err := transform(job)
		if err != nil {
			t.Fatal(err)
		}
		return object.(*v1alpha1.DLIJob)
	}

	a, b := transformed(decoded()), transformed(decoded())
	want := decoded()
	want.ManagedFields, want.Labels, want.Finalizers, want.OwnerReferences = nil, nil, nil, nil
	want.CreationTimestamp, want.DeletionTimestamp = a.CreationTimestamp, a.DeletionTimestamp
	delete(want.Annotations, corev1.LastAppliedConfigAnnotation)
	if a.CreationTimestamp.IsZero() || a.DeletionTimestamp.IsZero() {
		t.Error("the times of the object were removed")
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("more than unused fields was removed: %s", diff)
	}
	if unsafe.StringData(a.Status.JobStatus) != unsafe.StringData(b.Status.JobStatus) {
		t.Error("two jobs in the same state do not share strings")
	}

	t.Run("keeps the labels of Namespaces alone", func(t *testing.T) {
		m := metav1.ObjectMeta{Name: "a", Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"b": "c"}}
		for _, test := range []struct {
			object client.Object
			labels int
		}{
			{&metav1.PartialObjectMetadata{ObjectMeta: m}, 1},
			{&v1alpha1.DLIConnection{ObjectMeta: m}, 0},
		} {
			if _, err := transform(test.object); err != nil {
				t.Fatal(err)
			}
			if len(test.object.GetLabels()) != test.labels || len(test.object.GetAnnotations()) != 0 || test.object.GetName() != "a" {
				t.Errorf("%T is kept as %+v", test.object, test.object)
			}
		}
	})
}
