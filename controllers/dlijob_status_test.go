/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package controllers

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// noon is now in all tests of pure functions.
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

// answering returns an answer of DLI about newJob's job.
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
	return func(job *v1alpha1.DLIJob) { record(job, answer, noon) }
}

// failing makes the last poll of a job one that failed, in a run that began so
// long before noon.
func failing(reason string) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) {
		recordFailure(job, &failure{Reason: reason, Message: "because"}, streak{}, noon, time.Minute)
	}
}

// blocked is the run of a job that nobody could read for so long.
func blocked(since time.Duration) streak {
	return streak{Failures: 3, BlockedSince: noon.Add(-since)}
}

// row is what a job comes to: the conditions as "Type=Status/Reason", sorted as
// the table of the documentation sorts them.
func row(job *v1alpha1.DLIJob) string {
	var cells []string
	for _, kind := range []string{"Ready", "Succeeded", "Completed", "Synced", "Reconciling", "Stalled"} {
		if c := meta.FindStatusCondition(job.Status.Conditions, kind); c != nil {
			cells = append(cells, kind+"="+string(c.Status)+"/"+c.Reason)
		}
	}
	return strings.Join(cells, " ")
}

func TestSummarize(t *testing.T) {
	deadlinePassed := func(job *v1alpha1.DLIJob) { job.Spec.ActiveDeadlineSeconds = ptr.To[int64](60) }
	suspend := func(job *v1alpha1.DLIJob) { job.Spec.Suspend = true; suspended(job, noon) }
	notFound := func(job *v1alpha1.DLIJob) {
		recordFailure(job, &failure{Reason: "JobNotFound", Message: "DLI has no such job"},
			streak{NotFound: 3, NotFoundSince: noon.Add(-time.Hour)}, noon, time.Minute)
	}

	for name, test := range map[string]struct {
		job  *v1alpha1.DLIJob
		run  streak
		want string
	}{
		"seen, no poll yet": {
			job:  newJob(),
			want: "Ready=Unknown/Pending Succeeded=Unknown/Pending Completed=False/Pending Synced=Unknown/Pending Reconciling=True/Pending",
		},
		"launching": {
			job:  newJob(read(answering("LAUNCHING"))),
			want: "Ready=Unknown/JobLaunching Succeeded=Unknown/JobLaunching Completed=False/JobLaunching Synced=True/PollSucceeded Reconciling=True/JobLaunching",
		},
		"running": {
			job:  newJob(read(answering("RUNNING"))),
			want: "Ready=Unknown/JobRunning Succeeded=Unknown/JobRunning Completed=False/JobRunning Synced=True/PollSucceeded Reconciling=True/JobRunning",
		},
		"scaling": {
			job:  newJob(read(answering("SCALING"))),
			want: "Ready=Unknown/JobScaling Succeeded=Unknown/JobScaling Completed=False/JobScaling Synced=True/PollSucceeded Reconciling=True/JobScaling",
		},
		"in a state that only DLI knows": {
			job:  newJob(read(answering("SUSPENDED"))),
			want: "Ready=Unknown/JobStatusUnrecognized Succeeded=Unknown/JobStatusUnrecognized Completed=False/JobStatusUnrecognized Synced=True/PollSucceeded Reconciling=True/JobStatusUnrecognized",
		},
		"finished": {
			job:  newJob(read(answering("FINISHED"))),
			want: "Ready=True/JobFinished Succeeded=True/JobFinished Completed=True/JobFinished Synced=True/PollSucceeded",
		},
		"failed": {
			job:  newJob(read(answering("FAILED"))),
			want: "Ready=False/JobFailed Succeeded=False/JobFailed Completed=True/JobFailed Synced=True/PollSucceeded Stalled=True/JobFailed",
		},
		"cancelled": {
			job:  newJob(read(answering("CANCELLED"))),
			want: "Ready=False/JobCancelled Succeeded=False/JobCancelled Completed=True/JobCancelled Synced=True/PollSucceeded Stalled=True/JobCancelled",
		},
		"not found, not confirmed": {
			job:  newJob(failing("JobNotFound")),
			want: "Ready=Unknown/JobNotFound Succeeded=Unknown/JobNotFound Completed=False/JobNotFound Synced=False/JobNotFound Reconciling=True/JobNotFound",
		},
		"not found, confirmed": {
			job:  newJob(notFound),
			want: "Ready=False/JobNotFound Succeeded=False/JobNotFound Completed=True/JobNotFound Synced=True/JobNotFound Stalled=True/JobNotFound",
		},
		"credentials rejected, within the grace": {
			job:  newJob(failing("CredentialsRejected")),
			run:  blocked(stallAfter - time.Second),
			want: "Ready=Unknown/CredentialsRejected Succeeded=Unknown/CredentialsRejected Completed=False/CredentialsRejected Synced=False/CredentialsRejected Reconciling=True/CredentialsRejected",
		},
		"credentials rejected, after the grace": {
			job:  newJob(failing("CredentialsRejected")),
			run:  blocked(stallAfter),
			want: "Ready=False/CredentialsRejected Succeeded=Unknown/CredentialsRejected Completed=False/CredentialsRejected Synced=False/CredentialsRejected Stalled=True/CredentialsRejected",
		},
		"unreachable, however long": {
			job:  newJob(failing("EndpointUnreachable")),
			run:  streak{Failures: 100},
			want: "Ready=Unknown/EndpointUnreachable Succeeded=Unknown/EndpointUnreachable Completed=False/EndpointUnreachable Synced=False/EndpointUnreachable Reconciling=True/EndpointUnreachable",
		},
		"deadline passed while running": {
			job:  newJob(read(answering("RUNNING")), deadlinePassed),
			want: "Ready=False/DeadlineExceeded Succeeded=Unknown/DeadlineExceeded Completed=False/DeadlineExceeded Synced=True/PollSucceeded Stalled=True/DeadlineExceeded",
		},
		"deadline passed while unreadable": {
			job:  newJob(failing("ServerError"), deadlinePassed),
			want: "Ready=False/DeadlineExceeded Succeeded=Unknown/DeadlineExceeded Completed=False/DeadlineExceeded Synced=False/ServerError Stalled=True/DeadlineExceeded",
		},
		"finished after its deadline": {
			job:  newJob(read(answering("FINISHED")), deadlinePassed),
			want: "Ready=True/JobFinished Succeeded=True/JobFinished Completed=True/JobFinished Synced=True/PollSucceeded",
		},
		"suspended": {
			job:  newJob(read(answering("RUNNING")), suspend),
			want: "Ready=Unknown/Suspended Succeeded=Unknown/Suspended Completed=False/Suspended Synced=Unknown/Suspended",
		},
		"resumed, not polled again yet": {
			job:  newJob(read(answering("RUNNING")), suspend, func(job *v1alpha1.DLIJob) { job.Spec.Suspend = false }),
			want: "Ready=Unknown/Pending Succeeded=Unknown/Pending Completed=False/Pending Synced=Unknown/Pending Reconciling=True/Pending",
		},
		"finished, then suspended": {
			job:  newJob(read(answering("FINISHED")), func(job *v1alpha1.DLIJob) { job.Spec.Suspend = true }),
			want: "Ready=True/JobFinished Succeeded=True/JobFinished Completed=True/JobFinished Synced=True/PollSucceeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			summarize(test.job, test.run, noon, stallAfter)
			if got := row(test.job); got != test.want {
				t.Errorf("\n got %s\nwant %s", got, test.want)
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

func TestAStalledJobStaysStalledOverARestart(t *testing.T) {
	job := newJob(failing("PermissionDenied"))
	summarize(job, blocked(stallAfter), noon, stallAfter)
	before := row(job)

	recordFailure(job, &failure{Reason: "PermissionDenied", Message: "because"}, streak{}, noon.Add(time.Second), time.Minute)
	summarize(job, streak{Failures: 1, BlockedSince: noon.Add(time.Second)}, noon.Add(time.Second), stallAfter)
	if got := row(job); got != before {
		t.Errorf("\n got %s\nwant %s", got, before)
	}
}

func TestRecord(t *testing.T) {
	t.Run("copies the API document's sample", func(t *testing.T) {
		job := newJob()
		duration := 2523 * time.Millisecond
		record(job, &dli.JobStatus{
			JobID: job.Spec.JobID, Status: "FINISHED", State: dli.StateFinished, JobType: "QUERY", QueueName: "default", Owner: "test",
			StartTime: time.UnixMilli(1509335108918), Duration: &duration, InputBytes: ptr.To[int64](22), ResultCount: ptr.To[int64](4),
			DatabaseName: "dbtest", TableName: "tbtest", Statement: "select * from t1", Message: `{"error_code":"DLI.0999"}`,
			Columns: []dli.Column{{Name: "id", Type: "int", Nullable: true}, {Name: "name", Type: "string", Nullable: true}},
		}, noon)
		want := v1alpha1.DLIJobStatus{
			JobStatus: "FINISHED", Outcome: "Succeeded", JobType: "QUERY", QueueName: "default", Owner: "test", DatabaseName: "dbtest", TableName: "tbtest",
			StartTime:      &metav1.Time{Time: time.Date(2017, 10, 30, 3, 45, 8, 0, time.UTC)},
			CompletionTime: &metav1.Time{Time: time.Date(2017, 10, 30, 3, 45, 11, 0, time.UTC)},
			LastPollTime:   &metav1.Time{Time: noon}, DurationMilliseconds: ptr.To[int64](2523), Duration: "2.523s",
			InputBytes: ptr.To[int64](22), ResultCount: ptr.To[int64](4), Statement: "select * from t1", Message: `{"error_code":"DLI.0999"}`,
			Columns: []v1alpha1.Column{{Name: "id", Type: "int", Nullable: true}, {Name: "name", Type: "string", Nullable: true}},
		}
		if diff := cmp.Diff(want, job.Status, cmpopts.IgnoreFields(v1alpha1.DLIJobStatus{}, "Conditions")); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("keeps what a later answer leaves out", func(t *testing.T) {
		job := newJob(read(answering("RUNNING", func(a *dli.JobStatus) {
			a.ResultCount, a.Statement, a.Columns = ptr.To[int64](4), "select 1", []dli.Column{{Name: "a", Type: "int"}}
		})))
		before := job.Status.DeepCopy()
		record(job, &dli.JobStatus{Status: "RUNNING", State: dli.StateRunning}, noon)
		if diff := cmp.Diff(before, &job.Status); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("takes zero rows for zero rows", func(t *testing.T) {
		job := newJob(read(answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](4) })))
		record(job, answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](0) }), noon)
		if job.Status.ResultCount == nil || *job.Status.ResultCount != 0 {
			t.Errorf("resultCount is %v, want 0", job.Status.ResultCount)
		}
	})

	t.Run("keeps an outcome whatever DLI answers later", func(t *testing.T) {
		for _, later := range []string{"RUNNING", "FAILED", "LAUNCHING", "WHATEVER"} {
			job := newJob(read(answering("FINISHED", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](4) })))
			record(job, answering(later, func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](9) }), noon)
			if job.Status.Outcome != "Succeeded" || job.Status.JobStatus != "FINISHED" || *job.Status.ResultCount != 4 {
				t.Errorf("%s changed the outcome: %+v", later, job.Status)
			}
			synced := meta.FindStatusCondition(job.Status.Conditions, "Synced")
			if synced.Status != metav1.ConditionTrue || synced.Reason != "OutcomeContradicted" || !strings.Contains(synced.Message, later) {
				t.Errorf("Synced does not tell of %s: %+v", later, synced)
			}
		}
	})

	t.Run("refreshes the figures of a job that has ended", func(t *testing.T) {
		job := newJob(read(answering("FINISHED")))
		record(job, answering("FINISHED", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](9) }), noon)
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

	t.Run("observes the end where DLI gives no duration", func(t *testing.T) {
		job := newJob(read(answering("FAILED")))
		if !job.Status.CompletionTime.Time.Equal(noon) {
			t.Errorf("completionTime is %v, want %v", job.Status.CompletionTime, noon)
		}
	})

	t.Run("puts no time into the future when DLI's clock runs ahead", func(t *testing.T) {
		job := newJob(read(answering("FINISHED", func(a *dli.JobStatus) {
			a.StartTime, a.Duration = noon.Add(time.Minute), ptr.To(time.Hour)
		})))
		if job.Status.StartTime.After(noon) || job.Status.CompletionTime.After(noon) {
			t.Errorf("started %v, completed %v, now is %v", job.Status.StartTime, job.Status.CompletionTime, noon)
		}
	})

	t.Run("bounds every text, on a rune, without control characters", func(t *testing.T) {
		long := strings.Repeat("错误\x00\x1b[31m", 1<<20)
		job := newJob(read(answering("FAILED", func(a *dli.JobStatus) {
			a.Message, a.Statement, a.Owner, a.JobType, a.ResultPath = "DLI.0002: "+long, long, long, long, long
			a.Columns = make([]dli.Column, 1000)
			for i := range a.Columns {
				a.Columns[i] = dli.Column{Name: long, Type: long}
			}
		})))
		summarize(job, streak{}, noon, stallAfter)
		status := job.Status
		for text, limit := range map[string]int{
			status.Message: 4096, status.Error.Message: 4096, status.Statement: 4096, status.Owner: 256, status.JobType: 64, status.ResultPath: 1024,
			status.Columns[0].Name: 256, status.Columns[0].Type: 1024, status.Conditions[0].Message: 1024,
		} {
			if len(text) > limit || !utf8.ValidString(text) {
				t.Errorf("%d bytes, valid %v, want at most %d: %.40q", len(text), utf8.ValidString(text), limit, text)
			}
		}
		if strings.ContainsAny(status.Message+status.Owner, "\x00\x1b") {
			t.Error("control characters were kept")
		}
		if status.Error.Code != "DLI.0002" || !status.StatementTruncated || len(status.Columns) != 256 || status.ColumnsOmitted != 744 {
			t.Errorf("code %q, truncated %v, %d columns, %d omitted", status.Error.Code, status.StatementTruncated, len(status.Columns), status.ColumnsOmitted)
		}
	})
}

