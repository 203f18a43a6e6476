// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
)

func TestRecord(t *testing.T) {
	t.Run("copies the API document's sample", func(t *testing.T) {
		job := newJob()
		duration := 2523 * time.Millisecond
		recordStatus(job, &dli.JobStatus{
			JobID: job.Spec.JobID, Status: "FINISHED", State: dli.StateFinished, JobType: "QUERY", QueueName: "default", Owner: "test",
			StartTime: time.UnixMilli(1509335108918), Figures: dli.Figures{Duration: &duration, InputBytes: ptr.To[int64](22), ResultCount: ptr.To[int64](4)},
			DatabaseName: "dbtest", TableName: "tbtest", Statement: "select * from t1", Message: `{"error_code":"DLI.0999"}`,
			Columns: []dli.Column{{Name: "id", Type: "int", Nullable: true}, {Name: "name", Type: "string", Nullable: true}},
			Tags:    []dli.Tag{{Key: "team", Value: "data"}},
			Name:    "nightly", ApplicationID: "batch-session-1", Image: "swr/team/spark:3", // of a Spark job
		}, noon)
		want := v1alpha1.DLIJobStatus{
			JobStatus: "FINISHED", Outcome: "Succeeded", JobType: "QUERY", QueueName: "default", Owner: "test", DatabaseName: "dbtest", TableName: "tbtest",
			StartTime:      &metav1.Time{Time: time.Date(2017, 10, 30, 3, 45, 8, 0, time.UTC)},
			CompletionTime: &metav1.Time{Time: time.Date(2017, 10, 30, 3, 45, 11, 0, time.UTC)},
			LastPollTime:   &metav1.Time{Time: noon}, DurationMilliseconds: ptr.To[int64](2523), Duration: "2.523s",
			InputBytes: ptr.To[int64](22), ResultCount: ptr.To[int64](4), Statement: "select * from t1", Message: `{"error_code":"DLI.0999"}`,
			Columns: []v1alpha1.Column{{Name: "id", Type: "int", Nullable: true}, {Name: "name", Type: "string", Nullable: true}},
			Tags:    []v1alpha1.Tag{{Key: "team", Value: "data"}},
			JobName: "nightly", ApplicationID: "batch-session-1", Image: "swr/team/spark:3",
		}
		if diff := cmp.Diff(want, job.Status, cmpopts.IgnoreFields(v1alpha1.DLIJobStatus{}, "Conditions")); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("keeps what a later response omits", func(t *testing.T) {
		job := newJob(read(answering("RUNNING", func(a *dli.JobStatus) {
			a.ResultCount, a.Statement, a.Columns = ptr.To[int64](4), "select 1", []dli.Column{{Name: "a", Type: "int"}}
			a.Tags = []dli.Tag{{Key: "team", Value: "data"}}
		})))
		before := job.Status.DeepCopy()
		recordStatus(job, &dli.JobStatus{Status: "RUNNING", State: dli.StateRunning}, noon)
		if diff := cmp.Diff(before, &job.Status); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("keeps what a list omits, and the message", func(t *testing.T) {
		job := newJob(read(answering("RUNNING", func(a *dli.JobStatus) { a.Message, a.Statement = "half way", "select 1" })))
		row := &poller.Result{Listed: &dli.Figures{ResultCount: ptr.To[int64](4)}, ArrivedAt: noon.Add(time.Hour)}
		recordResult(job, row, time.Minute)
		if s := job.Status; !s.LastPollTime.Time.Equal(row.ArrivedAt) || s.Message != "half way" || s.Statement != "select 1" || *s.ResultCount != 4 {
			t.Errorf("the status is %+v", s)
		}
	})

	t.Run("ignores lists once the job has ended", func(t *testing.T) {
		for _, outcome := range []v1alpha1.Outcome{"Succeeded", "NotFound"} {
			job := newJob(read(answering("RUNNING")), func(job *v1alpha1.DLIJob) { job.Status.Outcome = outcome })
			before := job.Status.DeepCopy()
			recordResult(job, &poller.Result{Listed: &dli.Figures{}, ArrivedAt: noon.Add(time.Hour)}, time.Minute)
			if diff := cmp.Diff(before, &job.Status); diff != "" {
				t.Error(diff)
			}
		}
	})

	t.Run("distinguishes zero rows from unknown", func(t *testing.T) {
		job := newJob(read(answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](4) })))
		recordStatus(job, answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](0) }), noon)
		if job.Status.ResultCount == nil || *job.Status.ResultCount != 0 {
			t.Errorf("resultCount is %v, want 0", job.Status.ResultCount)
		}
	})

	t.Run("keeps an outcome, no matter what DLI reports later", func(t *testing.T) {
		for _, later := range []string{"RUNNING", "FAILED", "LAUNCHING", "WHATEVER"} {
			job := newJob(read(answering("FINISHED", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](4) })))
			recordStatus(job, answering(later, func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](9) }), noon)
			if job.Status.Outcome != "Succeeded" || job.Status.JobStatus != "FINISHED" || *job.Status.ResultCount != 4 {
				t.Errorf("%s changed the outcome: %+v", later, job.Status)
			}
			synced := meta.FindStatusCondition(job.Status.Conditions, "Synced")
			if synced.Status != metav1.ConditionTrue || synced.Reason != "OutcomeContradicted" || !strings.Contains(synced.Message, later) {
				t.Errorf("Synced does not mention %s: %+v", later, synced)
			}
		}
	})

	t.Run("refreshes the figures of a job that has ended", func(t *testing.T) {
		job := newJob(read(answering("FINISHED")))
		recordStatus(job, answering("FINISHED", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](9) }), noon)
		if job.Status.ResultCount == nil || *job.Status.ResultCount != 9 {
			t.Errorf("resultCount is %v, want 9", job.Status.ResultCount)
		}
	})

	t.Run("lifts NotFound when DLI has the job after all", func(t *testing.T) {
		job := newJob(func(job *v1alpha1.DLIJob) { job.Status.Outcome = "NotFound" }, read(answering("RUNNING")))
		if job.IsCompleted() || job.Status.CompletionTime != nil {
			t.Errorf("still completed: %+v", job.Status)
		}
	})

	t.Run("uses the time of the poll as the end if DLI reports no duration", func(t *testing.T) {
		job := newJob(read(answering("FAILED")))
		if !job.Status.CompletionTime.Time.Equal(noon) {
			t.Errorf("completionTime is %v, want %v", job.Status.CompletionTime, noon)
		}
	})

	t.Run("uses the time of the poll as the end if DLI's cannot be stored", func(t *testing.T) {
		job := newJob(read(answering("FINISHED", func(a *dli.JobStatus) { a.StartTime, a.Duration = farFuture, ptr.To(365*24*time.Hour) })))
		if !job.Status.CompletionTime.Time.Equal(noon) {
			t.Errorf("completionTime is %v, want %v", job.Status.CompletionTime, noon)
		}
	})

	t.Run("keeps the end when it is read again without a duration, and ends doubts", func(t *testing.T) {
		job := newJob(func(job *v1alpha1.DLIJob) { job.Status.NotFoundSince = &metav1.Time{Time: noon} }, read(answering("FINISHED")))
		recordStatus(job, answering("FINISHED"), noon.Add(time.Hour))
		if !job.Status.CompletionTime.Time.Equal(noon) || job.Status.NotFoundSince != nil {
			t.Errorf("completionTime is %v, notFoundSince %v", job.Status.CompletionTime, job.Status.NotFoundSince)
		}
	})

	t.Run("keeps DLI's times, even if its clock differs", func(t *testing.T) {
		start := noon.Add(time.Minute)
		job := newJob(read(answering("RUNNING", func(a *dli.JobStatus) { a.StartTime = start })))
		recordStatus(job, answering("FINISHED", func(a *dli.JobStatus) { a.StartTime, a.Duration = start, ptr.To(time.Hour) }), noon.Add(time.Second))
		if !job.Status.StartTime.Time.Equal(start) || !job.Status.CompletionTime.Time.Equal(start.Add(time.Hour)) {
			t.Errorf("started %v, completed %v, want %v and an hour later", job.Status.StartTime, job.Status.CompletionTime, start)
		}
	})

	t.Run("truncates columns to the limits of the API, and counts the rest", func(t *testing.T) {
		wide := answering("FINISHED", func(a *dli.JobStatus) {
			a.Columns, a.Tags = make([]dli.Column, 256), make([]dli.Tag, 20)
			for i := range a.Tags {
				a.Tags[i] = dli.Tag{Key: strings.Repeat("<", 256), Value: strings.Repeat("<", 256)}
			}
			for i := range a.Columns {
				a.Columns[i] = dli.Column{Name: strings.Repeat("<", 1024), Type: strings.Repeat("<", 1024)}
			}
		})
		job := newJob(read(wide))
		deriveConditions(job, poller.Snapshot{}, noon, stallAfter)
		if size := wireSize(job); size > 256<<10 {
			t.Errorf("the object has %d bytes", size)
		}
		if n := len(job.Status.Columns); n == 0 || n+int(job.Status.ColumnsOmitted) != 256 || job.Status.Outcome != "Succeeded" {
			t.Errorf("%d columns, %d omitted, outcome %q", n, job.Status.ColumnsOmitted, job.Status.Outcome)
		}
		again := job.DeepCopy()
		recordStatus(again, wide, noon)
		deriveConditions(again, poller.Snapshot{}, noon, stallAfter)
		if differs(job.Status, again.Status) {
			t.Error("the same response is written again")
		}
	})
}

