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

package connection

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// may reports whether a policy admits a request at a time.
func may(p policy, at time.Time) bool {
	return p.decide(at).Admit != AdmitNone
}

func TestLockout(t *testing.T) {
	reject := func(l *lockout, began, at time.Time) {
		l.requestDone(evidence{rejected: true, failure: &Failure{}}, began, at)
	}
	accept := func(l *lockout, began, at time.Time) { l.requestDone(evidence{accepted: true}, began, at) }

	t.Run("admits one request with credentials that were never accepted", func(t *testing.T) {
		l := newLockout(DefaultProbeInterval)
		if !may(l, noon) {
			t.Fatal("the first request is not admitted")
		}
		l.begin(noon)
		if may(l, noon.Add(trialSlow-1)) {
			t.Error("a second request is admitted before the response to the first")
		}
		accept(l, noon, noon)
		for range 10 {
			if !may(l, noon) {
				t.Error("a request is not admitted after the credentials were accepted")
			}
			l.begin(noon)
		}
	})

	t.Run("admits at most five requests without a response", func(t *testing.T) {
		l := newLockout(DefaultProbeInterval)
		n := 0
		for at := noon; at.Before(noon.Add(time.Minute)); at = at.Add(100 * time.Millisecond) {
			if may(l, at) {
				l.begin(at)
				n++
			}
		}
		if n != 5 {
			t.Errorf("%d requests are in flight", n)
		}
	})

	t.Run("admits rejected credentials at most five times in any five minutes, and keeps trying", func(t *testing.T) {
		l := newLockout(DefaultProbeInterval)
		var tries []time.Time
		for at := noon; at.Before(noon.Add(time.Hour)); at = at.Add(time.Second) {
			if may(l, at) {
				tries = append(tries, at)
				l.begin(at)
				reject(l, at, at)
			}
		}
		for i := range tries {
			if i >= 5 && tries[i].Sub(tries[i-5]) <= 5*time.Minute {
				t.Errorf("six attempts within five minutes: %v to %v", tries[i-5], tries[i])
			}
		}
		if len(tries) < 50 {
			t.Errorf("%d attempts in an hour; want almost one per minute", len(tries))
		}
	})

	t.Run("counts requests in flight when a key was revoked, even at the same time", func(t *testing.T) {
		l := newLockout(DefaultProbeInterval)
		l.begin(noon)
		accept(l, noon, noon)
		for range 4 {
			l.begin(noon)
		}
		for range 4 {
			reject(l, noon, noon)
		}
		if may(l, noon.Add(29*time.Second)) {
			t.Error("a request is admitted within 30 s")
		}
		at := noon.Add(30 * time.Second)
		if !may(l, at) {
			t.Fatal("the probe is not admitted")
		}
		l.begin(at)
		reject(l, at, at)
		if may(l, noon.Add(5*time.Minute)) {
			t.Error("a sixth request within five minutes is admitted")
		}
	})

	t.Run("waits as long as the service locks the key", func(t *testing.T) {
		l := newLockout(DefaultProbeInterval)
		l.begin(noon)
		l.requestDone(evidence{rejected: true, failure: &Failure{RetryAfter: 4 * time.Minute}}, noon, noon)
		if may(l, noon.Add(4*time.Minute-1)) || !may(l, noon.Add(4*time.Minute)) {
			t.Errorf("the decision is %+v", l.decide(noon.Add(4*time.Minute)))
		}
	})

	t.Run("is not lifted by requests sent before the rejection", func(t *testing.T) {
		l := newLockout(DefaultProbeInterval)
		l.begin(noon)
		accept(l, noon, noon)
		l.begin(noon.Add(1))
		l.begin(noon.Add(2))
		reject(l, noon.Add(1), noon.Add(time.Second))
		accept(l, noon.Add(2), noon.Add(2*time.Second))
		if !l.closed() {
			t.Error("a stale response lifts it")
		}
		l.begin(noon.Add(time.Minute))
		accept(l, noon.Add(time.Minute), noon.Add(time.Minute))
		if l.closed() || !may(l, noon.Add(time.Minute)) {
			t.Error("a new response does not lift it")
		}
	})
}

