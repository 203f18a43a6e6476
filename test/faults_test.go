// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// A requested poll is made only once, even if its result cannot be written.
func TestAPollRequestWhileWritesFail(t *testing.T) {
	t.Parallel()
	w := world.New(t, controlPlane)
	proxy := w.BehindProxy()
	w.Runs("job")
	job := w.WatchJob("job", every(3600))
	w.Start()
	w.AwaitReason(job, v1alpha1.ReasonJobRunning)
	asked := w.DLI.Requests("job")
	proxy.Refuse(http.StatusInternalServerError, "dlijobs/status")
	world.Change(w, job, pollNow)
	w.AwaitRequests("job", asked+1)
	refused := func(write testenv.Write) bool { return write.Status == http.StatusInternalServerError }
	if !testenv.Within(world.Patience, func() bool { return proxy.Count(refused) >= 3 }) {
		t.Errorf("only %d writes were attempted while they fail", proxy.Count(refused))
	}
	if n := w.DLI.Requests("job") - asked; n != 1 {
		t.Errorf("one poll-requested-at caused %d polls while %d writes failed", n, proxy.Count(refused))
	}
	proxy.Refuse(0, "dlijobs/status")
	w.Await(job, world.Patience, "written", func(job *v1alpha1.DLIJob) bool {
		return job.Status.LastHandledPollRequest == job.Annotations[v1alpha1.PollRequestedAtAnnotation]
	})
	if n := w.DLI.Requests("job") - asked; n != 1 {
		t.Errorf("one poll-requested-at caused %d polls in total", n)
	}
}

// There is no Event about the end of a job whose DLIJob was deleted.
func TestADeletedJobHasNoEvents(t *testing.T) {
	t.Parallel()
	w := world.New(t, controlPlane)
	w.Runs("deleted")
	job := w.WatchJob("deleted", every(2))
	w.Start()
	w.AwaitReason(job, v1alpha1.ReasonJobRunning)
	slow := &dlitest.Response{Delay: 3 * time.Second, Body: `{"is_success":true,"message":"","job_id":"deleted",` +
		`"job_type":"QUERY","status":"FINISHED","start_time":1509335108918,"duration":2523,"result_count":4}`}
	asked := w.DLI.Requests("deleted")
	w.DLI.SetResponse("deleted", slow)
	w.AwaitRequests("deleted", asked+1)
	if err := w.Delete(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if !testenv.Within(world.Patience, func() bool {
		return apierrors.IsNotFound(w.Get(t.Context(), client.ObjectKeyFromObject(job), &v1alpha1.DLIJob{})) &&
			w.DLI.Stats().InFlight == 0
	}) {
		t.Fatal("the job was not polled, or the DLIJob still exists")
	}
	// Events are sent in order, so those of the first DLIJob would arrive before those
	// of the second.
	w.Finishes("witness")
	w.AwaitReason(w.WatchJob("witness"), v1alpha1.ReasonJobFinished)
	if !testenv.Within(world.Patience, func() bool { return slices.Contains(w.Events("witness"), "Normal JobFinished") }) {
		t.Fatal("the second DLIJob has no Event")
	}
	if told := w.Events("deleted"); slices.Contains(told, "Normal JobFinished") {
		t.Errorf("the deleted DLIJob has Events: %q", told)
	}
}

// Progress is shown only where it is requested, and removed when the job ends.
func TestProgress(t *testing.T) {
	t.Parallel()
	w := world.New(t, controlPlane)
	shown := func(job *v1alpha1.DLIJob) { job.Spec.ReportProgress = new(true) }
	w.DLI.SetJob(dlitest.Query("shown").Running(time.Hour).Finishes(4))
	w.DLI.SetJob(dlitest.Query("hidden").Running(time.Hour))
	job, hidden := w.WatchJob("shown", shown, every(1)), w.WatchJob("hidden", every(1))
	w.Start()
	job = w.Await(job, world.Patience, "measured", func(job *v1alpha1.DLIJob) bool { return job.Status.Progress != nil })
	if percent := *job.Status.Progress; percent < 0 || percent > 10 {
		t.Errorf("%d %% of an hour", percent)
	}
	if hidden = w.AwaitReason(hidden, v1alpha1.ReasonJobRunning); hidden.Status.Progress != nil {
		t.Errorf("%d %% for a job without reportProgress", *hidden.Status.Progress)
	}
	if n := w.DLI.Stats().ByCall[dlitest.CallProgress]; n != 1 {
		t.Errorf("the progress of one job was requested %d times", n)
	}
	w.Finishes("shown")
	job = w.AwaitReason(job, v1alpha1.ReasonJobFinished)
	if job.Status.Progress != nil {
		t.Errorf("%d %% for a job that has ended", *job.Status.Progress)
	}
}

// The cost of a job that has ended is written after its outcome, once and without an Event.
// Where lists are refused, the outcome is all there is.
func TestCost(t *testing.T) {
	t.Parallel()
	w := world.New(t, controlPlane)
	proxy := w.BehindProxy()
	writes := func() int {
		return proxy.Count(func(write testenv.Write) bool { return write.Resource == "dlijobs/status" })
	}
	refused := dlitest.SampleUser()
	refused.AccessKeyID, refused.Denied = "AKREFUSED", []string{"dli:jobs:list"}
	w.DLI.SetUsers(dlitest.SampleUser(), refused)
	w.MustCreate(w.Secret("refused", refused))
	reports := w.Connection("reports")
	w.MustCreate(reports)
	w.MustCreate(w.Connection("refused", func(spec *v1alpha1.DLIConnectionSpec) {
		spec.Credentials.SecretRef.Name, spec.ReportCost = "refused", true
	}))
	watch := func(name, connection string) *v1alpha1.DLIJob {
		job := dlitest.Query(name).Finishes(4)
		job.CPUCost, job.OutputBytes = 15376, 35
		w.DLI.SetJob(job)
		return w.WatchJob(name, func(job *v1alpha1.DLIJob) { job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: connection} })
	}
	// Lists begin with another job than the one that is asked for.
	unpriced, priced, denied := watch("unpriced", "default"), watch("priced", "reports"), watch("denied", "refused")
	w.Start()
	for _, job := range []*v1alpha1.DLIJob{priced, unpriced, denied} {
		if job = w.AwaitReason(job, v1alpha1.ReasonJobFinished); job.Status.Cost != nil {
			t.Errorf("%s has the cost %+v", job.Name, job.Status.Cost)
		}
	}
	if !testenv.Within(world.Patience, func() bool { return w.DLI.Stats().ByCall[dlitest.CallList] > 0 }) {
		t.Fatal("the cost was not requested where lists are refused")
	}
	before := writes()
	world.Change(w, reports, func(connection *v1alpha1.DLIConnection) { connection.Spec.ReportCost = true })
	priced = w.Await(priced, world.Patience, "priced", func(job *v1alpha1.DLIJob) bool { return job.Status.Cost != nil })
	if cost := priced.Status.Cost; *cost.CPUCost != 15376 || *cost.OutputBytes != 35 || cost.EndTime == nil || cost.EndTime.Before(priced.Status.StartTime) {
		t.Errorf("the cost is %+v", cost)
	}
	if n := writes() - before; n != 1 || priced.Status.Outcome != v1alpha1.OutcomeSucceeded {
		t.Errorf("the cost took %d writes, and the outcome is %s", n, priced.Status.Outcome)
	}
	if n := w.DLI.Stats().Authenticated[dlitest.SampleUser().AccessKeyID]; n != 3 {
		t.Errorf("%d requests for the status of two jobs and the cost of one", n)
	}
	if !testenv.Within(world.Patience, func() bool { return slices.Equal(w.Events("priced"), []string{"Normal JobFinished"}) }) {
		t.Errorf("the Events are %q", w.Events("priced"))
	}
	if ready := w.ConnectionReady("refused"); ready.Reason != v1alpha1.ReasonConnected {
		t.Errorf("the connection whose lists are refused is %s/%s", ready.Status, ready.Reason)
	}
}

