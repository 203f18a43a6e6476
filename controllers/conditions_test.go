// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
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

// Rows of the documented table, of a job with a reason that was read or could not be.
const finishedRow = "Ready=True/JobFinished Succeeded=True/JobFinished Completed=True/JobFinished Synced=True/PollSucceeded"

func activeRow(reason, synced string) string {
	return fmt.Sprintf("Ready=Unknown/%[1]s Succeeded=Unknown/%[1]s Completed=False/%[1]s Synced=%[2]s Reconciling=True/%[1]s", reason, synced)
}

func stalledRow(reason, synced string) string {
	return fmt.Sprintf("Ready=False/%[1]s Succeeded=Unknown/%[1]s Completed=False/%[1]s Synced=%[2]s Stalled=True/%[1]s", reason, synced)
}

func endedRow(reason, synced string) string {
	return fmt.Sprintf("Ready=False/%[1]s Succeeded=False/%[1]s Completed=True/%[1]s Synced=%[2]s Stalled=True/%[1]s", reason, synced)
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

	none := poller.FailureStreak{}
	for name, test := range map[string]struct {
		job    *v1alpha1.DLIJob
		streak poller.FailureStreak
		want   string
		phase  v1alpha1.Phase
	}{
		"seen, no poll yet":                      {newJob(), none, activeRow("Pending", "Unknown/Pending"), "Pending"},
		"launching":                              {newJob(read(answering("LAUNCHING"))), none, activeRow("JobLaunching", "True/PollSucceeded"), "Pending"},
		"running":                                {newJob(read(answering("RUNNING"))), none, activeRow("JobRunning", "True/PollSucceeded"), "Running"},
		"scaling":                                {newJob(read(answering("SCALING"))), none, activeRow("JobScaling", "True/PollSucceeded"), "Running"},
		"in an unknown state":                    {newJob(read(answering("SUSPENDED"))), none, activeRow("JobStatusUnrecognized", "True/PollSucceeded"), "Running"},
		"finished":                               {newJob(read(answering("FINISHED"))), none, finishedRow, "Succeeded"},
		"failed":                                 {newJob(read(answering("FAILED"))), none, endedRow("JobFailed", "True/PollSucceeded"), "Failed"},
		"cancelled":                              {newJob(read(answering("CANCELLED"))), none, endedRow("JobCancelled", "True/PollSucceeded"), "Cancelled"},
		"not found, not confirmed":               {newJob(failing("JobNotFound")), none, activeRow("JobNotFound", "False/JobNotFound"), "Pending"},
		"not found, confirmed":                   {newJob(notFound), none, endedRow("JobNotFound", "True/JobNotFound"), "NotFound"},
		"credentials rejected, within the grace": {newJob(failing("CredentialsRejected")), blocked(stallAfter - time.Second), activeRow("CredentialsRejected", "False/CredentialsRejected"), "Pending"},
		"credentials rejected, after the grace":  {newJob(failing("CredentialsRejected")), blocked(stallAfter), stalledRow("CredentialsRejected", "False/CredentialsRejected"), "Stalled"},
		"unreachable for a long time":            {newJob(failing("EndpointUnreachable")), poller.FailureStreak{Count: 100}, activeRow("EndpointUnreachable", "False/EndpointUnreachable"), "Pending"},
		"unreachable while it runs":              {newJob(read(answering("RUNNING")), failing("EndpointUnreachable")), none, activeRow("EndpointUnreachable", "False/EndpointUnreachable"), "Running"},
		"deadline passed while running":          {newJob(read(answering("RUNNING")), deadlinePassed), none, stalledRow("DeadlineExceeded", "True/PollSucceeded"), "Stalled"},
		"deadline passed while unreadable":       {newJob(failing("ServerError"), deadlinePassed), none, stalledRow("DeadlineExceeded", "False/ServerError"), "Stalled"},
		"finished after its deadline":            {newJob(read(answering("FINISHED")), deadlinePassed), none, finishedRow, "Succeeded"},
		"suspended":                              {newJob(read(answering("RUNNING")), suspend), none, "Ready=Unknown/Suspended Succeeded=Unknown/Suspended Completed=False/Suspended Synced=Unknown/Suspended", "Suspended"},
		"resumed, not polled again yet":          {newJob(read(answering("RUNNING")), suspend, func(job *v1alpha1.DLIJob) { job.Spec.Suspend = false }), none, activeRow("Pending", "Unknown/Pending"), "Running"},
		"finished, then suspended":               {newJob(read(answering("FINISHED")), func(job *v1alpha1.DLIJob) { job.Spec.Suspend = true }), none, finishedRow, "Succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			deriveConditions(test.job, poller.Snapshot{Failures: test.streak, FirstSeen: noon.Add(-time.Hour)}, noon, stallAfter)
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
	failing("ServerError")(job)
	deriveConditions(job, poller.Snapshot{Failures: poller.FailureStreak{Count: 2}}, noon.Add(time.Second), stallAfter)
	if got, want := row(job), activeRow("ServerError", "False/ServerError"); got != want {
		t.Errorf("after a failure that may end by itself\n got %s\nwant %s", got, want)
	}
}