func TestRecordResult(t *testing.T) {
	t.Run("does not count the time until it is stored as confirmation", func(t *testing.T) {
		job := newJob()
		result := &poller.Result{Failure: &connection.Failure{Reason: "JobNotFound", Message: "because"}, ArrivedAt: noon}
		result.Failures = poller.FailureStreak{Count: 3, Reason: "JobNotFound", NotFound: 3, NotFoundSince: noon.Add(-time.Minute)}
		recordResult(job, result, 2*time.Minute)
		if job.IsCompleted() {
			t.Error("three responses within a minute are believed")
		}
		result.ArrivedAt = noon.Add(time.Minute)
		recordResult(job, result, 2*time.Minute)
		if job.Status.Outcome != "NotFound" {
			t.Errorf("three responses over two minutes are not believed: %+v", job.Status)
		}
	})
}

// A requested poll is done when the job was read, or when it has ended and DLI has it no longer.
func TestHandledPollRequests(t *testing.T) {
	missing := &connection.Failure{Reason: "JobNotFound"}
	for name, test := range map[string]struct {
		job    *v1alpha1.DLIJob
		result poller.Result
		want   string
	}{
		"a status":                     {newJob(), poller.Result{Status: answering("RUNNING")}, "now"},
		"a failure":                    {newJob(), poller.Result{Failure: &connection.Failure{Reason: "ServerError"}}, ""},
		"no such job":                  {newJob(), poller.Result{Failure: missing}, ""},
		"no longer one that has ended": {newJob(read(answering("FINISHED"))), poller.Result{Failure: missing}, "now"},
		"a failure of one that has":    {newJob(read(answering("FINISHED"))), poller.Result{Failure: &connection.Failure{Reason: "ServerError"}}, ""},
	} {
		test.result.PollRequest = "now"
		recordResult(test.job, &test.result, time.Minute)
		if got := test.job.Status.LastHandledPollRequest; got != test.want {
			t.Errorf("%s: handled %q, want %q", name, got, test.want)
		}
	}
}

