// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/text"
)

// credentials are the credentials of a connection, and whether DLI accepts them.
//
// Several processes may use the same ones, so one that were rejected are tried again
// only after a claim: the time before which nobody else tries them is stored in the
// connection's status, with a precondition on its resourceVersion. Only one process
// succeeds in that, and then sends one request.
type credentials struct {
	// name is the connection's in messages. Its UID and endpoint tell its credentials from the
	// same ones elsewhere.
	name, uid, endpoint string
	probe               time.Duration
	// lockoutOf returns the guard of an access key.
	lockoutOf func(key string, now time.Time) *lockout
	// fetch returns the credentials and when they expire; zero if that is unknown. Its
	// error is a *Failure if it requires user action.
	fetch func(ctx context.Context) (dli.Credentials, time.Time, error)

	current     dli.Credentials
	fingerprint string // of current, in the status
	// lockout guards the current credentials, and verdict is what DLI says of them; nil if
	// there are none.
	lockout *lockout
	verdict *verdict
	// unusable says why there are none; also nil until they are fetched for the
	// first time.
	unusable  *Failure
	fetchedAt time.Time
	// expires and renewAt are zero if the credentials have no known expiration time.
	expires, renewAt time.Time
	// isConnected is set once DLI has accepted credentials.
	isConnected bool
	// isDoubted is set if the latest fetch failed, but the credentials may still be used.
	isDoubted bool
	// stored is the latest rejectedCredentials of the connection's status.
	stored *v1alpha1.RejectedCredentials
	// isWanted is set if a job waited since the last request.
	isWanted bool
}

// decisionAt implements policy.
func (c *credentials) decisionAt(now time.Time) Decision {
	switch {
	case c.lockout == nil:
		return Decision{Admit: AdmitNone, Reason: c.unusable}
	case c.isExpired(now):
		return Decision{Admit: AdmitNone, Reason: Failf(v1alpha1.ReasonCredentialsRejected,
			"the temporary credentials of %s have expired and could not be renewed", c.name)}
	case c.verdict.isAccepted:
		return Decision{}
	case !c.isRejected():
		return c.lockout.decisionAt(now)
	case c.hasClaim():
		return Decision{Admit: AdmitProbe, Reason: c.rejectionFailure()}
	}
	return Decision{Admit: AdmitNone, Reason: c.rejectionFailure()} // until the status has a claim
}

// isRejected reports whether DLI has rejected the current credentials, as far as this
// process knows or the connection's status says.
func (c *credentials) isRejected() bool {
	return !c.verdict.isAccepted && (c.verdict.rejection != nil || c.isStored())
}

// isStored reports whether the connection's status is about the current credentials.
func (c *credentials) isStored() bool {
	return c.stored != nil && c.stored.Fingerprint == c.fingerprint
}

// hasClaim reports whether this process may try rejected credentials once.
func (c *credentials) hasClaim() bool {
	return c.lockout.claimant == c.fingerprint && c.isStored() && c.stored.LockedUntil != nil && c.stored.LockedUntil.Time.Equal(c.lockout.claim)
}

// rejectionFailure is the failure to report for rejected credentials.
func (c *credentials) rejectionFailure() *Failure {
	if c.verdict.rejection != nil {
		return c.verdict.rejection
	}
	return &Failure{Reason: v1alpha1.ReasonCredentialsRejected, Message: cmp.Or(c.stored.Message,
		"DLI rejects the credentials of "+c.name+"; put valid ones into its Secret")}
}

// requestSent records that a request is sent with the credentials.
func (c *credentials) requestSent(now time.Time) attempt {
	c.isWanted = false
	a := attempt{creds: c.current, lockout: c.lockout, verdict: c.verdict, sentAt: now, isTrial: !c.verdict.isAccepted}
	if !a.isTrial {
		return a
	}
	c.lockout.trials.requestSent(now)
	if a.isClaimed = c.hasClaim(); a.isClaimed {
		c.lockout.claim = time.Time{}
	}
	return a
}

func (c *credentials) isExpired(now time.Time) bool {
	return !c.expires.IsZero() && !now.Before(c.expires)
}

