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
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// Lists are only hints: whatever they contain, every outcome comes from the status
// call, and on time.
func TestLists(t *testing.T) {
	t.Parallel()
	const watched, ending, interval, longest = 300, 30, 5 * time.Second, 66 * time.Second
	// slack allows for tests that run at the same time; make bench measures how late
	// ends are noticed.
	const honest, slack = 2*interval + time.Second, 20 * time.Second
	seed := rand.Uint64()
	for _, test := range []struct {
		name   string
		quirks dlitest.ListQuirks
		within time.Duration
	}{
		{"that are correct", dlitest.ListQuirks{}, honest},
		{"with pages of at most 50", dlitest.ListQuirks{MaxPageSize: 50}, honest},
		{"that reject pages of 100", dlitest.ListQuirks{MaxPageSize: 50, RefuseLargePages: true}, honest},
		{"that lag", dlitest.ListQuirks{Lag: 20 * time.Second}, 20*time.Second + honest},
		{"that ignore the status filter", dlitest.ListQuirks{IgnoreStatus: true}, longest},
		{"that lack rows", dlitest.ListQuirks{Missing: 0.3}, longest},
		{"that have rows with a wrong status", dlitest.ListQuirks{WrongStatus: 0.2}, longest},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && test.within > honest {
				t.Skip("it takes a minute")
			}
			test.quirks.Seed = seed
			w := newWorld(t, dlitest.WithListQuirks(test.quirks))
			change(w, w.connection("default", ""), func(c *v1alpha1.DLIConnection) {
				c.Spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: 200, Burst: 200}
			})
			seen := w.record()
			id := func(i int) string { return fmt.Sprintf("job-%d", i) }
			for i := range watched {
				job := dlitest.Query(id(i)).Running(time.Hour)
				job.Start = time.Now().Add(-20 * time.Minute)
				w.dli.SetJob(job)
				w.watch(id(i))
			}
			w.start()
			// Incorrect lists are soon no longer used.
			if !testenv.Within(wait, func() bool {
				for i := range watched {
					if w.dli.Requests(id(i)) == 0 {
						return false
					}
				}
				return w.dli.Stats().ByCall[dlitest.CallList] >= 2
			}) {
				t.Fatalf("seed %d: no lists were requested: %+v", seed, w.dli.Stats())
			}
			singles := w.dli.Stats().ByCall[dlitest.CallStatus]
			ended := time.Now()
			for i := range ending {
				job := dlitest.Query(id(i)).Finishes(4)
				job.Start = time.Now().Add(-20 * time.Minute)
				w.dli.SetJob(job)
			}
			completed := func() (n int, last time.Duration) {
				for i := range watched {
					if at, ok := seen.completed(id(i)); ok {
						n, last = n+1, max(last, at.Sub(ended))
					}
				}
				return n, last
			}
			n, last := 0, time.Duration(0)
			testenv.Within(test.within+slack, func() bool { n, last = completed(); return n >= ending })
			if n != ending || last > test.within+slack {
				t.Errorf("seed %d: %d of %d outcomes were stored, the last after %v", seed, n, ending, last)
			}
			singles = w.dli.Stats().ByCall[dlitest.CallStatus] - singles
			t.Logf("seed %d: the last of %d outcomes was stored after %v, with %d requests for single jobs", seed, n, last, singles)
			if test.quirks == (dlitest.ListQuirks{Seed: seed}) && singles > 3*ending {
				t.Errorf("%d requests for single jobs, for %d outcomes", singles, ending)
			}
		})
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
