// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

const jobID = "208b08d4-0dc2-4dd7-8879-ddd4c020d7aa"

func TestJobFromLaunchToEnd(t *testing.T) {
	w := newWorld(t, dlitest.WithStartOnRequest())
	w.dli.SetJob(dlitest.Query(jobID).Launching(time.Second).Running(2 * time.Second).Finishes(4))
	seen := w.record()
	job := w.watch(jobID)
	w.start()

	done := w.awaitReason(job, "JobFinished")
	if done.Status.Outcome != "Succeeded" || done.Status.JobStatus != "FINISHED" || *done.Status.ResultCount != 4 || done.Status.QueueName == "" {
		t.Errorf("status is %+v", done.Status)
	}
	if !eventually(func() bool { states := seen.all(); return readyReason(states[len(states)-1]) == "JobFinished" }) {
		t.Fatal("the last watch event is missing")
	}

	var reasons []string
	for _, state := range seen.all() {
		reason := readyReason(state)
		reasons = append(reasons, reason)
		want := kstatus.InProgressStatus
		if reason == "JobFinished" {
			want = kstatus.CurrentStatus
		}
		if got := fluxStatus(t, state); got != want {
			t.Errorf("with %q kstatus is %s, want %s", reason, got, want)
		}
		if reconciling, stalled := hasCondition(state, "Reconciling"), hasCondition(state, "Stalled"); reconciling && stalled {
			t.Errorf("with %q both Reconciling and Stalled are present", reason)
		}
	}
	if want := []string{"", "JobLaunching", "JobRunning", "JobFinished"}; !cmp.Equal(slices.Compact(reasons), want) {
		t.Errorf("the watch returned %q, want %q", reasons, want)
	}
	if len(reasons) > 4 {
		t.Errorf("%d watch events for three changes: %q", len(reasons), reasons)
	}
}

func readyReason(object *unstructured.Unstructured) string {
	c := conditionOf(object, "Ready")
	reason, _ := c["reason"].(string)
	return reason
}

func hasCondition(object *unstructured.Unstructured, kind string) bool {
	return conditionOf(object, kind) != nil
}

func conditionOf(object *unstructured.Unstructured, kind string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, each := range conditions {
		if c, ok := each.(map[string]any); ok && c["type"] == kind {
			return c
		}
	}
	return nil
}

