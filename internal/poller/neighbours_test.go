// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// badAnswers are responses that DLI, or a gateway in front of it, may send for some
// jobs only.
var badAnswers = map[string]answer{
	"an error code":            {took: usual, err: &dli.Error{Kind: dli.KindRetry, HTTPStatus: 500, Code: "DLI.10001"}},
	"garbage":                  {took: usual, err: &dli.Error{Kind: dli.KindInvalid, HTTPStatus: 200}},
	"a bad request":            {took: usual, err: &dli.Error{Kind: dli.KindRejected, HTTPStatus: 400, Code: "DLI.0001"}},
	"no permission":            {took: usual, err: &dli.Error{Kind: dli.KindPermission, HTTPStatus: 403}},
	"no such job":              {took: usual, err: &dli.Error{Kind: dli.KindNotFound, HTTPStatus: 404, Code: "DLI.0023"}},
	"a bad gateway":            {took: usual, err: &dli.Error{Kind: dli.KindRetry, HTTPStatus: 502}},
	"a gateway that times out": {took: 5 * time.Second, err: &dli.Error{Kind: dli.KindRetry, HTTPStatus: 504}},
	"nothing":                  {took: timeout},
	"a reset":                  {took: usual, err: &dli.Error{Kind: dli.KindUnreachable, Err: syscall.ECONNRESET}},
	"a truncated response":     {took: 8 * time.Second, err: &dli.Error{Kind: dli.KindUnreachable, Err: io.ErrUnexpectedEOF}},
	"too many requests":        {took: usual, err: &dli.Error{Kind: dli.KindThrottle, HTTPStatus: http.StatusTooManyRequests, RetryAfter: time.Second}},
}

// Some jobs cannot be read, for any reason. The others are polled in time.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	const n, interval = 20, 5 * time.Second
	for what, bad := range badAnswers {
		for _, k := range []int{1, n - 1} {
			for order, watch := range map[string]func(o *operator, bad, good []string){
				"that came first": func(o *operator, bad, good []string) {
					o.watch("a", interval, bad...)
					o.run(3 * time.Second)
					o.watch("a", interval, good...)
				},
				"that came later": func(o *operator, bad, good []string) {
					o.watch("a", interval, good...)
					o.run(time.Minute)
					o.watch("a", interval, bad...)
				},
				"that succeeded before": func(o *operator, bad, good []string) {
					o.watch("a", interval, bad...)
					o.watch("a", interval, good...)
					o.run(time.Minute)
				},
			} {
				simulate(t, fmt.Sprintf("%d of %d %s get %s", k, n, order, what), func(o *operator) {
					t := o.T
					began := time.Now()
					// The good jobs end one after the other, the first one
					// immediately.
					var ends map[string]time.Time
					o.says(func(a asked) answer {
						switch end, known := ends[a.job]; {
						case order == "that succeeded before" && ends == nil:
							return running
						case strings.HasPrefix(a.job, "bad"):
							return bad
						case known && !a.at.Before(end):
							return finished
						}
						return running
					})
					good := names("good", n-k)
					watch(o, names("bad", k), good)
					o.mu.Lock()
					ends = map[string]time.Time{}
					for i, job := range good {
						ends[job] = time.Now().Add(time.Duration(i) * 11 * time.Second)
					}
					o.mu.Unlock()
					o.run(time.Duration(n-k)*11*time.Second + interval + 31*time.Second)
					checkEnds(o, ends, interval+30*time.Second)
					t.Logf("%d requests in %v", len(o.asks), time.Since(began))
				})
			}
		}
	}
}

// checkEnds checks that the ends of jobs were stored in time.
func checkEnds(o *operator, ends map[string]time.Time, within time.Duration) {
	o.Helper()
	worst := time.Duration(0)
	for job, end := range ends {
		all := o.storedOf(job)
		i := slices.IndexFunc(all, func(s stored) bool { return s.Status != nil && s.Status.State == dli.StateFinished })
		if i < 0 {
			o.Errorf("the end of %s was not noticed", job)
			continue
		}
		late := all[i].at.Sub(end)
		worst = max(worst, late)
		if late > within {
			o.Errorf("the end of %s was noticed after %v, want at most %v", job, late, within)
		}
	}
	o.Logf("the last of %d ends was noticed after %v", len(ends), worst)
}

// Failing jobs leave some of the requests in flight for the others.
func TestFailingJobsTakeNotAllRequests(t *testing.T) {
	q := &queue{}
	j := &job{failures: &FailureStreak{Count: 1}}
	j.enterHeap(&q.failing, 1)
	for inFlight, want := range []bool{true, true, true, false, false} {
		q.failingInFlight = inFlight
		if got := q.pickJob(connection.AdmitAll, 4) != nil; got != want {
			t.Errorf("with %d of 4 requests for failing jobs, one more may be sent: %v", inFlight, got)
		}
	}
}

// Waiting jobs are told what holds them back: all at once if user action is required, else those
// that could not be read, and the others if it lasts. Throttling alone says nothing of a job.
func TestHoldBack(t *testing.T) {
	for reason, want := range map[string][2]string{
		v1alpha1.ReasonCredentialsRejected: {"healthy untried failing", ""},
		v1alpha1.ReasonEndpointUnreachable: {"untried failing", "healthy"},
		v1alpha1.ReasonRateLimited:         {"", "healthy untried failing"},
	} {
		var told []string
		q := &queue{lastTurn: map[string]int{}, shared: &shared{config: Config{
			Patience: 30 * time.Second, Schedule: DefaultSchedule(),
			Deliver: func(key types.NamespacedName, _ bool) { told = append(told, key.Name) },
		}}}
		for _, j := range []*job{
			{target: Target{Key: key("healthy")}, failures: noFailures, active: true, sentAt: noon},
			{target: Target{Key: key("untried")}, failures: noFailures},
			{target: Target{Key: key("failing")}, failures: &FailureStreak{Count: 1, Reason: "x"}, active: true, sentAt: noon},
		} {
			q.startWaiting(j)
		}
		for i, at := range []time.Duration{0, 30 * time.Second} {
			told = nil
			q.holdBack(connection.Failf(reason, "because"), noon.Add(at))
			if got := strings.Join(told, " "); got != want[i] {
				t.Errorf("%s, after %v: told are %q, want %q", reason, at, got, want[i])
			}
		}
	}
}

// A failing connection is probed with a job that could be read, else with one that was never
// polled.
func TestWhoProbes(t *testing.T) {
	q := &queue{lastTurn: map[string]int{}}
	fails := &job{failures: &FailureStreak{Count: 1}, active: true, sentAt: noon}
	isNew := &job{failures: noFailures}
	works := &job{failures: noFailures, active: true, sentAt: noon}
	for _, j := range []*job{fails, isNew, works} {
		q.startWaiting(j)
	}
	for i, want := range []*job{works, isNew, fails} {
		j := q.pickJob(connection.AdmitProbe, 4)
		if j != want {
			t.Fatalf("probe %d is of %+v", i+1, j)
		}
		j.leaveHeap()
	}
}
