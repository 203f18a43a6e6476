// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// A write whose response is lost was not done by another hand: nothing is undone.
func TestLostResponses(t *testing.T) {
	w := newWorld(t)
	w.Options.Controllers.Schedule.StatusRefreshInterval = 100 * time.Millisecond
	proxy := w.BehindProxy()
	proxy.LoseResponses(true, "dlijobs/status")
	seen := recordJobs(w)
	var jobs []*v1alpha1.DLIJob
	for i := range 5 {
		id := fmt.Sprint("job-", i)
		w.DLI.SetJob(dlitest.Query(id).Launching(time.Second).Running(4 * time.Second).Finishes(4))
		jobs = append(jobs, w.WatchJob(id))
	}
	w.Start()
	for _, job := range jobs {
		w.AwaitReason(job, "JobFinished")
	}
	proxy.LoseResponses(false, "dlijobs/status")

	last := map[string]*v1alpha1.DLIJob{}
	for _, version := range seen.all() {
		before := last[version.Name]
		last[version.Name] = version
		switch {
		case before == nil:
		case before.Status.Outcome != "" && version.Status.Outcome != before.Status.Outcome:
			t.Errorf("%s: the outcome went from %s to %q", version.Name, before.Status.Outcome, version.Status.Outcome)
		case before.Status.DurationMilliseconds != nil &&
			(version.Status.DurationMilliseconds == nil || *version.Status.DurationMilliseconds < *before.Status.DurationMilliseconds):
			t.Errorf("%s: the duration went back from %d", version.Name, *before.Status.DurationMilliseconds)
		}
	}
	for _, job := range jobs {
		var events []string
		if !eventually(func() bool { events = w.Events(job.Name); return slices.Contains(events, "Normal JobFinished") }) || len(slices.Compact(events)) != len(events) {
			t.Errorf("the Events of %s are %q", job.Name, events)
		}
	}
}

// write changes the status of a DLIJob as a field manager.
func write(w *world.World, manager client.FieldOwner, job *v1alpha1.DLIJob, change func(*v1alpha1.DLIJobStatus)) *v1alpha1.DLIJob {
	w.Helper()
	var current *v1alpha1.DLIJob
	if !eventually(func() bool {
		current = w.Reload(job)
		stored := current.DeepCopy()
		change(&current.Status)
		return w.Status().Patch(w.Context(), current, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}), manager) == nil
	}) {
		w.Fatalf("cannot write the status of %s", job.Name)
	}
	return current
}

// awaitNextSecond waits until a next write of a DLIJob has another time in managedFields,
// which are in whole seconds.
func awaitNextSecond(w *world.World, job *v1alpha1.DLIJob) {
	w.Helper()
	fields := w.Reload(job).ManagedFields
	if !eventually(func() bool { return time.Since(fields[len(fields)-1].Time.Time) > time.Second }) {
		w.Fatal("the clock stands still")
	}
}

// The write of a leader that was frozen arrives after another one has taken over.
func TestLateWriteOfAFormerLeader(t *testing.T) {
	w := newWorld(t)
	w.Runs(jobID)
	job := w.WatchJob(jobID)
	w.Start()
	w.AwaitReason(job, "JobRunning")
	seen := recordJobs(w)
	awaitNextSecond(w, job)
	write(w, "dli-operator", job, func(status *v1alpha1.DLIJobStatus) {
		status.JobStatus, status.QueueName, status.LastPollTime = "LAUNCHING", "late", &metav1.Time{Time: time.Now().Add(-time.Hour).Truncate(time.Second)}
	})
	w.AwaitRequests(jobID, w.DLI.Requests(jobID)+20)
	isLate := false
	for _, version := range seen.all() {
		if isLate && version.Status.QueueName != "late" {
			t.Errorf("the late write was overwritten by %+v", version.Status)
		}
		isLate = isLate || version.Status.QueueName == "late"
	}
	if !isLate {
		t.Error("the watch does not show the late write")
	}
	if !eventually(func() bool { return slices.Contains(w.Events(jobID), "Warning OtherOperator") }) {
		t.Errorf("the Events are %q", w.Events(jobID))
	}
	w.Finishes(jobID)
	if done := w.AwaitReason(job, "JobFinished"); done.Status.QueueName == "late" {
		t.Error("the end is not what DLI says")
	}
}

