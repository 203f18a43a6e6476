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
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
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