func TestRecall(t *testing.T) {
	const window = lockoutWindow
	ago := func(ages ...time.Duration) (times []time.Time) {
		for _, age := range ages {
			times = append(times, noon.Add(-age))
		}
		return times
	}
	for name, test := range map[string]struct {
		own, told []time.Time
		accepted  time.Time
		locked    time.Duration
		// want is how long no request is admitted.
		want time.Duration
	}{
		"nothing":       {},
		"one rejection": {told: ago(10 * time.Second), want: 20 * time.Second},
		"an old one":    {told: ago(6 * time.Minute)},
		"four, which leave one attempt to another process": {told: ago(240*time.Second, 180*time.Second, 120*time.Second, 60*time.Second), want: 61 * time.Second},
		"its own, read back": {own: ago(250*time.Second, 200*time.Second, 150*time.Second, 100*time.Second), told: ago(250*time.Second, 200*time.Second, 150*time.Second, 100*time.Second)},
		"its own at the same time, read back": {
			own: ago(100*time.Second, 100*time.Second, 100*time.Second), told: ago(100*time.Second, 100*time.Second, 100*time.Second),
		},
		"another process's at the same time":        {told: ago(200*time.Second, 200*time.Second, 200*time.Second, 200*time.Second, 200*time.Second), want: 101 * time.Second},
		"from before the credentials were accepted": {told: ago(20 * time.Second), accepted: noon.Add(-10 * time.Second)},
		"from a clock that was set back":            {told: ago(-time.Hour), want: 30 * time.Second},
		"from the future, in addition to its own":   {own: ago(20 * time.Second), told: ago(-time.Hour), want: 10 * time.Second},
		"a lock": {told: ago(20 * time.Second), locked: 4 * time.Minute, want: 4 * time.Minute},
		"a lock that is too long because of a clock":     {told: ago(20 * time.Second), locked: 4 * time.Hour, want: window},
		"a lock of credentials that were accepted later": {told: ago(20 * time.Second), locked: time.Hour, accepted: noon},
		"all five from a clock that was set back":        {told: ago(-60*time.Second, -61*time.Second, -62*time.Second, -63*time.Second, -64*time.Second), want: window + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLockout(DefaultProbeInterval)
			l.rejected, l.acceptedAt = slices.Clone(test.own), test.accepted
			for range 3 { // like with every event of the object
				l.recall(test.told, noon.Add(test.locked), noon)
			}
			until := l.decide(noon).RecheckAt
			if got := max(until.Sub(noon), 0); got != test.want && (!until.IsZero() || test.want != 0) {
				t.Errorf("no request is admitted for %v, want %v", got, test.want)
			}
			if len(test.told) > 0 && len(l.rejected) > max(len(test.told), len(test.own)) {
				t.Errorf("%d rejections are counted", len(l.rejected))
			}
		})
	}
}

func TestRejections(t *testing.T) {
	r, now := registry(answering)
	conn := connect(t, r, now, object("a"), "t")
	_ = conn.requestDone(conn.Begin(noon, CallStatus, "job", ""), evidenceOf(&dli.Error{Kind: dli.KindAuth, RetryAfter: time.Minute}, "c"), noon)
	told := conn.Rejections(noon)
	if told == nil || len(told.Times) != 1 || !told.LockedUntil.Time.Equal(noon.Add(time.Minute)) {
		t.Fatalf("the rejections are %+v", told)
	}
	if again := conn.Rejections(noon.Add(2 * time.Minute)); again.LockedUntil != nil {
		t.Errorf("an expired lock is reported: %+v", again)
	}

	t.Run("are known after a restart", func(t *testing.T) {
		r, now := registry(answering)
		seeded := object("a")
		seeded.Status.RejectedCredentials = told
		next := connect(t, r, now, seeded, "t")
		if a := next.Decide(noon.Add(59 * time.Second)); a.Admit != AdmitNone || a.Reason.Reason != v1alpha1.ReasonCredentialsRejected {
			t.Errorf("admits %+v", a)
		}
	})
	t.Run("of other credentials do not count", func(t *testing.T) {
		r, now := registry(answering)
		seeded := object("a")
		seeded.Status.RejectedCredentials = told
		if a := connect(t, r, now, seeded, "new").Decide(noon); a.Admit == AdmitNone {
			t.Errorf("admits %+v", a)
		}
	})
	t.Run("are not reported again once another process has seen the credentials accepted", func(t *testing.T) {
		conn.Remember(told, noon)
		conn.Remember(nil, noon)
		if again := conn.Rejections(noon); again != nil {
			t.Errorf("the rejections are %+v", again)
		}
		conn.Remember(&v1alpha1.RejectedCredentials{Times: []metav1.MicroTime{}}, noon)
		at := noon.Add(2 * time.Minute)
		_ = conn.requestDone(conn.Begin(at, CallStatus, "job", ""), evidenceOf(&dli.Error{Kind: dli.KindAuth}, "c"), at)
		if again := conn.Rejections(at); again == nil {
			t.Error("a newer one is not reported")
		}
	})
}