// Whatever something else than an operator writes, DLI's status is what is stored in the
// end; an outcome is restored, also after an operator, and whatever DLI says later.
func TestForgedStatus(t *testing.T) {
	running, finished := dlitest.Query(jobID).Running(time.Hour), dlitest.Query(jobID).Finishes(4)
	for name, test := range map[string]struct {
		job    dlitest.Job
		reason string
		forge  func(*v1alpha1.DLIJobStatus)
		by     client.FieldOwner
	}{
		"emptied":              {running, "JobRunning", func(s *v1alpha1.DLIJobStatus) { *s = v1alpha1.DLIJobStatus{} }, "somebody"},
		"without a condition":  {running, "JobRunning", func(s *v1alpha1.DLIJobStatus) { s.Conditions = s.Conditions[:2] }, "somebody"},
		"in another queue":     {running, "JobRunning", func(s *v1alpha1.DLIJobStatus) { s.QueueName = "forged" }, "somebody"},
		"ended":                {running, "JobRunning", func(s *v1alpha1.DLIJobStatus) { s.Outcome, s.JobStatus = v1alpha1.OutcomeSucceeded, "FINISHED" }, "somebody"},
		"without its outcome":  {finished, "JobFinished", func(s *v1alpha1.DLIJobStatus) { *s = v1alpha1.DLIJobStatus{} }, "somebody"},
		"with another outcome": {finished, "JobFinished", func(s *v1alpha1.DLIJobStatus) { s.Outcome = v1alpha1.OutcomeFailed }, "somebody"},
		"as before it ended":   {finished, "JobFinished", func(s *v1alpha1.DLIJobStatus) { s.Outcome, s.JobStatus = "", "RUNNING" }, "dli-operator"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.DLI.SetJob(test.job)
			job := w.WatchJob(jobID, func(job *v1alpha1.DLIJob) { job.Spec.PollIntervalSeconds = new(int32(3600)) })
			w.Start()
			before := w.AwaitReason(job, test.reason)
			if test.by == "dli-operator" {
				w.DLI.SetJob(running)
				awaitNextSecond(w, job)
			}
			polls := w.DLI.Requests(jobID)
			write(w, test.by, job, test.forge)
			w.Await(job, world.Patience, "as before", func(job *v1alpha1.DLIJob) bool {
				return job.Status.Outcome == before.Status.Outcome && job.Status.JobStatus == before.Status.JobStatus &&
					job.Status.QueueName == before.Status.QueueName && reasonOf(job) == test.reason &&
					len(job.Status.Conditions) == len(before.Status.Conditions)
			})
			if !before.IsCompleted() && w.DLI.Requests(jobID) == polls {
				t.Error("nobody asked DLI what is true")
			}
			events := slices.DeleteFunc(w.Events(job.Name), func(event string) bool { return event != "Normal "+test.reason })
			if before.IsCompleted() && len(events) > 1 {
				t.Errorf("an end that was restored is announced again: %q", events)
			}
		})
	}
}

// An operator writes the condition Completed with an outcome. One without it is nobody's, also
// for an operator that has just started, and whatever DLI says of the job.
func TestForgedOutcomeOfAMissingJob(t *testing.T) {
	for name, isRunning := range map[string]bool{"while the operator runs": true, "while none runs": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Options.Controllers.Schedule.NotFoundAfter = time.Hour
			job := w.WatchJob(jobID)
			operator := w.Start()
			w.AwaitReason(job, "JobNotFound")
			if !isRunning {
				operator.Stop()
			}
			write(w, "somebody", job, func(s *v1alpha1.DLIJobStatus) { s.Outcome, s.JobStatus = v1alpha1.OutcomeSucceeded, "FINISHED" })
			if !isRunning {
				w.Start()
			}
			w.Await(job, world.Patience, "without the forged outcome", func(job *v1alpha1.DLIJob) bool {
				return !job.IsCompleted() && job.Status.JobStatus == "" && reasonOf(job) == "JobNotFound"
			})
		})
	}
}

