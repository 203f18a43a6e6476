// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"fmt"
	"math/rand/v2"
	"testing"
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
		simulate(t, fmt.Sprintf("%d jobs use most of the rate that DLI admits, with a hint of %v", n, hint), func(o *operator) {
			t := o.T
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
	}

	simulate(t, "is reported once, however often it happens", func(o *operator) {
		t := o.T
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
}