func TestRecordFailure(t *testing.T) {
	t.Run("keeps everything that was known", func(t *testing.T) {
		job := newJob(read(answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](4) })))
		before := job.Status.DeepCopy()
		recordFailure(job, &failure{Reason: "ServerError", Message: "HTTP 502"}, streak{Failures: 1}, noon, time.Minute)
		if diff := cmp.Diff(before, &job.Status, cmpopts.IgnoreFields(v1alpha1.DLIJobStatus{}, "Conditions")); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("does not let NotFound change an outcome", func(t *testing.T) {
		job := newJob(read(answering("FINISHED")))
		recordFailure(job, &failure{Reason: "JobNotFound"}, streak{NotFound: 9, NotFoundSince: noon.Add(-time.Hour)}, noon, time.Minute)
		summarize(job, streak{}, noon, stallAfter)
		if want := "Ready=True/JobFinished Succeeded=True/JobFinished Completed=True/JobFinished Synced=True/PollSucceeded"; row(job) != want {
			t.Errorf("\n got %s\nwant %s", row(job), want)
		}
	})

	t.Run("does not take a new request id for news", func(t *testing.T) {
		job := newJob()
		recordFailure(job, &failure{Reason: "ServerError", Message: "HTTP 502", RequestID: "r1"}, streak{}, noon, time.Minute)
		before := job.Status.DeepCopy()
		recordFailure(job, &failure{Reason: "ServerError", Message: "HTTP 502", RequestID: "r2"}, streak{}, noon, time.Minute)
		if diff := cmp.Diff(before, &job.Status); diff != "" {
			t.Error(diff)
		}
		if message := job.Status.Conditions[0].Message; message != "HTTP 502 (request r1)" {
			t.Errorf("message is %q", message)
		}
	})
}

