// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"math"
	"testing"
	"time"
)

func TestThrottleRate(t *testing.T) {
	at := func(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }
	throttled := func(limit float64) *throttle {
		t := &throttle{configured: limit, burst: limit}
		t.slowDown(&Failure{RetryAfter: time.Second}, false, noon)
		return t // until 1 s after noon
	}
	t.Run("is reduced, then stays just below the throttled rate, then grows again", func(t *testing.T) {
		th := throttled(100)
		for seconds, want := range map[float64]float64{0: 70, 1: 70, 6: 82.5, 11: 95, 55: 95, 60: 98, 70: 100, 1000: 100} {
			if got := th.currentRate(at(seconds)); math.Abs(got-want) > 1 {
				t.Errorf("after %v s the rate is %.1f, want %.1f", seconds, got, want)
			}
		}
		if may(th, at(0.9)) || !may(th, at(1)) {
			t.Error("there is no pause")
		}
		if !th.isAdapted(at(50)) || th.isAdapted(at(100)) {
			t.Error("wrongly considered adapted")
		}
	})
	for hint, want := range map[time.Duration]time.Duration{0: 5 * time.Second, 7 * time.Second: 7 * time.Second, 24 * time.Hour: 10 * time.Minute} {
		th := &throttle{configured: 100, burst: 100}
		th.slowDown(&Failure{RetryAfter: hint}, false, noon)
		if may(th, noon.Add(want-1)) || !may(th, noon.Add(want)) {
			t.Errorf("with a hint of %v, it does not wait %v", hint, want)
		}
	}
	t.Run("is reduced once for all requests in flight", func(t *testing.T) {
		th := throttled(100)
		for i := range 50 {
			th.slowDown(&Failure{RetryAfter: time.Second}, false, at(float64(i)/100))
		}
		if got := th.currentRate(at(1)); got != 70 {
			t.Errorf("the rate is %v", got)
		}
	})
	t.Run("is reduced again after an admitted request", func(t *testing.T) {
		th := throttled(100)
		th.requestAccepted(at(0.5)) // sent before
		th.slowDown(&Failure{RetryAfter: time.Second}, false, at(1))
		if got := th.currentRate(at(2)); got != 70 {
			t.Errorf("the rate is %v", got)
		}
		th.requestAccepted(at(2))
		th.slowDown(&Failure{RetryAfter: time.Second}, false, at(2))
		if got := th.currentRate(at(3)); math.Abs(got-49) > 0.1 {
			t.Errorf("the rate is %v", got)
		}
	})
	t.Run("is not reduced for one job that is throttled repeatedly while others are not", func(t *testing.T) {
		th := throttled(100)
		th.requestAccepted(at(2))
		th.slowDown(&Failure{RetryAfter: time.Second}, true, at(3))
		if !may(th, at(3)) {
			t.Error("all jobs wait because of one")
		}
	})
	t.Run("never falls below one request in five seconds", func(t *testing.T) {
		th := &throttle{configured: 100, burst: 100}
		for i := range 100 {
			th.slowDown(&Failure{}, false, at(float64(10*i)))
			th.requestAccepted(at(float64(10*i + 5)))
		}
		if got := th.currentRate(at(1000)); got < 0.2 {
			t.Errorf("the rate is %v", got)
		}
	})
}

func TestRateLimit(t *testing.T) {
	th := &throttle{configured: 20, burst: 20}
	burst := func(at time.Time) (n int) {
		for ; may(th, at); n++ {
			th.requestSent(at)
		}
		return n
	}
	if n, d := burst(noon), th.decisionAt(noon); n != 20 || d.RecheckAt.Sub(noon) != 50*time.Millisecond {
		t.Errorf("%d requests, then %+v", n, d)
	}
	th.slowDown(&Failure{RetryAfter: time.Second}, false, noon)
	if n := burst(noon.Add(50 * time.Second)); n != 1 {
		t.Errorf("a burst of %d at an adapted rate", n)
	}
	if n := burst(noon.Add(10 * time.Minute)); n > 20 {
		t.Errorf("a burst of %d at the configured rate", n)
	}
	if n := burst(noon.Add(20 * time.Minute)); n != 20 {
		t.Errorf("a burst of %d at the configured rate", n)
	}
}

func TestInFlight(t *testing.T) {
	f := &inFlight{limit: 2, most: 8, slow: slowAfter}
	n := 0
	for at := noon; at.Before(noon.Add(20 * time.Second)); at = at.Add(time.Second) {
		for may(f, at) {
			f.requestSent(at)
			n++
		}
		if want := min(2+2*int(at.Sub(noon)/slowAfter), 8); n != want {
			t.Errorf("%d in flight after %v, want %d", n, at.Sub(noon), want)
		}
	}
	f.requestDone(noon)
	if !may(f, noon.Add(20*time.Second)) {
		t.Error("a released slot is not used")
	}
}
