// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// noon is the current time in tests of pure functions.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const stallAfter = 2 * time.Minute

// newJob returns a DLIJob that was created an hour before noon.
func newJob(changes ...func(*v1alpha1.DLIJob)) *v1alpha1.DLIJob {
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "report", Generation: 3, CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour))},
		Spec:       v1alpha1.DLIJobSpec{JobID: "208b08d4-0dc2-4dd7-8879-ddd4c020d7aa"},
	}
	for _, change := range changes {
		change(job)
	}
	return job
}

// answering returns a response of DLI for the job of newJob.
func answering(status string, changes ...func(*dli.JobStatus)) *dli.JobStatus {
	answer := &dli.JobStatus{
		JobID: "208b08d4-0dc2-4dd7-8879-ddd4c020d7aa", Status: status, State: dli.ParseState(status),
		JobType: "QUERY", QueueName: "default", Owner: "test", StartTime: noon.Add(-10 * time.Minute),
	}
	for _, change := range changes {
		change(answer)
	}
	return answer
}

func read(answer *dli.JobStatus) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) { recordStatus(job, answer, noon) }
}

// failing makes the last poll of a job a failed one, in a run of failures that started
// this long before noon.
func failing(reason string) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) {
		recordFailure(job, &connection.Failure{Reason: reason, Message: "because"}, poller.FailureStreak{}, noon, time.Minute)
	}
}

// blocked is the run of failures of a job that could not be read for this long.
func blocked(since time.Duration) poller.FailureStreak {
	return poller.FailureStreak{Count: 3, UnreadableSince: noon.Add(-since)}
}

// row returns the conditions of a job as "Type=Status/Reason", in the order of the
// documented table.
func row(job *v1alpha1.DLIJob) string {
	var cells []string
	for _, kind := range []string{"Ready", "Succeeded", "Completed", "Synced", "Reconciling", "Stalled"} {
		if c := meta.FindStatusCondition(job.Status.Conditions, kind); c != nil {
			cells = append(cells, kind+"="+string(c.Status)+"/"+c.Reason)
		}
	}
	return strings.Join(cells, " ")
}

