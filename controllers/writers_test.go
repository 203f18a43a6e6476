// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/internal/poller"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// A write whose response is lost was not done by another hand: nothing is undone.
func TestLostResponses(t *testing.T) {
	w := newWorld(t)
	w.options.Schedule.StatusRefreshInterval = 100 * time.Millisecond
	proxy := w.behindProxy()
	proxy.LoseResponses(true, "dlijobs/status")
	seen := w.record()
	var jobs []*v1alpha1.DLIJob
	for i := range 5 {
		id := fmt.Sprint("job-", i)
		w.dli.SetJob(dlitest.Query(id).Launching(time.Second).Running(4 * time.Second).Finishes(4))
		jobs = append(jobs, w.watch(id))
	}
	w.start()
	for _, job := range jobs {
		w.awaitReason(job, "JobFinished")
	}
	// A write would follow the watch event of the last one.
	for i := range jobs {
		w.awaitRequests(fmt.Sprint("job-", i), 1)
	}
	proxy.LoseResponses(false)

	last := map[string]*unstructured.Unstructured{}
	for _, state := range seen.all() {
		before := last[state.GetName()]
		last[state.GetName()] = state
		if before == nil {
			continue
		}
		for _, field := range []string{"durationMilliseconds", "observedGeneration"} {
			old, _, _ := unstructured.NestedInt64(before.Object, "status", field)
			current, _, _ := unstructured.NestedInt64(state.Object, "status", field)
			if current < old {
				t.Errorf("%s: %s went from %d back to %d", state.GetName(), field, old, current)
			}
		}
		old, _, _ := unstructured.NestedString(before.Object, "status", "outcome")
		current, _, _ := unstructured.NestedString(state.Object, "status", "outcome")
		if old != "" && current != old {
			t.Errorf("%s: the outcome went from %s to %q", state.GetName(), old, current)
		}
	}
	count := func(reason string) (n int) {
		for _, event := range w.events() {
			if event == "Normal "+reason {
				n++
			}
		}
		return n
	}
	if !eventually(func() bool { return count("JobFinished") >= len(jobs) }) || count("JobFinished") != len(jobs) {
		t.Errorf("the events are %q", w.events())
	}
}

// writeAs changes the status of a DLIJob as a field manager.
func (w *world) writeAs(manager client.FieldOwner, job *v1alpha1.DLIJob, change func(*v1alpha1.DLIJobStatus)) *v1alpha1.DLIJob {
	w.Helper()
	var current *v1alpha1.DLIJob
	if !eventually(func() bool {
		current = w.reload(job)
		stored := current.DeepCopy()
		change(&current.Status)
		return w.Status().Patch(w.Context(), current, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}), manager) == nil
	}) {
		w.Fatalf("cannot write the status of %s", job.Name)
	}
	return current
}

// The write of a leader that was frozen arrives after another one has taken over.
func TestLateWriteOfAFormerLeader(t *testing.T) {
	w := newWorld(t)
	w.dli.SetJob(dlitest.Query(jobID).Running(time.Hour))
	job := w.watch(jobID)
	w.start().awaitReason(job, "JobRunning")
	seen := w.record()
	// managedFields have times in whole seconds.
	if written := w.reload(job).ManagedFields; !eventually(func() bool { return time.Since(written[len(written)-1].Time.Time) > time.Second }) {
		t.Fatal("the clock stands still")
	}
	late := w.writeAs(fieldOwner, job, func(status *v1alpha1.DLIJobStatus) {
		status.JobStatus, status.QueueName, status.LastPollTime = "LAUNCHING", "late", wholeSeconds(time.Now().Add(-time.Hour))
	})
	w.awaitRequests(jobID, w.dli.Requests(jobID)+20)
	for _, state := range seen.all() {
		if before, _, _ := unstructured.NestedString(state.Object, "status", "queueName"); state.GetResourceVersion() > late.ResourceVersion && before != "late" {
			t.Errorf("the late write was overwritten by %v", state.Object["status"])
		}
	}
	if !eventually(func() bool { return slices.Contains(w.events(), "Warning OtherOperator") }) {
		t.Errorf("the Events are %q", w.events())
	}
	w.dli.SetJob(dlitest.Query(jobID).Finishes(4))
	if done := w.awaitReason(job, "JobFinished"); done.Status.QueueName == "late" {
		t.Error("the end is not what DLI says")
	}
}

