// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"math"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestInterval(t *testing.T) {
	for name, test := range map[string]struct {
		fixed, running time.Duration
		state          dli.State
		jitter         float64
		want           time.Duration
	}{
		"a job that just started waits the minimum": {running: time.Second, state: dli.StateRunning, want: 5 * time.Second},
		"a tenth of the running time":               {running: 3 * time.Minute, state: dli.StateRunning, want: 18 * time.Second},
		"a long job waits the maximum":              {running: 24 * time.Hour, state: dli.StateRunning, want: time.Minute},
		"jitter changes it by up to a tenth":        {running: 3 * time.Minute, state: dli.StateRunning, jitter: -1, want: 16200 * time.Millisecond},
		"an unrecognized state is polled slowly":    {running: time.Second, want: time.Minute},
		"a start in the future waits the minimum":   {running: -time.Hour, state: dli.StateRunning, want: 5 * time.Second},
		"a start long ago does not overflow":        {running: math.MaxInt64, state: dli.StateRunning, want: time.Minute},
		"a fixed interval is kept to the second":    {fixed: time.Hour, running: time.Second, state: dli.StateRunning, jitter: 1, want: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			if got := DefaultSchedule().pollInterval(ranFor(test.fixed, test.state, test.running), noon, test.jitter); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}

	t.Run("a launching job is as old as its DLIJob", func(t *testing.T) {
		j := &job{failures: noFailures, state: dli.StateLaunching, firstSeen: noon.Add(-time.Hour), started: noon}
		if got := DefaultSchedule().pollInterval(j, noon, 0); got != time.Minute {
			t.Errorf("got %v", got)
		}
	})
}

// ranFor returns a job with an interval of its own, 0 for none, that has run for a while.
func ranFor(fixed time.Duration, state dli.State, running time.Duration) *job {
	return &job{target: Target{Interval: fixed}, failures: noFailures, state: state, started: noon.Add(-running)}
}

// The schedule guarantees that the end of a job that runs for T is noticed at most T/10
// or 5 s late, with about ln(T) polls.
func TestAdaptiveInterval(t *testing.T) {
	s := DefaultSchedule()
	for _, length := range []time.Duration{time.Second, 7 * time.Second, time.Minute, 9 * time.Minute} {
		at, polls := time.Duration(0), 0
		for at < length {
			at += s.pollInterval(ranFor(0, dli.StateRunning, at), noon, 0)
			polls++
		}
		if late, allowed := at-length, max(length/10, 5*time.Second); late > allowed {
			t.Errorf("the end of a job of %v is noticed %v late, want at most %v", length, late, allowed)
		}
		// In the first 50 s, polls are the minimum apart; after that, each interval is
		// a tenth of the running time.
		if most := 11 + math.Log(max(1, length.Seconds()/50))/math.Log(1.1); float64(polls) > most {
			t.Errorf("a job of %v took %d polls, want at most %.0f", length, polls, most)
		}
	}
}