func TestNotFoundIsBelievedAfterThreeAnswersOverTwoMinutes(t *testing.T) {
	gone := &failure{Reason: v1alpha1.ReasonJobNotFound}
	for name, test := range map[string]struct {
		answers []time.Duration
		between *failure
		want    bool
	}{
		"one answer":                            {answers: []time.Duration{0}},
		"three in a second":                     {answers: []time.Duration{0, 1, 2}},
		"two over an hour":                      {answers: []time.Duration{0, time.Hour}},
		"three over two minutes":                {answers: []time.Duration{0, time.Minute, 2 * time.Minute}, want: true},
		"three with another failure in between": {answers: []time.Duration{0, time.Minute, 2 * time.Minute}, between: &failure{Reason: "ServerError"}},
	} {
		t.Run(name, func(t *testing.T) {
			var run streak
			for _, at := range test.answers {
				run = run.after(gone, noon.Add(at))
				if test.between != nil {
					run = run.after(test.between, noon.Add(at))
				}
			}
			last := noon.Add(test.answers[len(test.answers)-1])
			if got := run.confirmedNotFound(last, 2*time.Minute); got != test.want {
				t.Errorf("believed: %v, want %v", got, test.want)
			}
		})
	}
}

func TestWorthWriting(t *testing.T) {
	const refresh = time.Minute
	running := func(changes ...func(*dli.JobStatus)) *v1alpha1.DLIJob {
		job := newJob(read(answering("RUNNING", append([]func(*dli.JobStatus){func(a *dli.JobStatus) { a.Duration = ptr.To(10 * time.Minute) }}, changes...)...)))
		summarize(job, streak{}, noon, stallAfter)
		return job
	}
	for name, test := range map[string]struct {
		answer *dli.JobStatus
		after  time.Duration
		want   bool
	}{
		"nothing changed":                                {answer: answering("RUNNING"), after: time.Hour},
		"the state changed":                              {answer: answering("FINISHED"), after: time.Second, want: true},
		"rows moved a second later":                      {answer: answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](1) }), after: time.Second},
		"rows moved a minute later":                      {answer: answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](1) }), after: time.Minute, want: true},
		"the duration grew by less than a quarter":       {answer: answering("RUNNING", func(a *dli.JobStatus) { a.Duration = ptr.To(12 * time.Minute) }), after: time.Hour},
		"the duration grew by a quarter or more":         {answer: answering("RUNNING", func(a *dli.JobStatus) { a.Duration = ptr.To(13 * time.Minute) }), after: 2 * time.Minute, want: true},
		"the duration grew by a quarter, a second later": {answer: answering("RUNNING", func(a *dli.JobStatus) { a.Duration = ptr.To(13 * time.Minute) }), after: time.Second},
		"the queue became known":                         {answer: answering("RUNNING", func(a *dli.JobStatus) { a.QueueName = "other" }), after: time.Second, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			stored, now := running(), noon.Add(test.after)
			current := stored.DeepCopy()
			record(current, test.answer, now)
			summarize(current, streak{}, now, stallAfter)
			if got := worthWriting(stored, current, now, refresh); got != test.want {
				t.Errorf("worth writing: %v, want %v\n%s", got, test.want, cmp.Diff(stored.Status, current.Status))
			}
		})
	}

	t.Run("a new generation is always written", func(t *testing.T) {
		stored := running()
		current := stored.DeepCopy()
		current.Generation++
		summarize(current, streak{}, noon, stallAfter)
		if !worthWriting(stored, current, noon, refresh) {
			t.Error("not written")
		}
	})
}

