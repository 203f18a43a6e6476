// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	apply "github.com/dli-operator/dli-operator/api/v1alpha1/applyconfiguration/api/v1alpha1"
)

func TestApplyConfiguration(t *testing.T) {
	owner := client.FieldOwner("another-controller")
	wanted := apply.DLIJob("applied", "default").
		WithLabels(map[string]string{"team": "reports"}).
		WithSpec(apply.DLIJobSpec().
			WithJobID("208b08d4-0dc2-4dd7-8879-ddd4c020d7aa").
			WithConnectionRef(apply.ConnectionReference().WithName("default")).
			WithActiveDeadlineSeconds(3600))
	// Applying it again changes nothing.
	for range 2 {
		if err := admin.Apply(t.Context(), wanted, owner); err != nil {
			t.Fatal(err)
		}
	}
	job := &v1alpha1.DLIJob{}
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "applied"}, job); err != nil {
		t.Fatal(err)
	}
	if job.Spec.JobID != *wanted.Spec.JobID || *job.Spec.ActiveDeadlineSeconds != 3600 || job.Generation != 1 || job.Labels["team"] != "reports" {
		t.Errorf("applied %+v", job)
	}
	if job.Status.ObservedGeneration != -1 {
		t.Errorf("observedGeneration is %d before the first reconcile, want -1", job.Status.ObservedGeneration)
	}

	// Fields that are no longer applied are removed.
	if err := admin.Apply(t.Context(), apply.DLIJob("applied", "default").WithSpec(apply.DLIJobSpec().WithJobID(*wanted.Spec.JobID)), owner); err != nil {
		t.Fatal(err)
	}
	job = &v1alpha1.DLIJob{}
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "applied"}, job); err != nil {
		t.Fatal(err)
	}
	if job.Spec.ActiveDeadlineSeconds != nil || job.Spec.ConnectionRef != nil {
		t.Errorf("fields that are no longer applied are still set: %+v", job.Spec)
	}

	for name, spec := range map[string]*apply.DLIJobSpecApplyConfiguration{
		"jobID": apply.DLIJobSpec().WithJobID("another"),
		"type":  apply.DLIJobSpec().WithJobID(*wanted.Spec.JobID).WithType(v1alpha1.JobTypeSpark),
	} {
		err := admin.Apply(t.Context(), apply.DLIJob("applied", "default").WithSpec(spec), owner)
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "create another DLIJob") {
			t.Errorf("another %s: error is %v", name, err)
		}
	}
}

// What people paste by mistake is refused with a sentence, not with a regular expression.
func TestInvalidIDs(t *testing.T) {
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "invalid"},
		Spec:       v1alpha1.DLIJobSpec{JobID: "6d2146a0-c2d5-41bd-8ca0-ca9694ada992 "},
	}
	connection := connectionTo("https://dli.cn-north-4.myhuaweicloud.com", "default", "invalid", "secret")
	connection.Spec.ProjectID = "cn-north-4_analytics"
	for says, object := range map[string]client.Object{
		"jobID is what DLI returned":      job,
		"ID of the project, not its name": connection,
	} {
		if err := admin.Create(t.Context(), object); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("error is %v, want one that says %q", err, says)
		}
	}
}