// Each case brings a DLIJob into a state of the documented table, with actions of users
// and DLI, and checks what the API server returns.
func TestEveryDocumentedState(t *testing.T) {
	running := func(w *world) { w.dli.SetJob(dlitest.Query(jobID).Running(time.Hour)) }
	answering := func(response *dlitest.Response) func(*world) {
		return func(w *world) { running(w); w.dli.SetResponse(jobID, response) }
	}
	patient := func(w *world) { w.options.Schedule.StallAfter = time.Hour }
	with := func(changes ...func(*world)) func(*world) {
		return func(w *world) {
			for _, change := range changes {
				change(w)
			}
		}
	}
	spark := func(spec *v1alpha1.DLIJobSpec) { spec.Type = v1alpha1.JobTypeSpark }
	noSecret := func(w *world) {
		if err := w.Delete(w.Context(), w.secret("credentials", dlitest.User{})); err != nil {
			w.Fatal(err)
		}
	}
	emptySecret := func(w *world) {
		noSecret(w)
		w.create(w.secret("credentials", dlitest.User{}))
	}
	otherRef := func(namespace string) func(*v1alpha1.DLIJobSpec) {
		return func(spec *v1alpha1.DLIJobSpec) {
			spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: "other", Namespace: namespace}
		}
	}
	blockedRow := func(reason string) string {
		return fmt.Sprintf("Ready=False/%[1]s Succeeded=Unknown/%[1]s Completed=False/%[1]s Synced=False/%[1]s Stalled=True/%[1]s", reason)
	}
	waitingRow := func(reason string) string {
		return fmt.Sprintf("Ready=Unknown/%[1]s Succeeded=Unknown/%[1]s Completed=False/%[1]s Synced=False/%[1]s Reconciling=True/%[1]s", reason)
	}
	activeRow := func(reason string) string {
		return fmt.Sprintf("Ready=Unknown/%[1]s Succeeded=Unknown/%[1]s Completed=False/%[1]s Synced=True/PollSucceeded Reconciling=True/%[1]s", reason)
	}
	endedRow := func(reason, synced string) string {
		return fmt.Sprintf("Ready=False/%[1]s Succeeded=False/%[1]s Completed=True/%[1]s Synced=True/%[2]s Stalled=True/%[1]s", reason, synced)
	}

	for name, test := range map[string]struct {
		given func(*world)
		spec  func(*v1alpha1.DLIJobSpec)
		then  func(*world, *v1alpha1.DLIJob)
		want  string
		flux  kstatus.Status
		says  string
	}{
		"pending": {
			given: func(w *world) {
				w.dli.SetResponse("other", &dlitest.Response{Hang: true})
				w.watch("other")
			},
			spec: func(spec *v1alpha1.DLIJobSpec) { spec.Suspend = true },
			then: func(w *world, job *v1alpha1.DLIJob) {
				// While one request tries new credentials, the others wait.
				w.awaitRequests("other", 1)
				update(w, job, func(job *v1alpha1.DLIJob) { job.Spec.Suspend = false })
			},
			want: "Ready=Unknown/Pending Succeeded=Unknown/Pending Completed=False/Pending Synced=Unknown/Pending Reconciling=True/Pending",
			flux: kstatus.InProgressStatus, says: "waiting for the first poll",
		},
		"launching": {
			given: func(w *world) { w.dli.SetJob(dlitest.Query(jobID).Launching(time.Hour)) },
			want:  activeRow("JobLaunching"), flux: kstatus.InProgressStatus, says: "is being launched",
		},
		"running": {given: running, want: activeRow("JobRunning"), flux: kstatus.InProgressStatus, says: "is running"},
		"scaling": {
			given: func(w *world) { w.dli.SetJob(dlitest.Query(jobID).Being("SCALING", time.Hour)) },
			want:  activeRow("JobScaling"), flux: kstatus.InProgressStatus,
		},
		"a Spark job that is recovering": {
			given: func(w *world) { w.dli.SetJob(dlitest.Batch(jobID).Being("RECOVERING", time.Hour)) }, spec: spark,
			want: activeRow("JobRecovering"), flux: kstatus.InProgressStatus, says: "restarted",
		},
		"a Spark job that succeeded": {
			given: func(w *world) { w.dli.SetJob(dlitest.Batch(jobID).Finishes(0)) }, spec: spark,
			want: "Ready=True/JobFinished Succeeded=True/JobFinished Completed=True/JobFinished Synced=True/PollSucceeded",
			flux: kstatus.CurrentStatus, says: "finished",
		},
		"a Spark job that is dead": {
			given: func(w *world) { w.dli.SetJob(dlitest.Batch(jobID).Fails("at Main.main\nDLI.0002: no such file")) }, spec: spark,
			want: endedRow("JobFailed", "PollSucceeded"), flux: kstatus.FailedStatus, says: "no such file",
		},
		"a SQL job that is said to be a Spark job": {
			given: running, spec: spark,
			want: endedRow("JobNotFound", "JobNotFound"), flux: kstatus.FailedStatus, says: "spec.type",
		},
		"a Spark job that is said to be a SQL job": {
			given: func(w *world) { w.dli.SetJob(dlitest.Batch(jobID).Running(time.Hour)) },
			want:  endedRow("JobNotFound", "JobNotFound"), flux: kstatus.FailedStatus, says: "spec.type",
		},
		"unrecognized": {
			given: func(w *world) { w.dli.SetJob(dlitest.Query(jobID).Being("SUSPENDED", time.Hour)) },
			want:  activeRow("JobStatusUnrecognized"), flux: kstatus.InProgressStatus, says: `"SUSPENDED"`,
		},
		"finished": {
			given: func(w *world) { w.dli.SetJob(dlitest.Query(jobID).Finishes(4)) },
			want:  "Ready=True/JobFinished Succeeded=True/JobFinished Completed=True/JobFinished Synced=True/PollSucceeded",
			flux:  kstatus.CurrentStatus, says: "4 rows",
		},
		"failed": {
			given: func(w *world) { w.dli.SetJob(dlitest.Query(jobID).Fails("DLI.0005: no such table")) },
			want:  endedRow("JobFailed", "PollSucceeded"), flux: kstatus.FailedStatus, says: "no such table",
		},
		"cancelled": {
			given: func(w *world) { w.dli.SetJob(dlitest.Query(jobID).Cancelled("Execution Timeout")) },
			want:  endedRow("JobCancelled", "PollSucceeded"), flux: kstatus.FailedStatus, says: "Execution Timeout",
		},
		"not found, unconfirmed": {
			given: func(w *world) { w.options.Schedule.NotFoundAfter = time.Hour },
			want:  waitingRow("JobNotFound"), flux: kstatus.InProgressStatus, says: "spec.jobID",
		},
		"not found, confirmed": {given: func(*world) {}, want: endedRow("JobNotFound", "JobNotFound"), flux: kstatus.FailedStatus, says: "spec.jobID"},
		"credentials rejected, within the grace": {
			given: with(patient, running, func(w *world) { w.dli.SetUsers() }),
			want:  waitingRow("CredentialsRejected"), flux: kstatus.InProgressStatus, says: "Secret",
		},
		"credentials rejected": {
			given: with(running, func(w *world) { w.dli.SetUsers() }),
			want:  blockedRow("CredentialsRejected"), flux: kstatus.FailedStatus, says: "Secret",
		},
		"permission denied": {
			given: answering(dlitest.DLIError(http.StatusForbidden, "DLI.0003", "no permission")),
			want:  blockedRow("PermissionDenied"), flux: kstatus.FailedStatus, says: "dli:jobs:get",
		},
		"secret not found": {given: noSecret, want: blockedRow("SecretNotFound"), flux: kstatus.FailedStatus, says: "accessKeyID"},
		"secret invalid":   {given: emptySecret, want: blockedRow("SecretInvalid"), flux: kstatus.FailedStatus, says: "secretAccessKey"},
		"connection not found": {
			given: func(*world) {}, spec: otherRef(""),
			want: blockedRow("ConnectionNotFound"), flux: kstatus.FailedStatus, says: "spec.connectionRef",
		},
		"connection not allowed": {
			given: func(w *world) { w.namespaces = append(w.namespaces, "elsewhere") }, spec: otherRef("elsewhere"),
			want: blockedRow("ConnectionNotAllowed"), flux: kstatus.FailedStatus, says: "allow",
		},
		"endpoint misconfigured": {
			given: func(w *world) {
				w.dli.SetFault(&dlitest.Response{Status: http.StatusFound, Header: http.Header{"Location": {"/login"}}})
			},
			want: blockedRow("EndpointMisconfigured"), flux: kstatus.FailedStatus, says: "endpoint",
		},
		"request rejected": {
			given: answering(dlitest.DLIError(http.StatusBadRequest, "DLI.0001", "parameter check failed")),
			want:  blockedRow("RequestRejected"), flux: kstatus.FailedStatus, says: "spec.jobID",
		},
		"unreachable": {
			given: func(w *world) { w.dli.SetFault(&dlitest.Response{Reset: true}) },
			want:  waitingRow("EndpointUnreachable"), flux: kstatus.InProgressStatus,
		},
		"server error": {
			given: answering(&dlitest.Response{Status: http.StatusBadGateway, Body: "<html>"}),
			want:  waitingRow("ServerError"), flux: kstatus.InProgressStatus,
		},
		"rate limited": {
			given: answering(dlitest.GatewayError(http.StatusTooManyRequests, "APIGW.0308", "The throttling threshold has been reached: policy user over ratelimit,limit:60,time:1 minute", "r1")),
			want:  waitingRow("RateLimited"), flux: kstatus.InProgressStatus, says: "rateLimit",
		},
		"invalid response": {
			given: answering(&dlitest.Response{Status: http.StatusOK, Body: "<html>login</html>"}),
			want:  waitingRow("InvalidResponse"), flux: kstatus.InProgressStatus,
		},
		"deadline passed": {
			given: running, spec: func(spec *v1alpha1.DLIJobSpec) { spec.ActiveDeadlineSeconds = ptr.To[int64](1) },
			want: "Ready=False/DeadlineExceeded Succeeded=Unknown/DeadlineExceeded Completed=False/DeadlineExceeded Synced=True/PollSucceeded Stalled=True/DeadlineExceeded",
			flux: kstatus.FailedStatus, says: "activeDeadlineSeconds",
		},
		"suspended": {
			given: running, spec: func(spec *v1alpha1.DLIJobSpec) { spec.Suspend = true },
			want: "Ready=Unknown/Suspended Succeeded=Unknown/Suspended Completed=False/Suspended Synced=Unknown/Suspended",
			flux: kstatus.InProgressStatus, says: "spec.suspend",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.given(w)
			job := w.watch(jobID, func(spec *v1alpha1.DLIJobSpec) {
				if test.spec != nil {
					test.spec(spec)
				}
			})
			if got := w.flux(client.ObjectKeyFromObject(job)); got != kstatus.InProgressStatus {
				t.Errorf("kstatus is %s before the first reconcile, want InProgress", got)
			}
			w.start()
			if test.then != nil {
				test.then(w, job)
			}
			w.await(job, test.want, func(job *v1alpha1.DLIJob) bool { return row(job) == test.want })
			if got := w.flux(client.ObjectKeyFromObject(job)); got != test.flux {
				t.Errorf("kstatus is %s, want %s", got, test.flux)
			}
			job = w.reload(job)
			if job.Status.ObservedGeneration != job.Generation {
				t.Errorf("observedGeneration is %d, generation %d", job.Status.ObservedGeneration, job.Generation)
			}
			for _, c := range job.Status.Conditions {
				if c.Type == "Ready" && !strings.Contains(c.Message, test.says) {
					t.Errorf("the message does not say %q: %s", test.says, c.Message)
				}
			}
		})
	}
}