// A clock that is too far off for signatures is not reported as wrong credentials, and
// the times in the message do not cause repeated writes.
func TestAWrongClock(t *testing.T) {
	t.Parallel()
	var drift atomic.Int64
	now := func() time.Time { return time.Now().Add(20*time.Minute + time.Duration(drift.Load())*time.Second) }
	w := world.New(t, controlPlane, dlitest.WithClock(now))
	w.Options.Controllers.Connections.ProbeInterval = 2 * time.Second
	// The response contains the current time, so each one differs.
	gateway := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		drift.Add(2)
		answer.Header().Set("Date", now().UTC().Format(http.TimeFormat))
		w.DLI.ServeHTTP(answer, r)
	}))
	t.Cleanup(gateway.Close)
	w.MustCreate(w.Connection("clocked", func(spec *v1alpha1.DLIConnectionSpec) { spec.Endpoint = gateway.URL }))
	w.Runs("job")
	w.Start()
	job := w.WatchJob("job", of("clocked"))
	clock, amount := regexp.MustCompile(`(?i)clock`), regexp.MustCompile(`\b(20|21) ?m`)
	told := w.Await(job, world.Patience, "failed because of the clock", func(job *v1alpha1.DLIJob) bool {
		message := world.Condition(job.Status.Conditions, v1alpha1.SyncedCondition).Message
		return clock.MatchString(message) && amount.MatchString(message)
	})
	synced := world.Condition(told.Status.Conditions, v1alpha1.SyncedCondition)
	if matched := regexp.MustCompile(`(?i)put valid`).MatchString(synced.Message); matched {
		t.Errorf("it is reported as wrong credentials: %s", synced.Message)
	}
	if !testenv.Within(world.Patience, func() bool {
		message := w.ConnectionReady("clocked").Message
		return clock.MatchString(message) && amount.MatchString(message)
	}) {
		t.Errorf("the DLIConnection does not report it: %+v", w.ConnectionReady("clocked"))
	}
	written, before := w.Reload(job).ResourceVersion, w.ConnectionReady("clocked")
	w.AwaitRequests("job", w.DLI.Requests("job")+2)
	if w.Reload(job).ResourceVersion != written {
		t.Errorf("the DLIJob was written again: %s", world.Summary(w.Reload(job)))
	}
	if after := w.ConnectionReady("clocked"); after != before {
		t.Errorf("the DLIConnection changed to %+v\nfrom %+v", after, before)
	}
}

// every sets the poll interval of a DLIJob.
func every(seconds int32) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) { job.Spec.PollIntervalSeconds = &seconds }
}

// of sets the connection of a DLIJob.
func of(connection string) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) {
		job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: connection}
	}
}

// pollNow requests a poll.
func pollNow(job *v1alpha1.DLIJob) {
	metav1.SetMetaDataAnnotation(&job.ObjectMeta, v1alpha1.PollRequestedAtAnnotation, time.Now().Format(time.RFC3339Nano))
}
