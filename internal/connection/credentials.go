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
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/text"
)

// credentials are the credentials of a connection, and whether DLI accepts them.
type credentials struct {
	// fetch returns the credentials and when they expire; zero if that is unknown. Its
	// error is a *Failure if it requires user action.
	fetch    func(ctx context.Context) (dli.Credentials, time.Time, error)
	endpoint string
	// salt makes the fingerprints in the API unique to this connection.
	salt string
	// name is the name of the connection in messages.
	name     string
	lockouts *lockouts

	current dli.Credentials
	// lockout guards the current credentials; nil if there are none.
	lockout *lockout
	// unusable says why there are none; also nil until they are fetched for the
	// first time.
	unusable  *Failure
	fetchedAt time.Time
	// expires and renewAt are zero if the credentials have no known expiration time.
	expires, renewAt time.Time
	// connected is set once DLI has accepted credentials.
	connected bool
	// remembered is the latest rejectedCredentials of the connection's status.
	remembered *v1alpha1.RejectedCredentials
	// refuted is the latest rejection after which another process saw the
	// credentials accepted, and so removed the rejections from the status.
	refuted time.Time
}

// decide implements policy.
func (c *credentials) decide(now time.Time) Decision {
	switch {
	case c.unusable != nil:
		return Decision{Admit: AdmitNone, Reason: c.unusable}
	case c.lockout == nil:
		return Decision{Admit: AdmitNone}
	case c.isExpired(now):
		return Decision{Admit: AdmitNone, Reason: Failf(v1alpha1.ReasonCredentialsRejected,
			"the temporary credentials of %s have expired and could not be renewed", c.name)}
	}
	decision := c.lockout.decide(now)
	if c.lockout.closed() && decision.Reason == nil {
		decision.Reason = Failf(v1alpha1.ReasonCredentialsRejected, "DLI rejects the credentials of %s; put valid ones into its Secret", c.name)
	}
	return decision
}

func (c *credentials) isExpired(now time.Time) bool {
	return !c.expires.IsZero() && !now.Before(c.expires)
}

// use sets the lockout of the current credentials; nil for none.
func (c *credentials) use(l *lockout) {
	if c.lockout != nil {
		c.lockout.users--
	}
	if l != nil {
		l.users++
	}
	c.lockout = l
}

// fetched records what fetch returned. Old credentials with a known
// expiration time are used until then if there are no new ones.
func (c *credentials) fetched(creds dli.Credentials, expires time.Time, failure *Failure, now time.Time) {
	c.fetchedAt = now
	switch {
	case failure != nil && c.lockout != nil && now.Before(c.expires):
		// The next fetch tries again.
	case failure != nil:
		c.unusable = failure
		c.use(nil)
	case c.lockout != nil && c.current == creds && c.expires.Equal(expires):
	default:
		c.current, c.expires, c.renewAt, c.unusable = creds, expires, time.Time{}, nil
		if !expires.IsZero() {
			c.renewAt = renewal(now, expires)
		}
		c.use(c.lockouts.of(fingerprint(c.endpoint, creds), now))
		c.recall(now)
	}
}

// remember takes the rejections from the connection's status, seen by this process
// before a restart or by another one.
func (c *credentials) remember(stored *v1alpha1.RejectedCredentials, now time.Time) {
	was := c.remembered
	if was != nil && stored == nil && len(was.Times) > 0 && c.lockout != nil && was.Fingerprint == c.fingerprint() {
		c.refuted = was.Times[len(was.Times)-1].Time
	}
	c.remembered = stored
	c.recall(now)
}

func (c *credentials) recall(now time.Time) {
	if c.remembered == nil || c.lockout == nil || c.remembered.Fingerprint != c.fingerprint() {
		return
	}
	times := make([]time.Time, len(c.remembered.Times))
	for i, at := range c.remembered.Times {
		times[i] = at.Time
	}
	var lockedUntil time.Time
	if c.remembered.LockedUntil != nil {
		lockedUntil = c.remembered.LockedUntil.Time
	}
	c.lockout.recall(times, lockedUntil, now)
	if c.lockout.closed() && c.lockout.failure == nil && c.remembered.Message != "" {
		c.lockout.failure = ParseFailure(v1alpha1.ReasonCredentialsRejected, c.remembered.Message)
	}
}

