// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"maps"
	"time"
)

// Limits of attempts with an access key. More than five consecutive wrong signatures
// lock it for all its users.
const (
	lockoutWindow   = 5 * time.Minute
	lockoutFailures = 5
	// A request that takes longer than this rarely shows whether the credentials
	// are valid, so another job is polled in the meantime.
	trialSlow = time.Second
	// maxVerdicts limits how many sets of credentials are told apart.
	maxVerdicts = 100
)

// lockout guards one access key, for all connections of the process that use it with
// whatever secret and at whatever endpoint. Credentials that were not accepted yet are
// tried with one request at a time, or with a few slow ones, as long as fewer than five
// wrong signatures were sent within five minutes. Those that were rejected are tried
// again at retryAt; see credentials.
type lockout struct {
	probe time.Duration
	// verdicts are by the fingerprint of the credentials.
	verdicts map[string]*verdict
	// trials are the requests in flight with credentials that are not accepted.
	trials inFlight
	// rejected holds the times of the latest wrong signatures, oldest first.
	rejected []time.Time
	// retryAt is when rejected credentials may be tried again, and lockedUntil when any
	// may that are not accepted, because DLI has locked the key.
	retryAt, lockedUntil time.Time
}

// verdict is what DLI said last of credentials; the zero value is nothing.
type verdict struct {
	isAccepted bool
	rejection  *Failure
	rejectedAt time.Time // also while a rejection is to be confirmed
}

// verdictOf returns the verdict of credentials.
func (l *lockout) verdictOf(fingerprint string) *verdict {
	if l.verdicts[fingerprint] == nil {
		if len(l.verdicts) >= maxVerdicts {
			clear(l.verdicts)
		}
		l.verdicts[fingerprint] = &verdict{}
	}
	return l.verdicts[fingerprint]
}

// retryInterval is the time between two attempts with rejected credentials: 100 s with
// probes every 30 s. Three of five attempts leave some to new credentials and to another
// process that does not know yet.
func (l *lockout) retryInterval() time.Duration { return l.probe * 10 / 3 }

// decisionAt returns whether credentials may be tried that were neither accepted nor
// rejected.
func (l *lockout) decisionAt(now time.Time) Decision {
	tries := len(l.recentRejections(now)) + len(l.trials.sentAt)
	switch {
	case now.Before(l.lockedUntil):
		return waitUntil(l.lockedUntil, nil)
	case tries >= lockoutFailures || l.trials.decisionAt(now).Admit == AdmitNone:
		// Another connection is not notified when its request returns.
		return waitUntil(now.Add(trialSlow), nil)
	}
	return Decision{Admit: AdmitProbe}
}

// recentRejections returns the times of wrong signatures that still count.
func (l *lockout) recentRejections(now time.Time) []time.Time {
	for len(l.rejected) > 0 && now.Sub(l.rejected[0]) > lockoutWindow {
		l.rejected = l.rejected[1:]
	}
	return l.rejected
}

// requestDone records what a request showed about the credentials. It reports whether a
// rejection is to be confirmed first, by the next request.
func (l *lockout) requestDone(r *Request, failure *Failure, now time.Time) (isDoubtful bool) {
	if r.isTrial {
		l.trials.requestDone(r.sentAt)
	}
	rejection, wasAccepted := r.verdict.rejection, r.verdict.isAccepted
	switch {
	case failure.isAccepting():
		// A request that was sent before the last rejection arrived proves nothing: the
		// credentials may have been revoked in between.
		if r.sentAt.After(r.verdict.rejectedAt) {
			*r.verdict, l.lockedUntil = verdict{isAccepted: true}, time.Time{}
		}
	case failure.isRejection() && r.call == CallStatus:
		l.addRejection(failure.RetryAfter, now)
		*r.verdict = verdict{rejection: failure, rejectedAt: now}
		if wasAccepted {
			r.verdict.rejection, l.lockedUntil = nil, Later(l.lockedUntil, now.Add(confirmAfter(l.probe)))
		}
		return wasAccepted
	case failure.isRejection() && wasAccepted:
		*r.verdict = verdict{} // it may be this API call alone; the next status call shows it
	case rejection != nil && r.isTrial:
		l.addRejection(0, now) // the service may have counted it as a wrong signature
	}
	return false
}

// addRejection records a wrong signature. retryAfter is how long DLI locks the key; 0 if it
// does not say.
func (l *lockout) addRejection(retryAfter time.Duration, now time.Time) {
	l.rejected = append(l.recentRejections(now), now)
	if surplus := len(l.rejected) - lockoutFailures; surplus > 0 {
		l.rejected = l.rejected[surplus:]
	}
	l.lockedUntil = Later(l.lockedUntil, now.Add(min(retryAfter, lockoutWindow)))
	l.retryAt = Later(Later(l.retryAt, now.Add(l.retryInterval())), l.lockedUntil)
	// One of five attempts is left to new credentials.
	if surplus := len(l.rejected) - (lockoutFailures - 1); surplus >= 0 {
		l.retryAt = Later(l.retryAt, l.rejected[surplus].Add(lockoutWindow))
	}
}

// lockoutOf returns the guard of an access key.
func (r *Registry) lockoutOf(key string, now time.Time) *lockout {
	found := r.lockouts[key]
	if found == nil {
		r.dropLockouts(now)
		found = &lockout{
			probe: r.options.ProbeInterval, verdicts: map[string]*verdict{},
			trials: inFlight{limit: 1, most: lockoutFailures, slow: trialSlow},
		}
		r.lockouts[key] = found
	}
	return found
}

// dropLockouts drops the guards of access keys that no connection uses and that say
// nothing any more.
func (r *Registry) dropLockouts(now time.Time) {
	used := map[*lockout]bool{}
	for _, conn := range r.connections {
		used[conn.credentials.lockout] = true
	}
	maps.DeleteFunc(r.lockouts, func(_ string, l *lockout) bool {
		return !used[l] && len(l.trials.sentAt)+len(l.recentRejections(now)) == 0 && now.After(l.lockedUntil)
	})
}