func TestDocumentedSample(t *testing.T) {
	w := newWorld(t)
	w.dli.SetResponse(jobID, &dlitest.Response{Status: http.StatusOK, Body: testenv.Read(t, "../internal/dli/testdata/status-sample.zh-CN.txt")})
	job := w.start().awaitReason(w.watch(jobID), "JobFinished")

	want := v1alpha1.DLIJobStatus{
		ObservedGeneration: 1, JobStatus: "FINISHED", Outcome: "Succeeded", Phase: "Succeeded", JobType: "QUERY", QueueName: "default", Owner: "test",
		DatabaseName: "dbtest", TableName: "tbtest", DurationMilliseconds: ptr.To[int64](2523), Duration: "2.523s",
		ResultCount: ptr.To[int64](4), InputBytes: ptr.To[int64](22), Statement: "select * from t1", Message: `{"error_code":"DLI.0999"}`,
		Columns: []v1alpha1.Column{{Name: "id", Type: "int", Nullable: true}, {Name: "name", Type: "string", Nullable: true}},
	}
	ignored := cmpopts.IgnoreFields(v1alpha1.DLIJobStatus{}, "Conditions", "LastPollTime", "StartTime", "CompletionTime")
	if diff := cmp.Diff(want, job.Status, ignored); diff != "" {
		t.Error(diff)
	}
	if got := job.Status.CompletionTime.UTC().Format(time.RFC3339); got != "2017-10-30T03:45:11Z" {
		t.Errorf("completionTime is %s", got)
	}
}

