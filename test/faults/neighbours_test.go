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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// A job is polled every 5 s with 10 % jitter, and its outcome may be stored 30 s after
// that; the rest is for a busy machine.
const latestEnd = 5500*time.Millisecond + 30*time.Second + 5*time.Second

// badAnswers returns responses that DLI may send for some jobs while others are fine.
func badAnswers() map[string]*dlitest.Response {
	page := func(status int) *dlitest.Response {
		return &dlitest.Response{Status: status, Body: "<html><body>Not now.</body></html>"}
	}
	status := func(jobID string) string {
		return `{"is_success":true,"message":"","job_id":"` + jobID + `","job_type":"QUERY","status":"RUNNING"}`
	}
	return map[string]*dlitest.Response{
		"500 with a code":   dlitest.DLIError(500, "DLI.10001", "Internal error"),
		"HTML":              page(200),
		"400":               dlitest.DLIError(400, "DLI.0001", "The format of message is error"),
		"404":               dlitest.DLIError(404, "DLI.0023", "The job does not exist."),
		"403":               dlitest.DLIError(403, "DLI.0003", "Permission denied."),
		"502":               page(502),
		"503":               page(503),
		"504":               dlitest.GatewayError(504, "APIGW.0201", "Backend timeout.", "r1"),
		"429":               dlitest.GatewayError(429, "APIGW.0308", "The throttling threshold has been reached", "r2"),
		"hanging":           {Hang: true},
		"slow":              {Body: status("bad"), Slow: true},
		"huge":              {Body: strings.Repeat(" ", 5<<20) + status("bad")},
		"about another job": {Body: status("another")},
		"cut":               {Body: status("bad"), Cut: true},
		"reset":             {Reset: true},
	}
}

// jobsOfAConnection is the number of jobs that share a connection in TestBadJobs.
const jobsOfAConnection = 12

// Whatever DLI responds for some jobs, the outcomes of all others are stored.
func TestBadJobs(t *testing.T) {
	t.Parallel()
	for kind, answer := range badAnswers() {
		for _, bad := range []int{1, 5, jobsOfAConnection - 1} {
			if testing.Short() && (bad != 5 || !slices.Contains([]string{"500 with a code", "HTML", "502", "hanging"}, kind)) {
				continue
			}
			if kind == "429" && bad > 1 {
				// It applies to the user, so several of them really do throttle the
				// connection.
				continue
			}
			t.Run(fmt.Sprintf("%s/%d first", kind, bad), func(t *testing.T) {
				t.Parallel()
				badBesideGood(t, answer, bad, true)
			})
			if bad == jobsOfAConnection-1 {
				t.Run(fmt.Sprintf("%s/%d at once", kind, bad), func(t *testing.T) {
					t.Parallel()
					badBesideGood(t, answer, bad, false)
				})
			}
		}
	}
}

func badBesideGood(t *testing.T, answer *dlitest.Response, bad int, first bool) {
	t.Helper()
	w := newWorld(t)
	seen := w.record()
	w.start()
	for i := range bad {
		id := fmt.Sprintf("bad-%d", i)
		w.dli.SetResponse(id, answer)
		w.watch(id)
	}
	if first {
		// All of them were requested, and some several times.
		testenv.Within(15*time.Second, func() bool {
			n, least := 0, 2
			for i := range bad {
				requests := w.dli.Requests(fmt.Sprintf("bad-%d", i))
				n, least = n+requests, min(least, requests)
			}
			return least > 0 && n >= 2*bad && n >= 6
		})
	}
	var good []string
	for i := range jobsOfAConnection - bad {
		id := fmt.Sprintf("good-%d", i)
		good = append(good, id)
		w.dli.SetJob(dlitest.Query(id).Running(15 * time.Second).Finishes(4))
		w.watch(id)
	}
	w.seesEnds(seen, good, latestEnd)
}

// seesEnds checks that the outcome of each job is stored within a limit after its end.
func (w *world) seesEnds(seen *history, jobs []string, limit time.Duration) {
	w.Helper()
	var late []string
	for _, id := range jobs {
		job, _ := w.dli.Job(id)
		ended, ok := job.EndsAt()
		if !ok {
			w.Fatalf("job %s does not end", id)
		}
		var stored time.Time
		testenv.Within(time.Until(ended)+limit, func() (ok bool) { stored, ok = seen.completed(id); return ok })
		if stored.IsZero() || stored.Sub(ended) > limit {
			late = append(late, id)
		}
	}
	if len(late) > 0 {
		states := seen.of(late[0])
		w.Errorf("%d of %d outcomes were not stored within %v; DLI received %d requests for %s: %s",
			len(late), len(jobs), limit, w.dli.Requests(late[0]), late[0], says(states[len(states)-1].job))
	}
}

// Whatever happens to some connections, the jobs of all others are polled.
func TestBadConnections(t *testing.T) {
	t.Parallel()
	const connections, jobsOfEach = 10, 15
	for kind, fault := range map[string]*dlitest.Response{
		"hanging":  {Hang: true},
		"refusing": nil,
		"502":      {Status: 502, Body: "<html></html>"},
	} {
		for _, bad := range []int{1, connections - 1} {
			if testing.Short() && bad == 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", kind, bad), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				seen := w.record()
				w.start()
				endpoint := "http://127.0.0.1:1"
				if fault != nil {
					failing := testenv.DLI(t)
					failing.SetFault(fault)
					endpoint = failing.URL()
				}
				for i := range bad {
					name := fmt.Sprintf("bad-%d", i)
					w.create(w.connection(name, endpoint))
					for n := range jobsOfEach {
						w.watch(fmt.Sprintf("%s-%d", name, n), of(name))
					}
				}
				last := &v1alpha1.DLIJob{}
				last.Namespace, last.Name = w.namespace, fmt.Sprintf("bad-%d-%d", bad-1, jobsOfEach-1)
				w.await(last, wait, "reported as not readable", func(job *v1alpha1.DLIJob) bool {
					return len(job.Status.Conditions) > 0
				})
				var good []string
				for i := range 3 {
					id := fmt.Sprintf("good-%d", i)
					good = append(good, id)
					w.dli.SetJob(dlitest.Query(id).Running(15 * time.Second).Finishes(4))
					w.watch(id)
				}
				w.seesEnds(seen, good, latestEnd)
			})
		}
	}
}
