// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// More than five consecutive wrong signatures within lockoutWindow lock an access key for all
// its users.
const (
	lockoutWindow = 5 * time.Minute
	// maxTrials limits the requests in flight, all but one slow, with credentials that were
	// not accepted.
	maxTrials = 5
	// A request that takes longer than this rarely shows whether the credentials
	// are valid, so another job is polled in the meantime.
	trialSlow = time.Second
	// maxVerdicts limits how many sets of credentials are told apart.
	maxVerdicts = 100
)

// lockout guards one access key, for all connections of the process that use it with
// whatever secret and at whatever endpoint. Wrong signatures are limited to two at once and
// one more per retryInterval, so to four within lockoutWindow. All but the latest stand in
// the status of a connection: a process that is killed leaves one at most that its successor
// does not know of, which makes five.
//
// Credentials that were not accepted yet are tried with one request at a time, or with a few
// slow ones while none was rejected lately. Those that were rejected are tried again when
// none counts any more; see credentials.
type lockout struct {
	probe time.Duration
	// verdicts are by the fingerprint of the credentials.
	verdicts map[string]*verdict
	// trials are the requests in flight with credentials that are not accepted.
	trials inFlight
	// countUntil is when no wrong signature counts any more: each moves it ahead by
	// retryInterval. unstored is its value after the latest one that no status has yet; zero
	// if there is none.
	countUntil, unstored time.Time
	// lockedUntil is when credentials may be tried because DLI has locked the key until then.
	lockedUntil time.Time
	// claim is the time in a connection's status with which it may try its rejected credentials
	// once, and claimant their fingerprint there; zero if it did.
	claim    time.Time
	claimant string
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
// probes every 30 s, a third of lockoutWindow.
func (l *lockout) retryInterval() time.Duration { return l.probe * 10 / 3 }

// retryAt is when rejected credentials may be tried again.
func (l *lockout) retryAt() time.Time { return Later(l.countUntil, l.lockedUntil) }

// decisionAt returns whether credentials may be tried that were neither accepted nor
// rejected.
func (l *lockout) decisionAt(now time.Time) Decision {
	mayAt := Later(l.lockedUntil, l.countUntil.Add(-l.retryInterval()))
	wasRejected := now.Before(l.countUntil.Add(lockoutWindow))
	switch {
	case now.Before(mayAt):
		return waitUntil(mayAt, nil)
	case now.Before(l.unstored), wasRejected && len(l.trials.sentAt) > 0, l.trials.decisionAt(now).Admit == AdmitNone:
		// Another connection is not notified when its request returns.
		return waitUntil(now.Add(trialSlow), nil)
	}
	return Decision{Admit: AdmitProbe}
}

// attempt is what a request is to the credentials that it uses.
type attempt struct {
	creds   dli.Credentials
	lockout *lockout
	verdict *verdict
	sentAt  time.Time
	// isTrial is set if DLI has not accepted the credentials, and isClaimed if it has rejected
	// them.
	isTrial, isClaimed bool
}

// requestDone records what a request showed about its credentials: one for a status, if
// isStatus is set. It reports whether a rejection is to be confirmed first, by the next request.
func (a *attempt) requestDone(isStatus bool, failure *Failure, now time.Time) (isDoubtful bool) {
	l := a.lockout
	if a.isTrial {
		l.trials.requestDone(a.sentAt)
	}
	wasAccepted := a.verdict.isAccepted
	switch {
	case failure.isAccepting():
		// A request that was sent before the last rejection arrived proves nothing: the
		// credentials may have been revoked in between.
		if a.sentAt.After(a.verdict.rejectedAt) {
			*a.verdict, l.lockedUntil = verdict{isAccepted: true}, time.Time{}
		}
	case failure.isRejection() && isStatus:
		l.addRejection(a.isClaimed, failure.RetryAfter, now)
		*a.verdict = verdict{rejection: failure, rejectedAt: now}
		if wasAccepted {
			a.verdict.rejection, l.lockedUntil = nil, Later(l.lockedUntil, now.Add(confirmAfter(l.probe)))
			return true
		}
		l.unstored = l.countUntil
	case failure.isRejection() && wasAccepted:
		*a.verdict = verdict{} // it may be this API call alone; the next status call shows it
	}
	return false
}

// addRejection records a wrong signature, which counts already if it was claimed. retryAfter
// is how long DLI locks the key; 0 if it does not say.
func (l *lockout) addRejection(isClaimed bool, retryAfter time.Duration, now time.Time) {
	if isClaimed {
		l.countUntil = Later(l.countUntil, now.Add(l.retryInterval()))
	} else {
		l.countUntil = Sooner(Later(l.countUntil, now).Add(l.retryInterval()), now.Add(lockoutWindow))
	}
	l.lockedUntil = Later(l.lockedUntil, now.Add(min(retryAfter, lockoutWindow)))
}

// adoptStored takes what a connection's status says about an access key, whatever the
// connection uses now. A time that is too far away comes from a clock that was set back.
func adoptStored(lockoutOf func(key string, now time.Time) *lockout, stored *v1alpha1.RejectedCredentials, now time.Time) {
	if stored == nil || stored.LockedUntil == nil || len(stored.Fingerprint) < keyLength {
		return
	}
	l := lockoutOf(stored.Fingerprint[:keyLength], now)
	l.countUntil = Later(l.countUntil, now.Add(min(stored.LockedUntil.Sub(now), lockoutWindow)))
	if !stored.LockedUntil.Time.Before(l.unstored.Truncate(time.Microsecond)) {
		l.unstored = time.Time{}
	}
}

// confirmAfter is how long after the first failure the next attempt confirms it: 3 s.
func confirmAfter(probe time.Duration) time.Duration { return probe / 10 }

// keyLength is the length of the part of a fingerprint that is about the access key alone,
// in which statuses are compared; the rest is about all of the credentials.
const keyLength = 16