// Whatever something else than an operator writes, DLI's status is what is stored in the
// end; an outcome is restored.
func TestForgedStatus(t *testing.T) {
	forgedOutcome := func(status *v1alpha1.DLIJobStatus) {
		status.Outcome, status.JobStatus = v1alpha1.OutcomeSucceeded, "FINISHED"
	}
	for name, test := range map[string]struct {
		job    dlitest.Job
		reason string
		forge  func(*v1alpha1.DLIJobStatus)
	}{
		"emptied":              {dlitest.Query(jobID).Running(time.Hour), "JobRunning", func(s *v1alpha1.DLIJobStatus) { *s = v1alpha1.DLIJobStatus{} }},
		"without a condition":  {dlitest.Query(jobID).Running(time.Hour), "JobRunning", func(s *v1alpha1.DLIJobStatus) { s.Conditions = s.Conditions[:2] }},
		"in another queue":     {dlitest.Query(jobID).Running(time.Hour), "JobRunning", func(s *v1alpha1.DLIJobStatus) { s.QueueName = "forged" }},
		"ended":                {dlitest.Query(jobID).Running(time.Hour), "JobRunning", forgedOutcome},
		"without its outcome":  {dlitest.Query(jobID).Finishes(4), "JobFinished", func(s *v1alpha1.DLIJobStatus) { *s = v1alpha1.DLIJobStatus{} }},
		"with another outcome": {dlitest.Query(jobID).Finishes(4), "JobFinished", func(s *v1alpha1.DLIJobStatus) { s.Outcome = v1alpha1.OutcomeFailed }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.dli.SetJob(test.job)
			job := w.watch(jobID, func(spec *v1alpha1.DLIJobSpec) { spec.PollIntervalSeconds = new(int32(3600)) })
			before := w.start().awaitReason(job, test.reason)
			w.writeAs("somebody", job, test.forge)
			w.await(job, "as before", func(job *v1alpha1.DLIJob) bool {
				return job.Status.Outcome == before.Status.Outcome && job.Status.JobStatus == before.Status.JobStatus &&
					job.Status.QueueName == before.Status.QueueName && row(job) == row(before)
			})
		})
	}
}