func TestSparkJob(t *testing.T) {
	w := newWorld(t)
	batch := dlitest.Batch(jobID).Running(time.Second).Fails("at Main.main\nDLI.0002: no such file")
	batch.Image = "swr/team/spark:3"
	w.dli.SetJob(batch)
	job := w.start().awaitReason(w.watch(jobID, func(spec *v1alpha1.DLIJobSpec) { spec.Type = v1alpha1.JobTypeSpark }), "JobFailed")

	want := v1alpha1.DLIJobStatus{
		ObservedGeneration: 1, JobStatus: "dead", Outcome: "Failed", Phase: "Failed", JobType: "SPARK", JobName: "nightly",
		ApplicationID: "batch-session-" + jobID + ":30663", Image: "swr/team/spark:3", QueueName: "spark1", Owner: "test",
		DurationMilliseconds: ptr.To[int64](1000), Duration: "1s", Message: "at Main.main\nDLI.0002: no such file",
		Error: &v1alpha1.JobError{Code: "DLI.0002", Message: "at Main.main\nDLI.0002: no such file"},
	}
	ignored := cmpopts.IgnoreFields(v1alpha1.DLIJobStatus{}, "Conditions", "LastPollTime", "StartTime", "CompletionTime")
	if diff := cmp.Diff(want, job.Status, ignored); diff != "" {
		t.Error(diff)
	}
	if start, end := job.Status.StartTime, job.Status.CompletionTime; start == nil || end == nil || end.Sub(start.Time) != time.Second {
		t.Errorf("the job ran from %v to %v, want a second", start, end)
	}
}