// What was stored before a restart is not written again, though the job has run on.
func TestARestartAloneIsNoNews(t *testing.T) {
	w := newWorld(t)
	proxy := w.BehindProxy()
	running := dlitest.Query(jobID).Running(time.Hour)
	running.Start = time.Now().Add(-10 * time.Minute)
	w.DLI.SetJob(running)
	job := w.WatchJob(jobID, func(job *v1alpha1.DLIJob) { job.Spec.PollIntervalSeconds = new(int32(1)) })
	first := w.Start()
	w.AwaitReason(job, "JobRunning")
	first.Stop()
	proxy.Reset()
	w.Start()
	w.AwaitRequests(jobID, w.DLI.Requests(jobID)+3)
	if n := proxy.Count(func(write testenv.Write) bool { return write.Resource == "dlijobs/status" }); n > 0 {
		t.Errorf("it was written %d times", n)
	}
	w.Finishes(jobID)
	w.AwaitReason(job, "JobFinished")
}

// A response that could not be stored yet tells what is true of a forged status, so the job is
// not polled, and its figures are not written, once more.
func TestForgedStatusBeforeAResponseIsStored(t *testing.T) {
	w := newWorld(t)
	w.Runs(jobID)
	proxy := w.BehindProxy()
	job := w.WatchJob(jobID, func(job *v1alpha1.DLIJob) { job.Spec.PollIntervalSeconds = new(int32(3600)) })
	w.Start()
	w.AwaitReason(job, "JobRunning")
	awaitRefusals := func() {
		proxy.Reset()
		if !eventually(func() bool { return proxy.Count(func(write testenv.Write) bool { return write.Status == 500 }) > 2 }) {
			t.Fatal("no write was tried")
		}
	}
	proxy.Refuse(500, "dlijobs/status")
	w.DLI.SetJob(dlitest.Query(jobID).Being("SCALING", time.Hour))
	world.Change(w, job, func(job *v1alpha1.DLIJob) {
		job.Annotations = map[string]string{v1alpha1.PollRequestedAtAnnotation: "now"}
	})
	awaitRefusals()
	polls := w.DLI.Requests(jobID)
	write(w, "somebody", job, func(s *v1alpha1.DLIJobStatus) { s.JobStatus = "FORGED" })
	awaitRefusals()
	proxy.Refuse(0, "dlijobs/status")
	w.AwaitReason(job, "JobScaling")
	if n := w.DLI.Requests(jobID) - polls; n != 0 {
		t.Errorf("the job was polled %d times after it was forged", n)
	}
}

// Two operators that see the same objects, one of which cannot use the endpoint.
func TestTwoOperators(t *testing.T) {
	w := newWorld(t)
	w.Runs(jobID)
	job := w.WatchJob(jobID)
	w.Options.Controllers.Schedule.StallAfter = 3 * time.Second
	jobs, connections := recordJobs(w), record[*v1alpha1.DLIConnection](w, &v1alpha1.DLIConnectionList{})
	w.Options.Controllers.Connections.AllowInsecure = false
	w.Start()
	w.AwaitReason(job, "EndpointMisconfigured")
	awaitNextSecond(w, job)
	w.Options.Controllers.Connections.AllowInsecure = true
	w.Start()
	w.AwaitReason(job, "JobRunning")
	w.AwaitRequests(jobID, 80)
	if current := w.Reload(job); reasonOf(current) != "JobRunning" {
		t.Errorf("the job is %s", world.Summary(current))
	}
	if n := len(jobs.all()); n > 8 {
		t.Errorf("the status of the DLIJob was written %d times", n)
	}
	isRead := func(job *v1alpha1.DLIJob) bool { return reasonOf(job) == "JobRunning" }
	if all := jobs.all(); slices.ContainsFunc(all[slices.IndexFunc(all, isRead):], isStalled) {
		t.Error("the DLIJob was stalled although one operator can read it")
	}
	if n := len(connections.all()); n > 5 {
		t.Errorf("the status of the DLIConnection was written %d times", n)
	}
	if !eventually(func() bool { return slices.Contains(w.Events(jobID), "Warning OtherOperator") }) {
		t.Errorf("the Events are %q", w.Events(jobID))
	}
}

