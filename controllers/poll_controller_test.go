// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
)

func TestKnown(t *testing.T) {
	polledAgo := func(ago time.Duration) func(*v1alpha1.DLIJob) {
		return func(job *v1alpha1.DLIJob) {
			recordStatus(job, answering("RUNNING", func(a *dli.JobStatus) { a.Duration = ptr.To(5 * time.Minute) }), noon.Add(-ago))
		}
	}
	unreadable := func(job *v1alpha1.DLIJob) {
		run := poller.FailureStreak{Count: 1, Reason: "PermissionDenied", UnreadableSince: noon.Add(-time.Minute)}
		recordFailure(job, &connection.Failure{Reason: "PermissionDenied", Message: "because"}, run, noon, time.Hour)
		deriveConditions(job, poller.Snapshot{Failures: run}, noon, stallAfter)
	}
	missing := func(job *v1alpha1.DLIJob) {
		run := poller.FailureStreak{Count: 2, Reason: "JobNotFound", NotFound: 2, NotFoundSince: noon.Add(-time.Minute)}
		recordFailure(job, &connection.Failure{Reason: "JobNotFound", Message: "because"}, run, noon, time.Hour)
	}
	for name, test := range map[string]struct {
		job  *v1alpha1.DLIJob
		want poller.Known
	}{
		"a new job: its age": {newJob(), poller.Known{Age: time.Hour}},
		"a running job: its running time, as DLI reports it": {
			newJob(polledAgo(10 * time.Second)),
			poller.Known{State: dli.StateRunning, LastPoll: noon.Add(-10 * time.Second), Status: "RUNNING", Age: time.Hour, Running: 5*time.Minute + 10*time.Second},
		},
		"a forged outcome: not what DLI has said": {
			newJob(polledAgo(10*time.Second), func(job *v1alpha1.DLIJob) { job.Status.Outcome = v1alpha1.OutcomeSucceeded }),
			poller.Known{State: dli.StateRunning, LastPoll: noon.Add(-10 * time.Second), Age: time.Hour, Running: 5*time.Minute + 10*time.Second},
		},
		"a poll in the future: now": {
			newJob(polledAgo(-time.Hour)),
			poller.Known{State: dli.StateRunning, LastPoll: noon, Status: "RUNNING", Age: time.Hour, Running: 5 * time.Minute},
		},
		"a start in the future: nothing": {
			newJob(func(job *v1alpha1.DLIJob) { job.Status.StartTime = &metav1.Time{Time: noon.Add(time.Hour)} }),
			poller.Known{Age: time.Hour},
		},
		"a job that cannot be read: since when": {
			newJob(unreadable),
			poller.Known{Age: time.Hour, Failures: poller.FailureStreak{Count: 1, Reason: "PermissionDenied", UnreadableSince: noon.Add(-time.Minute)}},
		},
		"a missing job: since when": {
			newJob(missing),
			poller.Known{Age: time.Hour, Failures: poller.FailureStreak{Count: 1, Reason: "JobNotFound", NotFound: 1, NotFoundSince: noon.Add(-time.Minute)}},
		},
		"a suspended job: that it is to be polled immediately": {
			newJob(polledAgo(time.Second), func(job *v1alpha1.DLIJob) { recordSuspended(job, noon) }),
			poller.Known{State: dli.StateRunning, Age: time.Hour, Running: 5*time.Minute + time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(&test.want, knownOf(test.job, noon)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPollRequested(t *testing.T) {
	asking := func(value, handled string) *v1alpha1.DLIJob {
		return newJob(func(job *v1alpha1.DLIJob) {
			job.Annotations = map[string]string{v1alpha1.PollRequestedAtAnnotation: value}
			job.Status.LastHandledPollRequest = handled
		})
	}
	long := strings.Repeat("x", 300)
	for name, test := range map[string]struct {
		job  *v1alpha1.DLIJob
		want bool
	}{
		"no annotation":                       {newJob(), false},
		"an empty one":                        {asking("", ""), false},
		"a new value":                         {asking("2", "1"), true},
		"a handled one":                       {asking("1", "1"), false},
		"one that is too long to be recorded": {asking(long, long[:256]), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pollRequested(test.job); got != test.want {
				t.Errorf("requested: %v", got)
			}
		})
	}
}

// The cost is requested for a while after an outcome was recorded, whichever process did.
func TestLacksCost(t *testing.T) {
	ended := func(ago time.Duration, changes ...func(*v1alpha1.DLIJob)) *v1alpha1.DLIJob {
		job := newJob()
		recordStatus(job, answering("FINISHED"), noon.Add(-ago))
		deriveConditions(job, poller.Snapshot{}, noon.Add(-ago), stallAfter)
		for _, change := range changes {
			change(job)
		}
		return job
	}
	for name, test := range map[string]struct {
		job  *v1alpha1.DLIJob
		want bool
	}{
		"a new job":                {newJob(), false},
		"one that has ended":       {ended(0), true},
		"a moment ago":             {ended(time.Minute), true},
		"long ago":                 {ended(costWindow), false},
		"by a clock that is ahead": {ended(-time.Minute), true},
		"by a clock that is wrong": {ended(-time.Hour), false},
		"one with a cost":          {ended(0, func(job *v1alpha1.DLIJob) { job.Status.Cost = &v1alpha1.JobCost{} }), false},
		"a Spark job, of which DLI reports no cost": {ended(0, func(job *v1alpha1.DLIJob) { job.Spec.Type = v1alpha1.JobTypeSpark }), false},
		"one that DLI does not have":                {ended(0, func(job *v1alpha1.DLIJob) { job.Status.Outcome = v1alpha1.OutcomeNotFound }), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lacksCost(test.job, noon); got != test.want {
				t.Errorf("lacks its cost: %v", got)
			}
		})
	}
}

// A job that exists at the start and has ended costs no look, unless something is still to be
// read of it.
func TestJobsAtTheStart(t *testing.T) {
	ended := func(changes ...func(*v1alpha1.DLIJob)) *v1alpha1.DLIJob {
		job := newJob()
		recordStatus(job, answering("FINISHED"), noon)
		deriveConditions(job, poller.Snapshot{}, noon, stallAfter)
		for _, change := range changes {
			change(job)
		}
		return job
	}
	later := clocktesting.NewFakePassiveClock(noon.Add(costWindow))
	for name, test := range map[string]struct {
		job  *v1alpha1.DLIJob
		want bool
	}{
		"a new job":          {newJob(), true},
		"one that runs":      {newJob(read(answering("RUNNING"))), true},
		"one that has ended": {ended(), false},
		"one with a poll request": {ended(func(job *v1alpha1.DLIJob) {
			job.Annotations = map[string]string{v1alpha1.PollRequestedAtAnnotation: "1"}
		}), true},
		"one with a forged outcome": {ended(func(job *v1alpha1.DLIJob) { job.Status.Conditions = nil }), true},
	} {
		if got := pollChanges(later).Create(event.CreateEvent{Object: test.job}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !pollChanges(clocktesting.NewFakePassiveClock(noon)).Create(event.CreateEvent{Object: ended()}) {
		t.Error("the cost of a job that has just ended is not read")
	}
}

// Figures alone do not make the poll controller look at a job.
func TestPollChanges(t *testing.T) {
	before := newJob(read(answering("RUNNING")), func(job *v1alpha1.DLIJob) {
		job.Annotations = map[string]string{v1alpha1.PollRequestedAtAnnotation: "1"}
	})
	for name, test := range map[string]struct {
		change func(*v1alpha1.DLIJob)
		want   bool
	}{
		"other figures":        {read(answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](1) })), false},
		"an outcome":           {read(answering("FINISHED")), true},
		"an edit":              {func(job *v1alpha1.DLIJob) { job.Generation++ }, true},
		"a deletion":           {func(job *v1alpha1.DLIJob) { job.DeletionTimestamp = &metav1.Time{Time: noon} }, true},
		"an object made anew":  {func(job *v1alpha1.DLIJob) { job.UID = "anew" }, true},
		"another poll request": {func(job *v1alpha1.DLIJob) { job.Annotations[v1alpha1.PollRequestedAtAnnotation] = "2" }, true},
		"a handled one":        {func(job *v1alpha1.DLIJob) { job.Status.LastHandledPollRequest = "1" }, true},
	} {
		if got := pollChanges(nil).Update(event.UpdateEvent{ObjectOld: before, ObjectNew: atVersion(before, "", test.change)}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
