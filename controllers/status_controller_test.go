// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/world"
)

func TestJobFromLaunchToEnd(t *testing.T) {
	w := newWorld(t, dlitest.WithStartOnRequest())
	w.DLI.SetJob(dlitest.Query(jobID).Launching(time.Second).Running(2 * time.Second).Finishes(4))
	seen := recordJobs(w)
	job := w.WatchJob(jobID)
	w.Start()

	done := w.AwaitReason(job, "JobFinished")
	if done.Status.Outcome != "Succeeded" || done.Status.JobStatus != "FINISHED" || *done.Status.ResultCount != 4 || done.Status.QueueName == "" {
		t.Errorf("status is %+v", done.Status)
	}
	var reasons []string
	if !eventually(func() bool {
		reasons = nil
		for _, version := range seen.all() {
			reasons = append(reasons, reasonOf(version))
		}
		return slices.Contains(reasons, "JobFinished")
	}) {
		t.Fatal("the last watch event is missing")
	}
	if want := []string{"", "JobLaunching", "JobRunning", "JobFinished"}; !slices.Equal(reasons, want) {
		t.Errorf("the watch returned %q, want %q", reasons, want)
	}
	var events []string
	want := []string{"Normal JobLaunching", "Normal JobRunning", "Normal JobFinished"}
	if !eventually(func() bool { events = w.Events(jobID); return len(events) >= len(want) }) || !slices.Equal(events, want) {
		t.Errorf("the Events are %q, want %q", events, want)
	}
}

func TestCompletedJob(t *testing.T) {
	w := newWorld(t)
	w.Finishes(jobID)
	job := w.WatchJob(jobID)
	first := w.Start()
	w.AwaitReason(job, "JobFinished")
	polls := w.DLI.Requests(jobID)
	first.Stop()

	w.Start()
	// A second job, created after the restart, shows that the operator is working.
	w.Runs("second")
	w.WatchJob("second")
	w.AwaitRequests("second", 5)
	if again := w.DLI.Requests(jobID) - polls; again != 0 || polls != 1 {
		t.Errorf("polled %d times before and %d times after the restart, want 1 and 0", polls, again)
	}

	t.Run("a change of its spec is observed without a poll", func(t *testing.T) {
		world.Change(w, job, func(job *v1alpha1.DLIJob) { job.Spec.ActiveDeadlineSeconds = new(int64(5)) })
		w.Await(job, world.Patience, "observed", func(job *v1alpha1.DLIJob) bool { return job.Status.ObservedGeneration == job.Generation })
		if n := w.DLI.Requests(jobID); n != polls {
			t.Errorf("polled %d more times", n-polls)
		}
	})

	t.Run("the annotation requests one poll", func(t *testing.T) {
		requestPoll := func(value string) *v1alpha1.DLIJob {
			world.Change(w, job, func(job *v1alpha1.DLIJob) {
				job.Annotations = map[string]string{v1alpha1.PollRequestedAtAnnotation: value}
			})
			return w.Await(job, world.Patience, "polled", func(job *v1alpha1.DLIJob) bool { return job.Status.LastHandledPollRequest == value })
		}
		w.DLI.SetJob(dlitest.Query(jobID).Finishes(9))
		if refreshed := requestPoll("1"); *refreshed.Status.ResultCount != 9 {
			t.Errorf("%d rows after the poll", *refreshed.Status.ResultCount)
		}
		w.Runs(jobID)
		if contradicted := requestPoll("2"); contradicted.Status.Outcome != "Succeeded" || reasonOf(contradicted) != "JobFinished" {
			t.Errorf("the outcome changed: %s", world.Summary(contradicted))
		}
		if n := w.DLI.Requests(jobID) - polls; n != 2 {
			t.Errorf("two requests caused %d polls", n)
		}
	})
}

func TestSuspendAndResume(t *testing.T) {
	w := newWorld(t)
	w.Runs(jobID)
	w.Runs("second")
	job := w.WatchJob(jobID)
	w.WatchJob("second")
	w.Start()
	w.AwaitReason(job, "JobRunning")
	world.Change(w, job, func(job *v1alpha1.DLIJob) { job.Spec.Suspend = true })
	if suspended := w.AwaitReason(job, "Suspended"); suspended.Status.JobStatus != "RUNNING" {
		t.Errorf("suspending lost the status: %+v", suspended.Status)
	}
	checkStopped(w, jobID, "second")
	world.Change(w, job, func(job *v1alpha1.DLIJob) { job.Spec.Suspend = false })
	w.AwaitReason(job, "JobRunning")
}

func TestValidation(t *testing.T) {
	w := newBareWorld(t)
	job := func(spec v1alpha1.DLIJobSpec) *v1alpha1.DLIJob { return &v1alpha1.DLIJob{Spec: spec} }
	connection := func(change func(*v1alpha1.DLIConnectionSpec)) *v1alpha1.DLIConnection {
		return w.Connection("a", change)
	}
	for name, test := range map[string]struct {
		object client.Object
		says   string
	}{
		"a jobID with a slash":              {job(v1alpha1.DLIJobSpec{JobID: "a/b"}), "spec.jobID"},
		"no jobID":                          {job(v1alpha1.DLIJobSpec{}), "spec.jobID"},
		"a type that is not known":          {job(v1alpha1.DLIJobSpec{JobID: "a", Type: "Flink"}), `spec.type: Unsupported value: "Flink": supported values: "SQL", "Spark"`},
		"a jobID that is too long":          {job(v1alpha1.DLIJobSpec{JobID: strings.Repeat("a", 65)}), "spec.jobID"},
		"a poll interval of zero":           {job(v1alpha1.DLIJobSpec{JobID: "a", PollIntervalSeconds: new(int32(0))}), "pollIntervalSeconds"},
		"neither region nor endpoint":       {connection(func(s *v1alpha1.DLIConnectionSpec) { s.Endpoint = "" }), "exactly one of region and endpoint"},
		"both region and endpoint":          {connection(func(s *v1alpha1.DLIConnectionSpec) { s.Region = "cn-north-4" }), "exactly one of region and endpoint"},
		"an endpoint that is not a URL":     {connection(func(s *v1alpha1.DLIConnectionSpec) { s.Endpoint = "dli.example.com" }), "endpoint must be a URL such as https://"},
		"an invalid project":                {connection(func(s *v1alpha1.DLIConnectionSpec) { s.ProjectID = "a-b" }), "projectID"},
		"two kinds of credentials":          {connection(func(s *v1alpha1.DLIConnectionSpec) { s.Credentials.PodIdentity = &v1alpha1.PodIdentity{} }), "exactly one of secretRef and podIdentity"},
		"From: Selector without a selector": {connection(func(s *v1alpha1.DLIConnectionSpec) { s.AllowedNamespaces.From = "Selector" }), "selector"},
	} {
		t.Run(name, func(t *testing.T) {
			test.object.SetNamespace(w.Namespace)
			test.object.SetName("refused")
			err := w.Create(t.Context(), test.object)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %v, want one that says %q", err, test.says)
			}
		})
	}
}
