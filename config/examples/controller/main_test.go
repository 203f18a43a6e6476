// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
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
)

const namespace = "default"

// The controller runs with the permissions of rbac.yaml. What the operator writes to the
// status is written by the test.
func TestNextStep(t *testing.T) {
	plane := testenv.Run(t, "../../crd/bases")
	w := &world{T: t, Client: testenv.Client(t, plane.Config())}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict([]byte(testenv.Read(t, "rbac.yaml")), role); err != nil {
		t.Fatal(err)
	}
	w.create(role)
	w.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "controller"}},
	})
	w.create(cronJob("report"))

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

	w.eventually("the job that succeeded is handled", func() bool { return w.handled(succeeded) == "Succeeded" })
	w.eventually("the job that failed is handled", func() bool { return w.handled(failed) == "Failed" })
	steps := w.steps()
	if len(steps) != 1 || steps[0].Name != "next-"+string(succeeded.UID) || steps[0].Labels["app"] != "report" {
		t.Fatalf("the next steps are %+v", steps)
	}
	w.eventually("there is an Event about the job that failed", func() bool {
		list := &eventsv1.EventList{}
		w.must(w.List(t.Context(), list, client.InNamespace(namespace)))
		for _, e := range list.Items {
			if e.Regarding.Name == failed.Name && strings.Contains(e.Note, "outcome is Failed") {
				return true
			}
		}
		return false
	})

	// A step that was removed is not started again, even if the DLIJob changes. The end of
	// another job shows that the controller has seen the change.
	w.must(w.Delete(t.Context(), &steps[0], client.PropagationPolicy(metav1.DeletePropagationBackground)))
	w.end(succeeded, v1alpha1.OutcomeSucceeded)
	w.end(running, v1alpha1.OutcomeSucceeded)
	w.eventually("the next job that succeeded is handled", func() bool { return w.handled(running) == "Succeeded" })
	if steps := w.steps(); len(steps) != 1 || steps[0].Name != "next-"+string(running.UID) {
		t.Errorf("the next steps are %+v", steps)
	}
	if w.handled(other) != "" {
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

type world struct {
	*testing.T
	client.Client
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) create(object client.Object) {
	w.Helper()
	w.must(w.Create(w.Context(), object))
}

// watch creates a DLIJob; step is its annotation.
func (w *world) watch(name, step string) *v1alpha1.DLIJob {
	w.Helper()
	job := &v1alpha1.DLIJob{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.DLIJobSpec{JobID: name}}
	if step != "" {
		job.Annotations = map[string]string{next: step}
	}
	w.create(job)
	return job
}

// end changes the status of a DLIJob.
func (w *world) end(job *v1alpha1.DLIJob, outcome v1alpha1.Outcome) {
	w.Helper()
	w.must(w.Get(w.Context(), client.ObjectKeyFromObject(job), job))
	job.Status.Outcome, job.Status.Message = outcome, time.Now().String()
	w.must(w.Status().Update(w.Context(), job))
}

func (w *world) handled(job *v1alpha1.DLIJob) string {
	w.Helper()
	current := &v1alpha1.DLIJob{}
	w.must(w.Get(w.Context(), client.ObjectKeyFromObject(job), current))
	return current.Annotations[handled]
}

func (w *world) steps() []batchv1.Job {
	w.Helper()
	list := &batchv1.JobList{}
	w.must(w.List(w.Context(), list, client.InNamespace(namespace)))
	return list.Items
}

func (w *world) eventually(what string, is func() bool) {
	w.Helper()
	if !testenv.Within(time.Minute, is) {
		w.Fatalf("not within a minute: %s", what)
	}
}

func cronJob(name string) *batchv1.CronJob {
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