// rejections returns the rejectedCredentials for the connection's status.
func (c *credentials) rejections(now time.Time) *v1alpha1.RejectedCredentials {
	if c.lockout == nil {
		return c.remembered
	}
	n := len(c.lockout.rejected)
	if n == 0 || !c.lockout.rejected[n-1].Truncate(time.Microsecond).After(c.refuted) {
		// Two processes that disagree must not overwrite each other.
		return nil
	}
	told := &v1alpha1.RejectedCredentials{Fingerprint: c.fingerprint()}
	if failure := c.lockout.failure; failure != nil {
		told.Message = text.Truncate(text.OneLine(failure.Error()), maxMessage)
	}
	for _, at := range c.lockout.rejected {
		told.Times = append(told.Times, metav1.NewMicroTime(at.Truncate(time.Microsecond)))
	}
	if now.Before(c.lockout.lockedUntil) {
		until := metav1.NewMicroTime(c.lockout.lockedUntil.Truncate(time.Microsecond))
		told.LockedUntil = &until
	}
	return told
}

// maxMessage limits a message in the connection's status.
const maxMessage = 1024

// fingerprint identifies the current credentials in the connection's status.
func (c *credentials) fingerprint() string {
	return fingerprint(c.salt+c.endpoint, c.current)[:16]
}

// due is when to fetch the credentials again: temporary ones when they need to be
// renewed, others within a minute, and those that do not work within 30 s.
func (c *credentials) due(now time.Time, probe time.Duration) time.Time {
	retry := c.fetchedAt.Add(retryInterval(probe))
	switch {
	case c.fetchedAt.IsZero():
		return now
	case c.lockout == nil || c.isExpired(now) || c.lockout.closed():
		return retry
	case c.renewAt.IsZero():
		return c.fetchedAt.Add(refreshInterval(probe))
	default:
		return later(c.renewAt, retry)
	}
}

// With probes every 30 s, these are 45 s and 20 s.
func refreshInterval(probe time.Duration) time.Duration { return probe * 3 / 2 }
func retryInterval(probe time.Duration) time.Duration   { return probe * 2 / 3 }

// renewal is when to renew credentials that were fetched at now and expire at
// expires: when a fifth of their lifetime remains, at least five minutes, but not
// before half of it has passed.
func renewal(now, expires time.Time) time.Time {
	life := expires.Sub(now)
	return expires.Add(-min(max(life/5, 5*time.Minute), life/2))
}

// fingerprint identifies credentials at a place without revealing them.
func fingerprint(place string, creds dli.Credentials) string {
	sum := sha256.New()
	for _, part := range []string{place, creds.AccessKeyID, creds.SecretAccessKey, creds.SecurityToken, creds.Token} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Refresh fetches the credentials if they are due at now, and returns when to call
// it again. A new set replaces the old one atomically. Only one caller may refresh
// a connection at a time. The error means that reading from the API server failed.
func (c *Connection) Refresh(ctx context.Context, now time.Time) (next time.Duration, err error) {
	c.mu.Lock()
	revision, fetch := c.revision, c.credentials.fetch
	due := c.client != nil && !now.Before(c.credentials.due(now, c.probe))
	c.mu.Unlock()
	if due {
		creds, expires, err := fetch(ctx)
		failure, known := AsFailure(err)
		if err != nil && !known {
			return 0, err
		}
		c.mu.Lock()
		if c.revision == revision { // meanwhile
			c.credentials.fetched(creds, expires, failure, now)
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		// Retrying does not help; a change of the object does.
		return refreshInterval(c.probe), nil
	}
	longest := refreshInterval(c.probe)
	if !c.health(now).Ready {
		longest = retryInterval(c.probe)
	}
	return max(min(c.credentials.due(now, c.probe).Sub(now), longest), time.Millisecond), nil
}

// Remember takes the rejections from the connection's object at now, seen by
// another process or by this one before a restart.
func (c *Connection) Remember(stored *v1alpha1.RejectedCredentials, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.credentials.remember(stored, now)
}

// Rejections returns the rejectedCredentials for the connection's object.
func (c *Connection) Rejections(now time.Time) *v1alpha1.RejectedCredentials {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.credentials.rejections(now)
}
