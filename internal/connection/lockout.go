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
	"maps"
	"slices"
	"time"
)

// Limits of attempts with credentials that DLI has rejected. More than five
// consecutive signature failures lock an access key for all its users.
const (
	lockoutWindow   = 5 * time.Minute
	lockoutFailures = 5
	// A request that takes longer than this rarely shows whether the credentials
	// are valid, so another job is polled in the meantime.
	trialSlow = time.Second
)

// lockout guards one set of credentials at one endpoint, for all connections
// that use it. Credentials that were never accepted are tried with one request at a
// time, or up to five slow ones; rejected ones with one at a time, once per probe
// interval, and at most five times in any five minutes.
type lockout struct {
	probe    time.Duration
	proven   bool
	inFlight inFlight
	// rejected holds the times of the latest rejections, at most lockoutFailures,
	// since the credentials were last accepted.
	rejected    []time.Time
	lockedUntil time.Time
	// others is set if another process saw some of them. It may be about to try,
	// too, so one attempt is left for it.
	others bool
	// failure is the last rejection; nil if it is only known from the API server.
	failure          *Failure
	acceptedAt, used time.Time
	// users counts the connections that use the credentials.
	users int
}

func newLockout(probe time.Duration) *lockout {
	return &lockout{probe: probe, inFlight: inFlight{limit: 1, most: lockoutFailures, slow: trialSlow}}
}

// closed reports whether the latest verdict on the credentials was a rejection.
func (l *lockout) closed() bool { return len(l.rejected) > 0 }

// decide implements policy.
func (l *lockout) decide(now time.Time) Decision {
	if l.proven {
		return Decision{}
	}
	sendAt := l.lockedUntil
	if n := len(l.rejected); n > 0 {
		sendAt = later(sendAt, l.rejected[n-1].Add(l.probe))
		tries := lockoutFailures
		if l.others {
			tries--
		}
		if n >= tries {
			sendAt = later(sendAt, l.rejected[n-tries].Add(lockoutWindow+time.Second))
		}
	}
	if now.Before(sendAt) {
		return waitUntil(sendAt, l.failure)
	}
	decision := l.inFlight.decide(now)
	decision.Reason = l.failure
	if l.closed() && len(l.inFlight.sentAt) > 0 {
		decision = Decision{Admit: AdmitNone, Reason: l.failure}
	}
	if decision.Admit == AdmitNone {
		// The request in flight may belong to another connection, and this one is not
		// notified when it returns.
		decision.RecheckAt = Sooner(decision.RecheckAt, now.Add(trialSlow))
	}
	decision.Admit = max(decision.Admit, AdmitProbe)
	return decision
}

// begin records that a request with the credentials is sent. Each must end.
func (l *lockout) begin(now time.Time) {
	l.inFlight.begin(now)
	l.used = now
}

// requestDone records what a request showed about the credentials.
func (l *lockout) requestDone(e evidence, sentAt, now time.Time) {
	l.inFlight.end(sentAt)
	l.used = now
	// A request that was sent before the last rejection arrived proves nothing: the
	// credentials may have been revoked in between.
	stale := l.closed() && !sentAt.After(l.rejected[len(l.rejected)-1])
	switch {
	case e.accepted && !stale:
		l.proven, l.rejected, l.lockedUntil, l.others, l.failure = true, nil, time.Time{}, false, nil
		l.acceptedAt = now
	case e.rejected:
		l.proven, l.failure = false, e.failure
		l.lockedUntil = later(l.lockedUntil, now.Add(e.failure.RetryAfter))
		l.reject(now)
	case !e.accepted && l.closed() && (!stale || l.acceptedAt.IsZero()):
		// The service may have counted it as a failure.
		l.reject(now)
	}
}

func (l *lockout) reject(at time.Time) {
	l.rejected = append(l.rejected, at)
	slices.SortFunc(l.rejected, time.Time.Compare)
	if surplus := len(l.rejected) - lockoutFailures; surplus > 0 {
		l.rejected = slices.Delete(l.rejected, 0, surplus)
	}
}

// sameMicrosecond reports whether two times are equal with the API's precision.
func sameMicrosecond(a, b time.Time) bool {
	return a.Truncate(time.Microsecond).Equal(b.Truncate(time.Microsecond))
}

// recall adds rejections that another process, or this one before a restart, has
// seen: those that are still relevant at now and came after the credentials were
// last accepted. One in the future, because a clock was set back, only counts if
// nothing else is known.
func (l *lockout) recall(times []time.Time, lockedUntil, now time.Time) {
	if n := len(times); n == 0 || !times[n-1].After(l.acceptedAt) {
		return
	}
	known := slices.Clone(l.rejected)
	closed := l.closed()
	for _, at := range times {
		if i := slices.IndexFunc(known, func(k time.Time) bool { return sameMicrosecond(k, at) }); i >= 0 {
			// It keeps its monotonic time. Several may have the same time.
			known = slices.Delete(known, i, i+1)
			continue
		}
		if age := now.Sub(at); age < lockoutWindow && (age >= 0 || !closed) {
			// Without a monotonic reading, a later clock jump would move it.
			l.reject(now.Add(-max(age, 0)))
			l.others = true
		}
	}
	if left := lockedUntil.Sub(now); left > 0 {
		l.lockedUntil = later(l.lockedUntil, now.Add(min(left, lockoutWindow)))
	}
	if l.closed() {
		l.proven = false
	}
}

// forgettable reports whether nothing about the credentials is relevant at now.
func (l *lockout) forgettable(now time.Time) bool {
	return len(l.inFlight.sentAt) == 0 && now.Sub(l.used) > lockoutWindow && now.After(l.lockedUntil)
}

// lockouts holds the guard of every set of credentials in use, and of unused ones
// while their rejections are relevant.
type lockouts struct {
	probe         time.Duration
	byFingerprint map[string]*lockout
}

// of returns the guard of credentials, which is shared by all connections that use
// the same credentials at the same endpoint.
func (l *lockouts) of(fingerprint string, now time.Time) *lockout {
	found := l.byFingerprint[fingerprint]
	if found == nil {
		maps.DeleteFunc(l.byFingerprint, func(_ string, l *lockout) bool { return l.users == 0 && l.forgettable(now) })
		found = newLockout(l.probe)
		l.byFingerprint[fingerprint] = found
	}
	found.used = later(found.used, now)
	return found
}