func TestRetry(t *testing.T) {
	s := DefaultSchedule()
	of := func(reason string, kind dli.Kind) *connection.Failure {
		return &connection.Failure{Reason: reason, Kind: kind}
	}
	gone := func(n int, ago time.Duration) FailureStreak {
		return FailureStreak{Count: n, NotFound: n, NotFoundSince: noon.Add(-ago)}
	}
	for name, test := range map[string]struct {
		failure *connection.Failure
		run     FailureStreak
		jitter  float64
		want    time.Duration
	}{
		"a server error is retried after a second":            {failure: of("ServerError", dli.KindRetry), run: FailureStreak{Count: 1}, want: time.Second},
		"then after twice the time":                           {failure: of("ServerError", dli.KindRetry), run: FailureStreak{Count: 2}, want: 2 * time.Second},
		"an invalid response backs off in the same way":       {failure: of("InvalidResponse", dli.KindInvalid), run: FailureStreak{Count: 4}, want: 8 * time.Second},
		"up to a minute":                                      {failure: of("InvalidResponse", dli.KindInvalid), run: FailureStreak{Count: math.MaxInt}, want: time.Minute},
		"a longer problem is retried later":                   {failure: of("ServerError", dli.KindSlow), run: FailureStreak{Count: 1}, want: 30 * time.Second},
		"an endpoint failure is retried soon":                 {failure: &connection.Failure{Reason: "EndpointUnreachable", Endpoint: true}, run: FailureStreak{Count: 50}, jitter: 1, want: 26400 * time.Millisecond},
		"the service's hint is a lower bound":                 {failure: &connection.Failure{Reason: "ServerError", Kind: dli.KindRetry, RetryAfter: 42 * time.Second}, run: FailureStreak{Count: 1}, want: 42 * time.Second},
		"a failure that requires user action is retried soon": {failure: of("PermissionDenied", dli.KindPermission), run: FailureStreak{Count: 50}, jitter: 1, want: 26400 * time.Millisecond},
		"the first NotFound":                                  {failure: of("JobNotFound", dli.KindNotFound), run: gone(1, 0), want: 30 * time.Second},
		"the NotFound that may confirm":                       {failure: of("JobNotFound", dli.KindNotFound), run: gone(4, 110*time.Second), want: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.retryWait(test.failure, test.run, noon, test.jitter); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestFirstPoll(t *testing.T) {
	s := DefaultSchedule()
	long := func(last time.Time, fixed time.Duration) *job {
		return newJob(Target{Interval: fixed, Known: &Known{State: dli.StateRunning, LastPoll: last, Running: time.Hour}}, noon)
	}
	after := func(ago time.Duration) time.Duration { return s.firstPoll(long(noon.Add(-ago), 0), noon, 0) }
	if wait := s.firstPoll(long(time.Time{}, 0), noon, 0); wait != 0 {
		t.Errorf("a new job waits %v, want 0", wait)
	}
	if wait := after(20 * time.Second); wait != 40*time.Second {
		t.Errorf("a job that is due in 40 s waits %v", wait)
	}
	if a, b, c := after(90*time.Second), after(10*time.Minute), after(time.Hour); a <= b || b <= c || a > time.Second {
		t.Errorf("overdue jobs wait %v, %v, %v: want the most overdue first, all within a second", a, b, c)
	}
	for _, jitter := range []float64{-1, -0.5, 0, 0.5} {
		if wait, want := s.firstPoll(long(noon.Add(-time.Hour), 20*time.Second), noon, jitter), time.Duration(10*(1+jitter))*time.Second; wait != want {
			t.Errorf("an overdue job with a fixed interval waits %v, want %v: spread over it", wait, want)
		}
	}
	if wait := after(-time.Hour); wait > time.Minute {
		t.Errorf("a last poll in the future makes the job wait %v", wait)
	}
}

func TestOnTick(t *testing.T) {
	for name, test := range map[string]struct{ now, wait, want time.Duration }{
		"a short wait is kept":                {now: 7 * time.Millisecond, wait: 999 * time.Millisecond, want: 999 * time.Millisecond},
		"a wait that ends on a tick is kept":  {now: 0, wait: 5 * time.Second, want: 5 * time.Second},
		"any other one ends on the next tick": {now: 7 * time.Millisecond, wait: 5 * time.Second, want: 5*time.Second + 13*time.Millisecond},
		"no wait is kept":                     {now: 7 * time.Millisecond, wait: 0, want: 0},
	} {
		now := noon.Add(test.now)
		if got := onTick(now, test.wait).Sub(now); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestScheduleValidate(t *testing.T) {
	if err := DefaultSchedule().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Schedule){
		"no minimum":            func(s *Schedule) { s.PollIntervalMin = 0 },
		"maximum below minimum": func(s *Schedule) { s.PollIntervalMax = time.Second },
		"no factor":             func(s *Schedule) { s.PollIntervalFactor = 0 },
		"factor above one":      func(s *Schedule) { s.PollIntervalFactor = 2 },
		"factor NaN":            func(s *Schedule) { s.PollIntervalFactor = math.NaN() },
		"negative refresh":      func(s *Schedule) { s.StatusRefreshInterval = -1 },
	} {
		s := DefaultSchedule()
		change(&s)
		if s.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestNotFoundIsConfirmed(t *testing.T) {
	gone := &connection.Failure{Reason: v1alpha1.ReasonJobNotFound}
	for name, test := range map[string]struct {
		answers []time.Duration
		between *connection.Failure
		want    bool
	}{
		"one response":           {answers: []time.Duration{0}},
		"three in a second":      {answers: []time.Duration{0, 1, 2}},
		"two over an hour":       {answers: []time.Duration{0, time.Hour}},
		"three over two minutes": {answers: []time.Duration{0, time.Minute, 2 * time.Minute}, want: true},
		"three with another failure in between": {
			answers: []time.Duration{0, time.Minute, 2 * time.Minute}, between: &connection.Failure{Reason: "ServerError"}, want: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var run FailureStreak
			for _, at := range test.answers {
				run = run.afterFailure(gone, noon.Add(at), noon.Add(at+time.Hour))
				if test.between != nil {
					run = run.afterFailure(test.between, noon.Add(at), noon.Add(at))
				}
			}
			last := noon.Add(test.answers[len(test.answers)-1])
			if got := run.ConfirmsNotFound(last, 2*time.Minute); got != test.want {
				t.Errorf("believed: %v, want %v", got, test.want)
			}
		})
	}
}

// The grace period of a job begins with the first failure that requires user action, and ends
// with another failure.
func TestUnreadableSince(t *testing.T) {
	denied, busy := connection.Failf(v1alpha1.ReasonPermissionDenied, "denied"), connection.Failf(v1alpha1.ReasonServerError, "busy")
	streak := FailureStreak{}.afterFailure(denied, noon, noon).heldBack(denied, noon.Add(time.Minute)).afterFailure(denied, noon, noon.Add(time.Hour))
	if !streak.UnreadableSince.Equal(noon) {
		t.Errorf("after three failures: %+v", streak)
	}
	if streak = streak.afterFailure(busy, noon, noon); !streak.UnreadableSince.IsZero() {
		t.Errorf("after another failure: %+v", streak)
	}
}
