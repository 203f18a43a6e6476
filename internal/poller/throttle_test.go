// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// windows is a DLI that admits a number of requests per second.
type windows struct {
	limit      int
	hint       time.Duration
	second     int64
	n          int
	asked, had int
}

func (w *windows) answer(asked) answer {
	if now := time.Now().Unix(); now != w.second {
		w.second, w.n = now, 0
	}
	w.asked++
	if w.n == w.limit {
		return answer{took: usual, err: &dli.Error{Kind: dli.KindThrottle, HTTPStatus: 429, RetryAfter: w.hint}}
	}
	w.n++
	w.had++
	return answer{took: time.Duration(20+rand.IntN(60)) * time.Millisecond, status: running.status}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	for n, hint := range map[int]time.Duration{500: time.Second, 2000: 0} {
		t.Run(fmt.Sprintf("%d jobs use most of the rate that DLI admits, with a hint of %v", n, hint), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOperator(t, newCluster(), 0)
				dli := &windows{limit: 10, hint: hint}
				o.says(dli.answer)
				o.watch("a", 5*time.Second, names("job", n)...)
				o.run(time.Minute)
				o.mu.Lock()
				asked, had := dli.asked, dli.had
				o.mu.Unlock()
				o.run(5 * time.Minute)
				asked, had = dli.asked-asked, dli.had-had
				used, refused := float64(had)/(300*10), 1-float64(had)/float64(asked)
				if used < 0.8 || refused > 0.1 {
					t.Errorf("%.1f %% of the admitted rate is used, %.1f %% of the requests are throttled", 100*used, 100*refused)
				}
			})
		})
	}

	for name, test := range map[string]struct{ told, rests time.Duration }{
		"waits as long as the hint says": {7 * time.Second, 7 * time.Second},
		"waits for 5 s without a hint":   {0, 5 * time.Second},
		"waits for at most ten minutes":  {24 * time.Hour, 10 * time.Minute},
	} {
		t.Run(name+", and returns to its rate", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOperator(t, newCluster(), 0)
				o.watch("a", 5*time.Second, names("job", 300)...)
				o.run(time.Minute)
				throttled := time.Now()
				o.says(always(dli.Error{Kind: dli.KindThrottle, HTTPStatus: 429, RetryAfter: test.told}, usual))
				o.run(time.Second)
				o.says(well)
				o.run(test.rests + 150*time.Second)

				during := o.since(throttled)
				resumed := slices.IndexFunc(during, func(a asked) bool { return a.at.Sub(throttled) > time.Second })
				if rest := during[resumed].at.Sub(during[resumed-1].at); rest < test.rests || rest > test.rests+time.Second {
					t.Errorf("waited for %v, want %v", rest, test.rests)
				}
				if resumed > 5 {
					t.Errorf("%d requests while it was throttled", resumed)
				}
				lastMinute := o.since(time.Now().Add(-time.Minute))
				if got := len(lastMinute); got < 60*20*95/100 {
					t.Errorf("%d requests in the last minute, want the full rate, 1200", got)
				}
				if got := most(during, time.Second); got > 40 {
					t.Errorf("%d requests within a second, want at most rate plus burst, 40", got)
				}
				if h := o.health("a"); h.Reason != v1alpha1.ReasonConnected {
					t.Errorf("the connection reports %+v", h)
				}
			})
		})
	}

	t.Run("is reported once, however often it happens", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, newCluster(), 0)
			o.says((&windows{limit: 10, hint: time.Second}).answer)
			o.watch("a", 5*time.Second, names("job", 300)...)
			o.run(time.Minute)
			changes, last := 0, o.health("a")
			for range 200 {
				o.run(time.Second)
				if h := o.health("a"); h != last {
					changes, last = changes+1, h
				}
			}
			if changes > 0 || last.Reason != v1alpha1.ReasonRateLimited {
				t.Errorf("%d changes in 200 s, now %+v", changes, last)
			}
		})
	})
}