// A field that worthWriting does not know would never be written by itself.
func TestEveryFieldOfTheStatusIsWorthWriting(t *testing.T) {
	alone := map[string]bool{
		"LastPollTime":         false, // comes along with what is news
		"DurationMilliseconds": false, // duration says it of a job that has ended
	}
	kind := reflect.TypeFor[v1alpha1.DLIJobStatus]()
	for i := range kind.NumField() {
		name := kind.Field(i).Name
		t.Run(name, func(t *testing.T) {
			stored := newJob(read(answering("FAILED")))
			current := stored.DeepCopy()
			change(t, reflect.ValueOf(&current.Status).Elem().Field(i))
			want, exempt := alone[name]
			if got := worthWriting(stored, current, noon, time.Minute); got != (want || !exempt) {
				t.Errorf("worth writing: %v", got)
			}
		})
	}
}

// change gives a field another value.
func change(t *testing.T, field reflect.Value) {
	t.Helper()
	switch field.Kind() {
	case reflect.String:
		field.SetString(field.String() + "x")
	case reflect.Int32, reflect.Int64:
		field.SetInt(field.Int() + 1)
	case reflect.Bool:
		field.SetBool(!field.Bool())
	case reflect.Slice:
		field.Set(reflect.Append(field, reflect.Zero(field.Type().Elem())))
	case reflect.Pointer:
		if field.IsNil() {
			field.Set(reflect.New(field.Type().Elem()))
			return
		}
		field.SetZero()
	default:
		t.Fatalf("do not know how to change a %s", field.Kind())
	}
}

func TestHumanDuration(t *testing.T) {
	for milliseconds, want := range map[int64]string{
		0: "0s", 1: "1ms", 2523: "2.523s", 59_999: "59.999s", 60_000: "1m0s", 93_400: "1m33s", 3_600_000: "1h0m", 109_800_000: "30h30m",
	} {
		if got := humanDuration(time.Duration(milliseconds) * time.Millisecond); got != want {
			t.Errorf("%d ms reads %q, want %q", milliseconds, got, want)
		}
	}
	if got := humanDuration(math.MaxInt64); len(got) > 32 {
		t.Errorf("the longest duration reads %q, longer than the API allows", got)
	}
}

func TestDeadlineBeyondWhatTimeCanHoldIsNone(t *testing.T) {
	job := newJob(func(job *v1alpha1.DLIJob) { job.Spec.ActiveDeadlineSeconds = ptr.To[int64](math.MaxInt64) })
	if !deadline(job).Equal(farFuture) {
		t.Errorf("deadline is %v", deadline(job))
	}
}
