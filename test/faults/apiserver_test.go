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
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// A slow or unavailable API server neither delays polls nor loses responses.
func TestTheAPIServer(t *testing.T) {
	const running, ending, interval, watched = 200, 100, 2, 24 * time.Second
	w := newWorld(t)
	// With so few workers, the outcomes queue up; refreshed figures would only add to
	// the queue.
	w.options.MaxConcurrentReconciles = 10
	w.options.Schedule.StatusRefreshInterval = time.Hour
	change(w, w.connection("default", ""), func(c *v1alpha1.DLIConnection) {
		c.Spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: 1000, Burst: 1000}
	})
	proxy := w.behindProxy()
	seen := w.record()
	w.start()
	names := func(kind string, n int) (ids []string) {
		for i := range n {
			id := fmt.Sprintf("%s-%d", kind, i)
			ids = append(ids, id)
			w.runs(id)
			w.watch(id, every(interval))
		}
		return ids
	}
	polled := names("running", running)
	endingOf := map[string][]string{"slow": names("slow", ending), "gone": names("gone", ending)}
	all := slices.Concat(polled, endingOf["slow"], endingOf["gone"])
	if !testenv.Within(2*time.Minute, func() bool {
		return !slices.ContainsFunc(all, func(id string) bool { return w.dli.Requests(id) < 2 })
	}) {
		t.Fatal("not all jobs were polled")
	}
	requests := func() (n int) {
		for _, id := range polled {
			n += w.dli.Requests(id)
		}
		return n
	}
	finish := func(ids []string) {
		for _, id := range ids {
			w.finishes(id)
		}
	}
	check := func(t *testing.T) {
		t.Helper()
		before, began := requests(), time.Now()
		throughout(watched, time.Second, func() {})
		want := float64(running) * time.Since(began).Seconds() / interval
		if got := float64(requests() - before); got < 0.8*want {
			t.Errorf("%.0f polls of running jobs, want %.0f", got, want)
		}
	}
	areStored := func(t *testing.T, ids []string) {
		t.Helper()
		n := 0
		if !testenv.Within(wait, func() bool {
			n = 0
			for _, id := range ids {
				if _, ok := seen.completed(id); ok {
					n++
				}
			}
			return n == len(ids)
		}) {
			t.Errorf("%d of %d outcomes were stored", n, len(ids))
		}
	}
	t.Run("a write takes 2 s", func(t *testing.T) {
		proxy.Delay(2 * time.Second)
		finish(endingOf["slow"])
		written := func(testenv.Write) bool { return true }
		proxy.Reset()
		if !testenv.Within(wait, func() bool { return proxy.Count(written) > 0 }) {
			t.Fatal("no outcome is being written")
		}
		w.runs("new")
		w.watch("new", every(interval))
		if !testenv.Within(5*time.Second, func() bool { return w.dli.Requests("new") > 0 }) {
			t.Errorf("a new DLIJob is not polled while all workers are busy")
		}
		check(t)
		areStored(t, endingOf["slow"])
		proxy.Delay(0)
	})
	t.Run("it is unavailable for a while", func(t *testing.T) {
		if err := proxy.Stop(); err != nil {
			t.Fatal(err)
		}
		finish(endingOf["gone"])
		check(t)
		if err := proxy.Resume(); err != nil {
			t.Fatal(err)
		}
		areStored(t, endingOf["gone"])
	})
}

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
