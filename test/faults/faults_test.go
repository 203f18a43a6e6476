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

package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// A requested poll is made only once, even if its result cannot be written.
func TestAPollRequestWhileWritesFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy := w.behindProxy()
	w.runs("job")
	job := w.watch("job", every(3600))
	w.start()
	w.awaitReason(job, v1alpha1.ReasonJobRunning)
	asked := w.dli.Requests("job")
	proxy.Refuse(http.StatusInternalServerError, "dlijobs/status")
	change(w, job, pollNow)
	w.awaitRequests("job", asked+1)
	refused := func(write testenv.Write) bool { return write.Status == http.StatusInternalServerError }
	if !testenv.Within(wait, func() bool { return proxy.Count(refused) >= 3 }) {
		t.Errorf("only %d writes were attempted while they fail", proxy.Count(refused))
	}
	if n := w.dli.Requests("job") - asked; n != 1 {
		t.Errorf("one poll-requested-at caused %d polls while %d writes failed", n, proxy.Count(refused))
	}
	proxy.Refuse(0, "dlijobs/status")
	w.await(job, wait, "written", func(job *v1alpha1.DLIJob) bool {
		return job.Status.LastHandledPollRequest == job.Annotations[v1alpha1.PollRequestedAtAnnotation]
	})
	if n := w.dli.Requests("job") - asked; n != 1 {
		t.Errorf("one poll-requested-at caused %d polls in total", n)
	}
}

// There is no Event about the end of a job whose DLIJob was deleted.
func TestADeletedJobHasNoEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runs("deleted")
	job := w.watch("deleted", every(2))
	w.start()
	w.awaitReason(job, v1alpha1.ReasonJobRunning)
	slow := &dlitest.Response{Delay: 3 * time.Second, Body: `{"is_success":true,"message":"","job_id":"deleted",` +
		`"job_type":"QUERY","status":"FINISHED","start_time":1509335108918,"duration":2523,"result_count":4}`}
	asked := w.dli.Requests("deleted")
	w.dli.SetResponse("deleted", slow)
	w.awaitRequests("deleted", asked+1)
	if err := w.Delete(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if !testenv.Within(wait, func() bool {
		return apierrors.IsNotFound(w.Get(t.Context(), client.ObjectKeyFromObject(job), &v1alpha1.DLIJob{})) &&
			w.dli.Stats().InFlight == 0
	}) {
		t.Fatal("the job was not polled, or the DLIJob still exists")
	}
	// Events are sent in order, so those of the first DLIJob would arrive before those
	// of the second.
	w.finishes("witness")
	w.awaitReason(w.watch("witness"), v1alpha1.ReasonJobFinished)
	if !testenv.Within(wait, func() bool { return slices.Contains(w.events("witness"), "Normal JobFinished") }) {
		t.Fatal("the second DLIJob has no Event")
	}
	if told := w.events("deleted"); slices.Contains(told, "Normal JobFinished") {
		t.Errorf("the deleted DLIJob has Events: %q", told)
	}
}

// If the user may not list, each job is polled individually, and an Event says so.
func TestListingIsNotAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := dlitest.SampleUser()
	user.Denied = []string{"dli:jobs:list"}
	w.dli.SetUsers(user)
	w.runs("job")
	job := w.watch("job")
	for i := range 50 {
		id := fmt.Sprintf("other-%d", i)
		w.runs(id)
		w.watch(id)
	}
	w.start()
	if !testenv.Within(wait, func() bool {
		return strings.Contains(w.ready("default").Message, "dli:jobs:list")
	}) {
		t.Fatalf("the DLIConnection is %+v", w.ready("default"))
	}
	if ready := w.ready("default"); ready.Reason != v1alpha1.ReasonConnected {
		t.Errorf("the DLIConnection is %s/%s", ready.Status, ready.Reason)
	}
	var told []eventsv1.Event
	if !testenv.Within(wait, func() bool {
		all := &eventsv1.EventList{}
		if err := w.List(w.Context(), all, client.InNamespace(w.namespace)); err != nil {
			t.Fatal(err)
		}
		told = nil
		for _, event := range all.Items {
			if event.Reason == v1alpha1.ReasonListingDisabled {
				told = append(told, event)
			}
		}
		return len(told) > 0
	}) {
		t.Fatal("there is no Event")
	}
	if e := told[0]; e.Type != corev1.EventTypeWarning || e.Regarding.Kind != "DLIConnection" || !strings.Contains(e.Note, "dli:jobs:list") {
		t.Errorf("%+v", e)
	}
	if n := w.dli.Stats().ByCall[dlitest.CallList]; n > 3 {
		t.Errorf("%d lists were requested", n)
	}
	w.finishes("job")
	w.awaitReason(job, v1alpha1.ReasonJobFinished)
}