// An operator does not report a connection that another one reports and that no DLIJob of
// its own uses.
func TestConnectionOfAnotherOperator(t *testing.T) {
	w := newWorld(t)
	w.Runs(jobID)
	job := w.WatchJob(jobID)
	w.Start()
	w.AwaitReason(job, "JobRunning")
	connected := awaitConnection(w, "default", "Connected")
	other := *w
	other.Namespace = w.NewNamespace(nil)
	other.Options.WatchNamespaces, other.Options.DefaultConnection = []string{other.Namespace}, w.Namespace+"/default"
	other.Options.Controllers.Connections.AllowInsecure = false
	other.MustCreate(connect(&other, "unused", "credentials"))
	other.Start()
	awaitConnection(&other, "unused", "EndpointMisconfigured")
	w.AwaitRequests(jobID, w.DLI.Requests(jobID)+20)
	if ready := awaitConnection(w, "default", "Connected"); !ready.LastTransitionTime.Equal(&connected.LastTransitionTime) {
		t.Error("the other operator has reported the connection")
	}
}

// However often the API server refuses a write, the log says so once a minute.
func TestFailuresAreLoggedOnce(t *testing.T) {
	w := newWorld(t)
	proxy := w.BehindProxy()
	proxy.Refuse(http.StatusInternalServerError, "dlijobs/status")
	for i := range 20 {
		id := fmt.Sprint("job-", i)
		w.Runs(id)
		w.WatchJob(id)
	}
	w.Start()
	if !eventually(func() bool {
		return proxy.Count(func(write testenv.Write) bool { return write.Status == http.StatusInternalServerError }) > 100
	}) {
		t.Fatal("too few writes")
	}
	if n := strings.Count(w.Log.String(), `"level":"error"`); n == 0 || n > 3 {
		t.Errorf("%d errors: %.2000s", n, w.Log.String())
	}
	if strings.Contains(w.Log.String(), ".go:") {
		t.Errorf("the log has stack traces: %.2000s", w.Log.String())
	}
}

// If the user may not list, each job is polled individually, and one Event says so, also of an
// operator that does not report connections.
func TestListingDisabledOnce(t *testing.T) {
	w := newWorld(t)
	w.Options.Controllers.ReportConnections = false
	w.Options.Controllers.Schedule.ListInterval, w.Options.Controllers.Schedule.ListTrust = time.Second, time.Minute
	user := dlitest.SampleUser()
	user.Denied = []string{"dli:jobs:list"}
	w.DLI.SetUsers(user)
	for i := range 50 {
		id := fmt.Sprint("job-", i)
		w.Runs(id)
		w.WatchJob(id)
	}
	w.Start()
	count := func() (n int) {
		list := &eventsv1.EventList{}
		if err := w.List(w.Context(), list, client.InNamespace(w.Namespace)); err != nil {
			t.Fatal(err)
		}
		for _, event := range list.Items {
			if event.Reason == v1alpha1.ReasonListingDisabled {
				if event.Type != "Warning" || event.Regarding.Kind != "DLIConnection" || !strings.Contains(event.Note, "dli:jobs:list") {
					t.Errorf("the Event is %+v", event)
				}
				n++
				if event.Series != nil {
					n += int(event.Series.Count) - 1
				}
			}
		}
		return n
	}
	if !eventually(func() bool { return count() > 0 }) {
		t.Fatal("there is no Event")
	}
	// The credentials are read again every second, and the connection is reconciled then.
	w.AwaitRequests("job-0", w.DLI.Requests("job-0")+60)
	if n := count(); n != 1 {
		t.Errorf("%d Events", n)
	}
	if n := w.DLI.Stats().ByCall[dlitest.CallList]; n > 3 {
		t.Errorf("%d lists were requested", n)
	}
}