// setFetched records what fetch returned. If it failed, the last credentials are used until
// it fails again: a Secret may be about to be created anew. If these have a known expiration
// time, they are used until then.
func (c *credentials) setFetched(creds dli.Credentials, expires time.Time, failure *Failure, now time.Time) {
	c.fetchedAt = now
	isUsable := c.current != dli.Credentials{} && (!c.isDoubted || now.Before(c.expires))
	if c.isDoubted = failure != nil && isUsable; c.isDoubted {
		creds, expires = c.current, c.expires
	}
	switch {
	case failure != nil && !isUsable:
		c.current, c.unusable, c.lockout = dli.Credentials{}, failure, nil
	case c.lockout != nil && c.current == creds && c.expires.Equal(expires):
	default:
		c.current, c.expires, c.renewAt, c.unusable = creds, expires, time.Time{}, nil
		if !expires.IsZero() {
			c.renewAt = renewalTime(now, expires)
		}
		key := fingerprintOf("", dli.Credentials{AccessKeyID: creds.AccessKeyID, Token: creds.Token})[:keyLength]
		c.lockout = c.lockoutOf(key, now)
		c.verdict = c.lockout.verdictOf(fingerprintOf(c.endpoint, creds))
		c.fingerprint = key + fingerprintOf(c.uid+c.endpoint, creds)[:keyLength] // unique to the connection
	}
}

// setStored takes the rejectedCredentials of the connection's status, which this process
// or another one has written.
func (c *credentials) setStored(stored *v1alpha1.RejectedCredentials, now time.Time) {
	if equality.Semantic.DeepEqual(c.stored, stored) {
		return
	}
	if stored == nil && c.lockout != nil && c.isStored() && c.verdict.rejection != nil {
		*c.verdict = verdict{} // another process has seen the credentials accepted
	}
	c.stored = stored
	adoptStored(c.lockoutOf, stored, now)
}

// toStore returns the rejectedCredentials for the connection's status. If somebody
// waits for the next attempt and it is time for it, that is a claim.
func (c *credentials) toStore(now time.Time) *v1alpha1.RejectedCredentials {
	if c.lockout == nil {
		return c.stored
	}
	if !c.isRejected() {
		return nil
	}
	l := c.lockout
	until := l.retryAt()
	if !now.Before(until) {
		if c.isWanted && !now.Before(l.claim) {
			l.claim, l.claimant = now.Add(l.retryInterval()).Truncate(time.Microsecond), c.fingerprint
		}
		if !c.isWanted || l.claimant != c.fingerprint || c.hasClaim() {
			return c.stored
		}
		until = l.claim
	}
	return &v1alpha1.RejectedCredentials{
		Fingerprint: c.fingerprint,
		LockedUntil: &metav1.MicroTime{Time: until.Truncate(time.Microsecond)},
		Message:     text.Truncate(text.OneLine(c.rejectionFailure().Message), maxMessage),
	}
}

// maxMessage limits a message in the connection's status.
const maxMessage = 1024

// fetchDue is when to fetch the credentials again: temporary ones when they need to be
// renewed, others within a minute, and those that do not work within 30 s.
func (c *credentials) fetchDue(now time.Time) time.Time {
	switch {
	case c.fetchedAt.IsZero():
		return now
	case c.isDoubted && c.expires.IsZero():
		return c.fetchedAt.Add(confirmAfter(c.probe))
	case c.lockout == nil || c.isExpired(now) || c.isRejected():
		return c.fetchedAt.Add(retryInterval(c.probe))
	case c.renewAt.IsZero():
		return c.fetchedAt.Add(refreshInterval(c.probe))
	default:
		return Later(c.renewAt, c.fetchedAt.Add(retryInterval(c.probe)))
	}
}

// With probes every 30 s, these are 45 s and 20 s.
func refreshInterval(probe time.Duration) time.Duration { return probe * 3 / 2 }
func retryInterval(probe time.Duration) time.Duration   { return probe * 2 / 3 }

// renewalTime is when to renew credentials that expire at
// expires: when a fifth of their lifetime remains, at least five minutes, but not
// before half of it has passed.
func renewalTime(now, expires time.Time) time.Time {
	life := expires.Sub(now)
	return expires.Add(-min(max(life/5, 5*time.Minute), life/2))
}

// fingerprintOf identifies credentials at a place without revealing them.
func fingerprintOf(place string, creds dli.Credentials) string {
	sum := sha256.New()
	for _, part := range []string{place, creds.AccessKeyID, creds.SecretAccessKey, creds.SecurityToken, creds.Token} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