func TestUnchangedStatusIsNotWritten(t *testing.T) {
	w := newWorld(t)
	w.dli.SetJob(dlitest.Query(jobID).Running(time.Hour))
	seen := w.record()
	job := w.watch(jobID)
	w.start().awaitRequests(jobID, 21)

	w.awaitReason(job, "JobRunning")
	if events := len(seen.all()); events > 2 {
		t.Errorf("%d watch events, want the creation and one write", events)
	}
}

func TestCompletedJob(t *testing.T) {
	w := newWorld(t)
	w.dli.SetJob(dlitest.Query(jobID).Finishes(4))
	job := w.watch(jobID)
	w.start().awaitReason(job, "JobFinished")
	asked := w.dli.Requests(jobID)
	w.stop()

	w.start()
	// A second job, created after the restart, shows that the operator is working.
	w.dli.SetJob(dlitest.Query("second").Running(time.Hour))
	w.watch("second")
	w.awaitRequests("second", 5)
	if again := w.dli.Requests(jobID) - asked; again != 0 || asked != 1 {
		t.Errorf("polled %d times before and %d times after the restart, want 1 and 0", asked, again)
	}

	t.Run("a change of its spec is observed without a poll", func(t *testing.T) {
		update(w, job, func(job *v1alpha1.DLIJob) { job.Spec.ActiveDeadlineSeconds = ptr.To[int64](5) })
		w.await(job, "observed", func(job *v1alpha1.DLIJob) bool { return job.Status.ObservedGeneration == job.Generation })
		if n := w.dli.Requests(jobID); n != asked {
			t.Errorf("polled %d more times", n-asked)
		}
	})

	t.Run("the annotation requests one poll", func(t *testing.T) {
		w.dli.SetJob(dlitest.Query(jobID).Finishes(9))
		requestPoll(w, job, "1")
		w.await(job, "refreshed", func(job *v1alpha1.DLIJob) bool { return *job.Status.ResultCount == 9 })
		w.dli.SetJob(dlitest.Query(jobID).Running(time.Hour))
		requestPoll(w, job, "2")
		contradicted := w.await(job, "contradicted", func(job *v1alpha1.DLIJob) bool { return job.Status.LastHandledPollRequest == "2" })
		if contradicted.Status.Outcome != "Succeeded" || reasonOf(contradicted) != "JobFinished" {
			t.Errorf("the outcome changed: %s", row(contradicted))
		}
		if n := w.dli.Requests(jobID) - asked; n != 2 {
			t.Errorf("two requests caused %d polls", n)
		}
	})
}