// Two operators that see the same objects, one of which cannot use the endpoint.
func TestTwoOperators(t *testing.T) {
	w := newWorld(t)
	w.dli.SetJob(dlitest.Query(jobID).Running(time.Hour))
	job := w.watch(jobID)
	w.options.Schedule.StallAfter = 3 * time.Second
	seen := w.record()
	list := &v1alpha1.DLIConnectionList{}
	connections, err := w.Watch(t.Context(), list, client.InNamespace(w.namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer connections.Stop()
	failing := w.another(func(o *Options) { o.Connections.AllowInsecure = false }).start()
	failing.awaitReason(job, "EndpointMisconfigured")
	w.start().awaitReason(job, "JobRunning")
	w.awaitRequests(jobID, 80)
	if current := w.reload(job); reasonOf(current) != "JobRunning" {
		t.Errorf("the job is %s", row(current))
	}
	states := seen.all()
	if len(states) > 8 {
		t.Errorf("the status of the DLIJob was written %d times", len(states))
	}
	for _, state := range states {
		if hasCondition(state, "Stalled") {
			t.Errorf("stalled: %v", state.Object["status"])
		}
	}
	versions := 0
	for len(connections.ResultChan()) > 0 {
		<-connections.ResultChan()
		versions++
	}
	if versions > 5 {
		t.Errorf("the status of the DLIConnection was written %d times", versions)
	}
	if events := w.events(); !slices.Contains(events, "Warning OtherOperator") {
		t.Errorf("the Events are %q", events)
	}
}

// An operator does not report a connection that another one reports and that no DLIJob of
// its own uses.
func TestConnectionOfAnotherOperator(t *testing.T) {
	w := newWorld(t)
	brisk(w)
	w.dli.SetJob(dlitest.Query(jobID).Running(time.Hour))
	job := w.watch(jobID)
	w.start().awaitReason(job, "JobRunning")
	connected := w.awaitConnection("default", "Connected")
	other := w.another(func(o *Options) { o.Connections.AllowInsecure = false })
	other.namespace = w.newNamespace(nil)
	other.namespaces, other.jobNamespaces = append(other.namespaces, other.namespace), []string{other.namespace}
	other.create(other.connection("unused", "credentials"))
	other.start().awaitConnection("unused", "EndpointMisconfigured")
	w.awaitRequests(jobID, w.dli.Requests(jobID)+20)
	if ready := w.awaitConnection("default", "Connected"); !ready.LastTransitionTime.Equal(&connected.LastTransitionTime) {
		t.Error("the other operator has reported the connection")
	}
}

// However often the API server refuses a write, the log says so once a minute.
func TestFailuresAreLoggedOnce(t *testing.T) {
	w := newWorld(t)
	proxy, log := w.behindProxy(), &testenv.Buffer{}
	w.log = zap.New(zap.WriteTo(log))
	proxy.Refuse(500, "dlijobs/status")
	for i := range 20 {
		id := fmt.Sprint("job-", i)
		w.dli.SetJob(dlitest.Query(id).Running(time.Hour))
		w.watch(id)
	}
	w.start()
	if !eventually(func() bool { return proxy.Count(func(write testenv.Write) bool { return write.Status == 500 }) > 100 }) {
		t.Fatal("too few writes")
	}
	var lines []string
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "error") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 || len(lines) > 3 {
		t.Errorf("%d lines: %.2000s", len(lines), lines)
	}
	if strings.Contains(log.String(), ".go:") {
		t.Errorf("the log has stack traces: %.2000s", log.String())
	}
}

// A panic is one job's failure: its stack is logged once, and other jobs go on.
func TestPanic(t *testing.T) {
	log, now := &testenv.Buffer{}, clocktesting.NewFakePassiveClock(noon)
	failures := &failureLog{log: zap.New(zap.WriteTo(log)), clock: now, loggedAt: map[string]time.Time{}, counts: map[string]int{}}
	done := 0
	wrapped := failures.wrap(reconcile.Func(func(_ context.Context, req ctrl.Request) (ctrl.Result, error) {
		if req.Name == "bad" {
			panic("this job is bad")
		}
		done++
		return ctrl.Result{}, nil
	}))
	request := func(name string) ctrl.Request {
		return ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "a", Name: name}}
	}
	for range 100 {
		if result, err := wrapped.Reconcile(t.Context(), request("bad")); err != nil || result.RequeueAfter == 0 {
			t.Fatalf("%+v, %v", result, err)
		}
		if result, err := wrapped.Reconcile(t.Context(), request("good")); err != nil || result.RequeueAfter != 0 {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	if stacks := strings.Count(log.String(), `"stack"`); done != 100 || stacks != 1 {
		t.Errorf("%d other reconciles, %d stacks", done, stacks)
	}
	now.SetTime(noon.Add(time.Minute))
	_, _ = wrapped.Reconcile(t.Context(), request("bad"))
	if !strings.Contains(log.String(), `"failures":100`) {
		t.Errorf("the failures are not counted: %s", log.String())
	}
}

// Whatever the API server refuses as invalid, the outcome and the conditions are stored.
func TestARefusedStatus(t *testing.T) {
	w := newWorld(t)
	w.dli.SetJob(dlitest.Query(jobID).Running(time.Hour))
	job := w.watch(jobID)
	w.start().awaitReason(job, "JobRunning")
	w.stop()
	stored := w.reload(job)
	metrics, err := NewMetrics(prometheus.NewRegistry(), "")
	if err != nil {
		t.Fatal(err)
	}
	r := &StatusReconciler{
		Client: w, Clock: clock.RealClock{}, Metrics: metrics, ownership: &ownership{},
		Connections: connection.NewRegistry(w, w, connection.Options{}, metrics),
	}
	refused := stored.DeepCopy()
	recordStatus(refused, &dli.JobStatus{Status: "FINISHED", State: dli.StateFinished, JobType: strings.Repeat("x", 1000)}, time.Now())
	deriveConditions(refused, poller.Snapshot{}, time.Now(), stallAfter)
	if written, err := r.write(t.Context(), stored, refused); err != nil || !written {
		t.Fatalf("written: %v, %v", written, err)
	}
	if got := w.reload(job); got.Status.Outcome != "Succeeded" || reasonOf(got) != "JobFinished" || got.Status.JobType != stored.Status.JobType {
		t.Errorf("the status is %+v", got.Status)
	}
}

// An operator that does not report connections sends the Event that lists are disabled
// once, too.
func TestListingDisabledOnce(t *testing.T) {
	w := newWorld(t)
	brisk(w)
	w.options.ReportConnections = false
	w.options.Schedule.ListInterval, w.options.Schedule.ListTrust = time.Second, time.Minute
	w.dli.SetCallFault(dlitest.CallList, dlitest.GatewayError(http.StatusForbidden, "APIGW.0302", "no permission", "r"))
	for i := range 50 {
		id := fmt.Sprint("job-", i)
		w.dli.SetJob(dlitest.Query(id).Running(time.Hour))
		w.watch(id)
	}
	w.start()
	count := func() (n int) {
		list := &eventsv1.EventList{}
		if err := w.List(w.Context(), list, client.InNamespace(w.namespace)); err != nil {
			t.Fatal(err)
		}
		for _, event := range list.Items {
			if event.Reason == v1alpha1.ReasonListingDisabled {
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
	w.awaitRequests("job-0", w.dli.Requests("job-0")+60)
	if n := count(); n != 1 {
		t.Errorf("%d Events", n)
	}
}

// What a client decodes into, or the cache holds, is shared with nothing.
func TestStatusSharesNoMemory(t *testing.T) {
	percent, rows := int32(40), int64(4)
	job := newJob()
	latest := poller.Snapshot{Progress: &percent, Result: &poller.Result{ArrivedAt: noon, Status: answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = &rows })}}
	recordSnapshot(job, latest, noon, time.Minute)
	// A client decodes the response into the object that it has sent.
	*job.Status.Progress, *job.Status.ResultCount = 0, 0
	if percent != 40 || rows != 4 {
		t.Error("what was decoded has changed the poller's memory")
	}
	job.Status.Progress = &percent
	known := knownOf(job, noon)
	*job.Status.Progress = 0
	if *known.Progress != 40 {
		t.Error("the poller knows what was decoded")
	}
}

// Ends, failures and first statuses are written before figures.
func TestRefreshesWait(t *testing.T) {
	queue := priorityqueue.New[reconcile.Request](t.Name())
	defer queue.ShutDown()
	results := &trigger{}
	must(results.start(t.Context(), queue))
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: "a", Name: name} }
	results.deliver(key("first refresh"), true)
	results.deliver(key("ended"), true)
	results.deliver(key("last refresh"), true)
	results.deliver(key("ended"), false)
	results.deliver(key("failed"), false)
	var order []string
	for range 4 {
		request, _ := queue.Get()
		order = append(order, request.Name)
	}
	if want := []string{"ended", "failed", "first refresh", "last refresh"}; !slices.Equal(order, want) {
		t.Errorf("written in the order %q, want %q", order, want)
	}
}