// fluxStatus is the kstatus of a job, as Flux computes it.
func fluxStatus(t *testing.T, job *v1alpha1.DLIJob) kstatus.Status {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
	if err != nil {
		t.Fatal(err)
	}
	result, err := kstatus.Compute(&unstructured.Unstructured{Object: object})
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

// kstatusOf is the kstatus that a row of the documented table should have.
func kstatusOf(row string) kstatus.Status {
	switch {
	case strings.Contains(row, "Stalled=True"):
		return kstatus.FailedStatus
	case strings.HasPrefix(row, "Ready=True"):
		return kstatus.CurrentStatus
	}
	return kstatus.InProgressStatus
}

func TestSummarize(t *testing.T) {
	deadlinePassed := func(job *v1alpha1.DLIJob) { job.Spec.ActiveDeadlineSeconds = ptr.To[int64](60) }
	suspend := func(job *v1alpha1.DLIJob) { job.Spec.Suspend = true; recordSuspended(job, noon) }
	notFound := func(job *v1alpha1.DLIJob) {
		recordFailure(job, &connection.Failure{Reason: "JobNotFound", Message: "DLI has no such job"},
			poller.FailureStreak{NotFound: 3, NotFoundSince: noon.Add(-time.Hour)}, noon, time.Minute)
	}

	for name, test := range map[string]struct {
		job   *v1alpha1.DLIJob
		run   poller.FailureStreak
		want  string
		phase v1alpha1.Phase
	}{
		"seen, no poll yet": {
			job:   newJob(),
			want:  "Ready=Unknown/Pending Succeeded=Unknown/Pending Completed=False/Pending Synced=Unknown/Pending Reconciling=True/Pending",
			phase: "Pending",
		},
		"launching": {
			job:   newJob(read(answering("LAUNCHING"))),
			want:  "Ready=Unknown/JobLaunching Succeeded=Unknown/JobLaunching Completed=False/JobLaunching Synced=True/PollSucceeded Reconciling=True/JobLaunching",
			phase: "Pending",
		},
		"running": {
			job:   newJob(read(answering("RUNNING"))),
			want:  "Ready=Unknown/JobRunning Succeeded=Unknown/JobRunning Completed=False/JobRunning Synced=True/PollSucceeded Reconciling=True/JobRunning",
			phase: "Running",
		},
		"scaling": {
			job:   newJob(read(answering("SCALING"))),
			want:  "Ready=Unknown/JobScaling Succeeded=Unknown/JobScaling Completed=False/JobScaling Synced=True/PollSucceeded Reconciling=True/JobScaling",
			phase: "Running",
		},
		"in an unknown state": {
			job:   newJob(read(answering("SUSPENDED"))),
			want:  "Ready=Unknown/JobStatusUnrecognized Succeeded=Unknown/JobStatusUnrecognized Completed=False/JobStatusUnrecognized Synced=True/PollSucceeded Reconciling=True/JobStatusUnrecognized",
			phase: "Running",
		},
		"finished": {
			job:   newJob(read(answering("FINISHED"))),
			want:  "Ready=True/JobFinished Succeeded=True/JobFinished Completed=True/JobFinished Synced=True/PollSucceeded",
			phase: "Succeeded",
		},
		"failed": {
			job:   newJob(read(answering("FAILED"))),
			want:  "Ready=False/JobFailed Succeeded=False/JobFailed Completed=True/JobFailed Synced=True/PollSucceeded Stalled=True/JobFailed",
			phase: "Failed",
		},
		"cancelled": {
			job:   newJob(read(answering("CANCELLED"))),
			want:  "Ready=False/JobCancelled Succeeded=False/JobCancelled Completed=True/JobCancelled Synced=True/PollSucceeded Stalled=True/JobCancelled",
			phase: "Cancelled",
		},
		"not found, not confirmed": {
			job:   newJob(failing("JobNotFound")),
			want:  "Ready=Unknown/JobNotFound Succeeded=Unknown/JobNotFound Completed=False/JobNotFound Synced=False/JobNotFound Reconciling=True/JobNotFound",
			phase: "Pending",
		},
		"not found, confirmed": {
			job:   newJob(notFound),
			want:  "Ready=False/JobNotFound Succeeded=False/JobNotFound Completed=True/JobNotFound Synced=True/JobNotFound Stalled=True/JobNotFound",
			phase: "NotFound",
		},
		"credentials rejected, within the grace": {
			job:   newJob(failing("CredentialsRejected")),
			run:   blocked(stallAfter - time.Second),
			want:  "Ready=Unknown/CredentialsRejected Succeeded=Unknown/CredentialsRejected Completed=False/CredentialsRejected Synced=False/CredentialsRejected Reconciling=True/CredentialsRejected",
			phase: "Pending",
		},
		"credentials rejected, after the grace": {
			job:   newJob(failing("CredentialsRejected")),
			run:   blocked(stallAfter),
			want:  "Ready=False/CredentialsRejected Succeeded=Unknown/CredentialsRejected Completed=False/CredentialsRejected Synced=False/CredentialsRejected Stalled=True/CredentialsRejected",
			phase: "Stalled",
		},
		"unreachable for a long time": {
			job:   newJob(failing("EndpointUnreachable")),
			run:   poller.FailureStreak{Count: 100},
			want:  "Ready=Unknown/EndpointUnreachable Succeeded=Unknown/EndpointUnreachable Completed=False/EndpointUnreachable Synced=False/EndpointUnreachable Reconciling=True/EndpointUnreachable",
			phase: "Pending",
		},
		"unreachable while it runs": {
			job:   newJob(read(answering("RUNNING")), failing("EndpointUnreachable")),
			want:  "Ready=Unknown/EndpointUnreachable Succeeded=Unknown/EndpointUnreachable Completed=False/EndpointUnreachable Synced=False/EndpointUnreachable Reconciling=True/EndpointUnreachable",
			phase: "Running",
		},
		"deadline passed while running": {
			job:   newJob(read(answering("RUNNING")), deadlinePassed),
			want:  "Ready=False/DeadlineExceeded Succeeded=Unknown/DeadlineExceeded Completed=False/DeadlineExceeded Synced=True/PollSucceeded Stalled=True/DeadlineExceeded",
			phase: "Stalled",
		},
		"deadline passed while unreadable": {
			job:   newJob(failing("ServerError"), deadlinePassed),
			want:  "Ready=False/DeadlineExceeded Succeeded=Unknown/DeadlineExceeded Completed=False/DeadlineExceeded Synced=False/ServerError Stalled=True/DeadlineExceeded",
			phase: "Stalled",
		},
		"finished after its deadline": {
			job:   newJob(read(answering("FINISHED")), deadlinePassed),
			want:  "Ready=True/JobFinished Succeeded=True/JobFinished Completed=True/JobFinished Synced=True/PollSucceeded",
			phase: "Succeeded",
		},
		"suspended": {
			job:   newJob(read(answering("RUNNING")), suspend),
			want:  "Ready=Unknown/Suspended Succeeded=Unknown/Suspended Completed=False/Suspended Synced=Unknown/Suspended",
			phase: "Suspended",
		},
		"resumed, not polled again yet": {
			job:   newJob(read(answering("RUNNING")), suspend, func(job *v1alpha1.DLIJob) { job.Spec.Suspend = false }),
			want:  "Ready=Unknown/Pending Succeeded=Unknown/Pending Completed=False/Pending Synced=Unknown/Pending Reconciling=True/Pending",
			phase: "Running",
		},
		"finished, then suspended": {
			job:   newJob(read(answering("FINISHED")), func(job *v1alpha1.DLIJob) { job.Spec.Suspend = true }),
			want:  "Ready=True/JobFinished Succeeded=True/JobFinished Completed=True/JobFinished Synced=True/PollSucceeded",
			phase: "Succeeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			deriveConditions(test.job, poller.Snapshot{Failures: test.run, Times: poller.JobTimes{FirstSeen: noon.Add(-time.Hour)}}, noon, stallAfter)
			if got := row(test.job); got != test.want {
				t.Errorf("\n got %s\nwant %s", got, test.want)
			}
			if got, want := fluxStatus(t, test.job), kstatusOf(test.want); got != want {
				t.Errorf("kstatus is %s, want %s", got, want)
			}
			if test.job.Status.Phase != test.phase {
				t.Errorf("the phase is %s, want %s", test.job.Status.Phase, test.phase)
			}
			if test.job.Status.ObservedGeneration != 3 {
				t.Errorf("observedGeneration is %d, want the object's 3", test.job.Status.ObservedGeneration)
			}
			for _, c := range test.job.Status.Conditions {
				if c.ObservedGeneration != 3 {
					t.Errorf("%s describes generation %d, want 3", c.Type, c.ObservedGeneration)
				}
				if c.Message == "" {
					t.Errorf("%s has no message", c.Type)
				}
			}
		})
	}
}

func TestStalledSurvivesARestart(t *testing.T) {
	job := newJob(failing("PermissionDenied"))
	deriveConditions(job, poller.Snapshot{Failures: blocked(stallAfter)}, noon, stallAfter)
	before := row(job)

	recordFailure(job, &connection.Failure{Reason: "PermissionDenied", Message: "because"}, poller.FailureStreak{}, noon.Add(time.Second), time.Minute)
	deriveConditions(job, poller.Snapshot{Failures: poller.FailureStreak{Count: 1, UnreadableSince: noon.Add(time.Second)}}, noon.Add(time.Second), stallAfter)
	if got := row(job); got != before {
		t.Errorf("\n got %s\nwant %s", got, before)
	}
}