func requestPoll(w *world, job *v1alpha1.DLIJob, value string) {
	w.Helper()
	update(w, job, func(job *v1alpha1.DLIJob) {
		job.Annotations = map[string]string{v1alpha1.PollRequestedAtAnnotation: value}
	})
}

func TestNotFoundIsLifted(t *testing.T) {
	w := newWorld(t)
	job := w.watch(jobID)
	w.start().await(job, "not found", func(job *v1alpha1.DLIJob) bool { return job.Status.Outcome == "NotFound" })
	w.dli.SetJob(dlitest.Query(jobID).Finishes(4))
	requestPoll(w, job, "now")
	w.awaitReason(job, "JobFinished")
}

func TestFailedPolls(t *testing.T) {
	w := newWorld(t)
	w.options.Schedule.StatusRefreshInterval = time.Second // each of so many changes is delivered
	w.dli.SetJob(dlitest.Insert(jobID).Running(time.Hour))
	job := w.watch(jobID)
	known := w.start().awaitReason(job, "JobRunning")
	for _, fault := range []struct {
		reason   string
		response *dlitest.Response
	}{
		{"ServerError", &dlitest.Response{Status: http.StatusInternalServerError}},
		{"InvalidResponse", &dlitest.Response{Status: http.StatusOK, Body: `{"job_id":"another","status":"FINISHED"}`}},
		{"EndpointUnreachable", &dlitest.Response{Cut: true, Body: "{", Status: http.StatusOK}},
	} {
		w.dli.SetResponse(jobID, fault.response)
		failed := w.awaitReason(job, fault.reason)
		if diff := cmp.Diff(known.Status, failed.Status, cmpopts.IgnoreFields(v1alpha1.DLIJobStatus{}, "Conditions", "LastPollTime", "Duration", "DurationMilliseconds", "InputBytes", "InputRowCount")); diff != "" {
			t.Errorf("%s changed the status: %s", fault.reason, diff)
		}
		w.dli.SetResponse(jobID, nil)
		w.awaitReason(job, "JobRunning")
	}
}

func TestDeadlineExceeded(t *testing.T) {
	w := newWorld(t, dlitest.WithStartOnRequest())
	w.dli.SetJob(dlitest.Query(jobID).Running(4 * time.Second).Finishes(4))
	job := w.watch(jobID, func(spec *v1alpha1.DLIJobSpec) { spec.ActiveDeadlineSeconds = ptr.To[int64](1) })
	w.start().awaitReason(job, "DeadlineExceeded")
	w.awaitReason(job, "JobFinished")
}

func TestSuspendAndResume(t *testing.T) {
	w := newWorld(t)
	w.dli.SetJob(dlitest.Query(jobID).Running(time.Hour))
	job := w.watch(jobID)
	w.start().awaitReason(job, "JobRunning")
	update(w, job, func(job *v1alpha1.DLIJob) { job.Spec.Suspend = true })
	suspended := w.awaitReason(job, "Suspended")
	if suspended.Status.JobStatus != "RUNNING" {
		t.Errorf("suspending lost the status: %+v", suspended.Status)
	}
	asked := w.dli.Requests(jobID)
	w.dli.SetJob(dlitest.Query("second").Running(time.Hour))
	w.watch("second")
	w.awaitRequests("second", 10)
	if n := w.dli.Requests(jobID); n > asked+1 { // one may have been in flight
		t.Errorf("polled %d times while suspended", n-asked)
	}
	update(w, job, func(job *v1alpha1.DLIJob) { job.Spec.Suspend = false })
	w.awaitReason(job, "JobRunning")
}

