// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// The controller runs with the permissions of rbac.yaml. What the operator writes to the
// status is written by the test.
func TestNextStep(t *testing.T) {
	plane := testenv.Run(t, "../../crd/bases")
	w := steps{world.NewBare(t, plane)}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict([]byte(testenv.Read(t, "rbac.yaml")), role); err != nil {
		t.Fatal(err)
	}
	w.MustCreate(role)
	w.MustCreate(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "controller"}},
	})
	w.MustCreate(cronJob(w.Namespace, "report"))

	config := plane.Config()
	config.Impersonate.UserName = "controller"
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, config) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	succeeded, failed, other, running := w.watch("succeeded", "report"), w.watch("failed", "report"), w.watch("other", ""), w.watch("running", "report")
	w.end(running, "")
	w.end(failed, v1alpha1.OutcomeFailed)
	w.end(other, v1alpha1.OutcomeSucceeded)
	w.end(succeeded, v1alpha1.OutcomeSucceeded)

	w.await(succeeded, "Succeeded")
	w.await(failed, "Failed")
	started := w.started()
	if len(started) != 1 || started[0].Name != "next-"+string(succeeded.UID) || started[0].Labels["app"] != "report" {
		t.Fatalf("the next steps are %+v", started)
	}
	events := &eventsv1.EventList{}
	if !testenv.Within(world.Patience, func() bool {
		return w.List(t.Context(), events, client.InNamespace(w.Namespace)) == nil && slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
			return e.Regarding.Name == failed.Name && strings.Contains(e.Note, "outcome is Failed")
		})
	}) {
		t.Errorf("there is no Event about the job that failed: %+v", events.Items)
	}

	// A step that was removed is not started again, even if the DLIJob changes. The end of
	// another job shows that the controller has seen the change.
	if err := w.Delete(t.Context(), &started[0], client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatal(err)
	}
	w.end(succeeded, v1alpha1.OutcomeSucceeded)
	w.end(running, v1alpha1.OutcomeSucceeded)
	w.await(running, "Succeeded")
	if started := w.started(); len(started) != 1 || started[0].Name != "next-"+string(running.UID) {
		t.Errorf("the next steps are %+v", started)
	}
	if w.Reload(other).Annotations[handled] != "" {
		t.Error("a DLIJob without a next step was handled")
	}
}

// What readers copy from the page is what is tested.
func TestThePageShowsTheController(t *testing.T) {
	_, code, found := strings.Cut(testenv.Read(t, "main.go"), "\n\n")
	if !found {
		t.Fatal("main.go does not begin with a licence header")
	}
	page := testenv.Read(t, "../../../docs/controller.md")
	for name, text := range map[string]string{"```go\n": code, "```yaml\n": testenv.Read(t, "rbac.yaml")} {
		if !strings.Contains(page, name+text+"```\n") {
			t.Errorf("docs/controller.md does not show:\n%s", text)
		}
	}
}

// steps is a namespace with DLIJobs, whose status the test writes.
type steps struct{ *world.World }

// watch creates a DLIJob; step is its annotation.
func (s steps) watch(name, step string) *v1alpha1.DLIJob {
	return s.WatchJob(name, func(job *v1alpha1.DLIJob) {
		if step != "" {
			job.Annotations = map[string]string{next: step}
		}
	})
}

// end changes the status of a DLIJob.
func (s steps) end(job *v1alpha1.DLIJob, outcome v1alpha1.Outcome) {
	world.ChangeStatus(s.World, job, func(job *v1alpha1.DLIJob) {
		job.Status.Outcome, job.Status.Message = outcome, time.Now().String()
	})
}

// await waits until a DLIJob is handled.
func (s steps) await(job *v1alpha1.DLIJob, outcome string) {
	s.Await(job, world.Patience, "handled", func(job *v1alpha1.DLIJob) bool { return job.Annotations[handled] == outcome })
}

// started returns the Jobs that were started.
func (s steps) started() []batchv1.Job {
	s.Helper()
	list := &batchv1.JobList{}
	if err := s.List(s.Context(), list, client.InNamespace(s.Namespace)); err != nil {
		s.Fatal(err)
	}
	return list.Items
}

func cronJob(namespace, name string) *batchv1.CronJob {
	return &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: batchv1.CronJobSpec{Schedule: "@yearly", Suspend: new(true), JobTemplate: batchv1.JobTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}},
			Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever,
				Containers:    []corev1.Container{{Name: name, Image: "registry.example.com/" + name}},
			}}},
		}},
	}
}
