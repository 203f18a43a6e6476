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
	"math"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

func startedAgo(status string, ago time.Duration) *v1alpha1.DLIJob {
	return newJob(func(job *v1alpha1.DLIJob) {
		job.Status.JobStatus = status
		job.Status.StartTime = &metav1.Time{Time: noon.Add(-ago)}
	})
}

func TestInterval(t *testing.T) {
	for name, test := range map[string]struct {
		job    *v1alpha1.DLIJob
		jitter float64
		want   time.Duration
	}{
		"a job that just started waits the minimum":           {job: startedAgo("RUNNING", time.Second), want: 5 * time.Second},
		"a tenth of the time that it has been running":        {job: startedAgo("RUNNING", 3*time.Minute), want: 18 * time.Second},
		"a long job waits the maximum":                        {job: startedAgo("RUNNING", 24*time.Hour), want: time.Minute},
		"jitter moves it by a tenth":                          {job: startedAgo("RUNNING", 3*time.Minute), jitter: -1, want: 16200 * time.Millisecond},
		"a job that is launched is as old as its DLIJob":      {job: startedAgo("LAUNCHING", time.Second), want: time.Minute},
		"an unrecognized state is polled slowly":              {job: startedAgo("SUSPENDED", time.Second), want: time.Minute},
		"a start in the future waits the minimum":             {job: startedAgo("RUNNING", -time.Hour), want: 5 * time.Second},
		"a start in the first year of time does not overflow": {job: startedAgo("RUNNING", math.MaxInt64), want: time.Minute},
		"a fixed interval is kept to the second": {
			job: newJob(func(job *v1alpha1.DLIJob) { job.Spec.PollIntervalSeconds = ptr.To[int32](3600) }), jitter: 1, want: time.Hour,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := DefaultSchedule().interval(test.job, noon, test.jitter); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// The schedule's promise: of a job that runs for T the end is seen at most a
// tenth of T late, or 5 s, for about ln(T) polls.
func TestAdaptivePollsAreFewAndTheEndIsSeenInTime(t *testing.T) {
	s := DefaultSchedule()
	for _, length := range []time.Duration{time.Second, 7 * time.Second, time.Minute, 9 * time.Minute} {
		job, polls := startedAgo("RUNNING", 0), 0
		at := noon
		for at.Before(noon.Add(length)) {
			at = at.Add(s.interval(job, at, 0))
			polls++
		}
		late := at.Sub(noon.Add(length))
		if allowed := max(length/10, 5*time.Second); late > allowed {
			t.Errorf("the end of a job of %v is seen %v late, want at most %v", length, late, allowed)
		}
		// The polls of the first 50 s are the minimum apart; then each is a tenth on.
		if most := 11 + math.Log(max(1, length.Seconds()/50))/math.Log(1.1); float64(polls) > most {
			t.Errorf("a job of %v took %d polls, want at most %.0f", length, polls, most)
		}
	}
}

func TestRetry(t *testing.T) {
	s := DefaultSchedule()
	retryable := func(kind dli.Kind) *failure { return explain(&dli.Error{Kind: kind}, "DLIConnection a/b") }
	for name, test := range map[string]struct {
		failure *failure
		run     streak
		jitter  float64
		want    time.Duration
	}{
		"a server error is retried after a second":         {failure: retryable(dli.KindRetry), run: streak{Failures: 1}, want: time.Second},
		"then after twice that":                            {failure: retryable(dli.KindRetry), run: streak{Failures: 2}, want: 2 * time.Second},
		"an invalid answer backs off in the same way":      {failure: retryable(dli.KindInvalid), run: streak{Failures: 4}, want: 8 * time.Second},
		"to five minutes at most":                          {failure: retryable(dli.KindUnreachable), run: streak{Failures: math.MaxInt}, want: 5 * time.Minute},
		"what takes a while is given a while":              {failure: retryable(dli.KindSlow), run: streak{Failures: 1}, want: 30 * time.Second},
		"throttling without a hint":                        {failure: retryable(dli.KindThrottle), run: streak{Failures: 9}, want: 5 * time.Second},
		"the service's hint is a lower bound":              {failure: &failure{Reason: "ServerError", Kind: dli.KindRetry, RetryAfter: 42 * time.Second}, run: streak{Failures: 1}, want: 42 * time.Second},
		"what somebody must act upon is looked at in time": {failure: retryable(dli.KindPermission), run: streak{Failures: 50}, jitter: 1, want: 26400 * time.Millisecond},
		"the first NotFound": {
			failure: retryable(dli.KindNotFound), run: streak{Failures: 1, NotFound: 1, NotFoundSince: noon}, want: 30 * time.Second,
		},
		"the NotFound that can confirm": {
			failure: retryable(dli.KindNotFound), run: streak{Failures: 4, NotFound: 4, NotFoundSince: noon.Add(-110 * time.Second)}, want: 10 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.retry(test.failure, test.run, noon, test.jitter); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestFirstPoll(t *testing.T) {
	s := DefaultSchedule()
	polledAgo := func(ago time.Duration) *v1alpha1.DLIJob {
		job := startedAgo("RUNNING", 24*time.Hour)
		job.Status.LastPollTime = &metav1.Time{Time: noon.Add(-ago)}
		return job
	}
	if wait := s.firstPoll(newJob(), noon, 0); wait != 0 {
		t.Errorf("a new job waits %v, want none", wait)
	}
	if wait := s.firstPoll(polledAgo(20*time.Second), noon, 0); wait != 40*time.Second {
		t.Errorf("a job that is due in 40 s waits %v", wait)
	}
	a, b, c := s.firstPoll(polledAgo(90*time.Second), noon, 0), s.firstPoll(polledAgo(10*time.Minute), noon, 0), s.firstPoll(polledAgo(time.Hour), noon, 0)
	if a <= b || b <= c || a > time.Second {
		t.Errorf("overdue jobs wait %v, %v, %v: want the most overdue first, all within a second", a, b, c)
	}
	if wait := s.firstPoll(polledAgo(-time.Hour), noon, 0); wait > time.Minute {
		t.Errorf("a last poll in the future makes the job wait %v", wait)
	}
}

func TestWaitsEndOnATick(t *testing.T) {
	for name, test := range map[string]struct{ now, wait, want time.Duration }{
		"a short wait is kept":               {now: 7 * time.Millisecond, wait: 999 * time.Millisecond, want: 999 * time.Millisecond},
		"a wait that ends on a tick is kept": {now: 0, wait: 5 * time.Second, want: 5 * time.Second},
		"any other one ends on the next":     {now: 7 * time.Millisecond, wait: 5 * time.Second, want: 5*time.Second + 13*time.Millisecond},
		"for ever is for ever":               {now: 7 * time.Millisecond, wait: 0, want: 0},
	} {
		if got := onTick(noon.Add(test.now), test.wait); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestScheduleValidate(t *testing.T) {
	if err := DefaultSchedule().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Schedule){
		"no minimum":               func(s *Schedule) { s.PollIntervalMin = 0 },
		"maximum below minimum":    func(s *Schedule) { s.PollIntervalMax = time.Second },
		"no factor":                func(s *Schedule) { s.PollIntervalFactor = 0 },
		"factor above one":         func(s *Schedule) { s.PollIntervalFactor = 2 },
		"factor that is no number": func(s *Schedule) { s.PollIntervalFactor = math.NaN() },
		"negative refresh":         func(s *Schedule) { s.StatusRefreshInterval = -1 },
	} {
		s := DefaultSchedule()
		change(&s)
		if s.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