func TestTTLDeletesCompletedJobs(t *testing.T) {
	w := newWorld(t, dlitest.WithStartOnRequest())
	w.dli.SetJob(dlitest.Query(jobID).Running(time.Second).Finishes(4))
	job := w.watch(jobID, func(spec *v1alpha1.DLIJobSpec) { spec.TTLSecondsAfterFinished = ptr.To[int32](1) })
	w.start()
	if !eventually(func() bool {
		return apierrors.IsNotFound(w.Get(w.Context(), client.ObjectKeyFromObject(job), &v1alpha1.DLIJob{}))
	}) {
		t.Error("the DLIJob still exists")
	}
}

func TestEvents(t *testing.T) {
	w := newWorld(t, dlitest.WithStartOnRequest())
	w.dli.SetJob(dlitest.Query(jobID).Launching(time.Second).Running(2 * time.Second).Fails("DLI.0005: " + strings.Repeat("错误", 1000)))
	job := w.watch(jobID)
	w.start().awaitReason(job, "JobFailed")

	want := []string{"Normal JobLaunching", "Normal JobRunning", "Warning JobFailed"}
	var got []string
	if !eventually(func() bool { got = w.events(); return len(got) >= len(want) }) || !cmp.Equal(got, want) {
		t.Errorf("events are %q, want %q", got, want)
	}
}

func TestValidation(t *testing.T) {
	w := newBareWorld(t)
	for name, test := range map[string]struct {
		object client.Object
		says   string
	}{
		"a jobID with a slash":              {&v1alpha1.DLIJob{Spec: v1alpha1.DLIJobSpec{JobID: "a/b"}}, "spec.jobID"},
		"no jobID":                          {&v1alpha1.DLIJob{}, "spec.jobID"},
		"a jobID that is too long":          {&v1alpha1.DLIJob{Spec: v1alpha1.DLIJobSpec{JobID: strings.Repeat("a", 65)}}, "spec.jobID"},
		"a poll interval of zero":           {&v1alpha1.DLIJob{Spec: v1alpha1.DLIJobSpec{JobID: "a", PollIntervalSeconds: ptr.To[int32](0)}}, "pollIntervalSeconds"},
		"neither region nor endpoint":       {w.connection("a", "s", func(s *v1alpha1.DLIConnectionSpec) { s.Endpoint = "" }), "exactly one of region and endpoint"},
		"both region and endpoint":          {w.connection("a", "s", func(s *v1alpha1.DLIConnectionSpec) { s.Region = "cn-north-4" }), "exactly one of region and endpoint"},
		"an endpoint that is not a URL":     {w.connection("a", "s", func(s *v1alpha1.DLIConnectionSpec) { s.Endpoint = "dli.example.com" }), "endpoint must be a URL such as https://"},
		"an invalid project":                {w.connection("a", "s", func(s *v1alpha1.DLIConnectionSpec) { s.ProjectID = "a-b" }), "projectID"},
		"two kinds of credentials":          {w.connection("a", "s", func(s *v1alpha1.DLIConnectionSpec) { s.Credentials.PodIdentity = &v1alpha1.PodIdentity{} }), "exactly one of secretRef and podIdentity"},
		"From: Selector without a selector": {w.connection("a", "s", func(s *v1alpha1.DLIConnectionSpec) { s.AllowedNamespaces.From = "Selector" }), "selector"},
	} {
		t.Run(name, func(t *testing.T) {
			test.object.SetNamespace(w.namespace)
			test.object.SetName("refused")
			err := w.Create(t.Context(), test.object)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %v, want one that says %q", err, test.says)
			}
		})
	}

	t.Run("another jobID", func(t *testing.T) {
		job := w.watch(jobID)
		job.Spec.JobID = "another"
		err := w.Update(t.Context(), job)
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "create another DLIJob") {
			t.Errorf("error is %v", err)
		}
	})
}