func TestRecordFailure(t *testing.T) {
	t.Run("keeps the rest of the status", func(t *testing.T) {
		job := newJob(read(answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](4) })))
		before := job.Status.DeepCopy()
		recordFailure(job, &connection.Failure{Reason: "ServerError", Message: "HTTP 502"}, poller.FailureStreak{Count: 1}, noon, time.Minute)
		if diff := cmp.Diff(before, &job.Status, cmpopts.IgnoreFields(v1alpha1.DLIJobStatus{}, "Conditions")); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("does not let NotFound change an outcome", func(t *testing.T) {
		job := newJob(read(answering("FINISHED")))
		recordFailure(job, &connection.Failure{Reason: "JobNotFound"}, poller.FailureStreak{NotFound: 9, NotFoundSince: noon.Add(-time.Hour)}, noon, time.Minute)
		deriveConditions(job, poller.Snapshot{Failures: blocked(time.Hour)}, noon, stallAfter)
		if row(job) != finishedRow {
			t.Errorf("\n got %s\nwant %s", row(job), finishedRow)
		}
		if s := job.Status; s.NotFoundSince != nil || s.UnreadableSince != nil {
			t.Errorf("missing since %v, unreadable since %v", s.NotFoundSince, s.UnreadableSince)
		}
	})

	t.Run("ignores a new request ID", func(t *testing.T) {
		job := newJob()
		recordFailure(job, &connection.Failure{Reason: "ServerError", Message: "HTTP 502", RequestID: "r1"}, poller.FailureStreak{}, noon, time.Minute)
		before := job.Status.DeepCopy()
		recordFailure(job, &connection.Failure{Reason: "ServerError", Message: "HTTP 502", RequestID: "r2"}, poller.FailureStreak{}, noon, time.Minute)
		if diff := cmp.Diff(before, &job.Status); diff != "" {
			t.Error(diff)
		}
		recordFailure(job, &connection.Failure{Reason: "ServerError", Message: "HTTP 503", RequestID: "r3"}, poller.FailureStreak{}, noon, time.Minute)
		if diff := cmp.Diff(before, &job.Status); diff != "" {
			t.Errorf("another time or number in the text is not ignored: %s", diff)
		}
		if message := job.Status.Conditions[0].Message; message != "HTTP 502 (request r1)" {
			t.Errorf("message is %q", message)
		}
	})
}

func TestHumanDuration(t *testing.T) {
	for milliseconds, want := range map[int64]string{
		0: "0s", 1: "1ms", 2523: "2.523s", 59_999: "59.999s", 60_000: "1m0s", 93_400: "1m33s", 3_600_000: "1h0m", 109_800_000: "30h30m",
	} {
		if got := humanDuration(time.Duration(milliseconds) * time.Millisecond); got != want {
			t.Errorf("%d ms is %q, want %q", milliseconds, got, want)
		}
	}
	if got := humanDuration(math.MaxInt64); len(got) > 32 {
		t.Errorf("the longest duration is %q, longer than the API allows", got)
	}
}