// Progress is shown only where it is requested, and removed when the job ends.
func TestProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shown := func(job *v1alpha1.DLIJob) { job.Spec.ReportProgress = new(true) }
	w.dli.SetJob(dlitest.Query("shown").Running(time.Hour).Finishes(4))
	w.dli.SetJob(dlitest.Query("hidden").Running(time.Hour))
	job, hidden := w.watch("shown", shown, every(1)), w.watch("hidden", every(1))
	w.start()
	job = w.await(job, wait, "measured", func(job *v1alpha1.DLIJob) bool { return job.Status.Progress != nil })
	if percent := *job.Status.Progress; percent < 0 || percent > 10 {
		t.Errorf("%d %% of an hour", percent)
	}
	if hidden = w.awaitReason(hidden, v1alpha1.ReasonJobRunning); hidden.Status.Progress != nil {
		t.Errorf("%d %% for a job without reportProgress", *hidden.Status.Progress)
	}
	if n := w.dli.Stats().ByCall[dlitest.CallProgress]; n != 1 {
		t.Errorf("the progress of one job was requested %d times", n)
	}
	w.finishes("shown")
	job = w.awaitReason(job, v1alpha1.ReasonJobFinished)
	if job.Status.Progress != nil {
		t.Errorf("%d %% for a job that has ended", *job.Status.Progress)
	}
}

// A clock that is too far off for signatures is not reported as wrong credentials, and
// the times in the message do not cause repeated writes.
func TestAWrongClock(t *testing.T) {
	t.Parallel()
	var drift atomic.Int64
	now := func() time.Time { return time.Now().Add(20*time.Minute + time.Duration(drift.Load())*time.Second) }
	w := newWorld(t, dlitest.WithClock(now))
	w.options.Connections.ProbeInterval = 2 * time.Second
	// The response contains the current time, so each one differs.
	gateway := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		drift.Add(2)
		answer.Header().Set("Date", now().UTC().Format(http.TimeFormat))
		w.dli.ServeHTTP(answer, r)
	}))
	t.Cleanup(gateway.Close)
	w.create(w.connection("clocked", gateway.URL))
	w.runs("job")
	w.start()
	job := w.watch("job", of("clocked"))
	clock, amount := regexp.MustCompile(`(?i)clock`), regexp.MustCompile(`\b(20|21) ?m`)
	told := w.await(job, wait, "failed because of the clock", func(job *v1alpha1.DLIJob) bool {
		message := condition(job.Status.Conditions, v1alpha1.SyncedCondition).Message
		return clock.MatchString(message) && amount.MatchString(message)
	})
	synced := condition(told.Status.Conditions, v1alpha1.SyncedCondition)
	if matched := regexp.MustCompile(`(?i)put valid`).MatchString(synced.Message); matched {
		t.Errorf("it is reported as wrong credentials: %s", synced.Message)
	}
	if !testenv.Within(wait, func() bool {
		message := w.ready("clocked").Message
		return clock.MatchString(message) && amount.MatchString(message)
	}) {
		t.Errorf("the DLIConnection does not report it: %+v", w.ready("clocked"))
	}
	written, before := w.reload(job).ResourceVersion, w.ready("clocked")
	w.awaitRequests("job", w.dli.Requests("job")+5)
	if w.reload(job).ResourceVersion != written {
		t.Errorf("the DLIJob was written again: %s", says(w.reload(job)))
	}
	if after := w.ready("clocked"); after != before {
		t.Errorf("the DLIConnection changed to %+v\nfrom %+v", after, before)
	}
}
