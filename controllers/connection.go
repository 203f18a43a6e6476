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
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Bounds of one connection.
const (
	// An endpoint that failed this often in a row is probed by one request at a
	// time, this often. So are credentials that were rejected.
	breakerFailures = 5
	defaultProbe    = 30 * time.Second
	// While requests are held back, a few jobs wait for the next probe; the rest
	// is called when one has succeeded, or comes by itself after this time.
	probeCandidates = 3
	heldAtMost      = 5 * time.Minute
	// The longest wait for one of the connection's places.
	placeWaitMax = 30 * time.Second
	// A throttled connection rests for at most this long.
	pauseMax = 10 * time.Minute
)

// connection is a DLIConnection at work: one client, one rate limit, one set of
// credentials and what was learnt of them, shared by all jobs that use it. It
// never blocks: a job that may not ask yet is told when to come back.
type connection struct {
	key        types.NamespacedName
	label      string // the key, as metrics write it
	metrics    *Metrics
	probe      time.Duration
	uid        types.UID
	generation int64

	client  *dli.Client
	limiter *rate.Limiter
	source  credentialSource
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	// places bounds the requests in flight, so that a slow endpoint takes no more
	// than its share of the workers.
	places int
	// broken says why the connection cannot be used at all; nil when it can.
	broken *failure
	// gates finds the gate of credentials, which connections share.
	gates func(fingerprint string, probe time.Duration) *gate
	// endpoint is the URL that is asked.
	endpoint string
	// changed reports that the connection's health may have, and, with woken,
	// that jobs which were held back may ask again.
	changed func(ctx context.Context, key types.NamespacedName, woken bool)

	// reading lets one caller at a time fetch credentials; the others go on with
	// those that there are.
	reading sync.Mutex

	mu          sync.Mutex
	epoch       uint64
	credentials *snapshot
	rejection   *failure // why there are no credentials to use
	lastFailure *failure // of the endpoint
	opened      time.Time
	pausedUntil time.Time
	connected   bool
	inFlight    int
	latency     time.Duration // a moving average
	placeAt     time.Time     // when the next place is expected
	// holding says that jobs are held back; candidates counts those of them that
	// come back by themselves at roundEnds.
	holding    bool
	candidates int
	roundEnds  time.Time
}

// snapshot is one immutable set of credentials.
type snapshot struct {
	creds   dli.Credentials
	gate    *gate
	renewAt time.Time // zero when the credentials' end is not known
	expires time.Time
}

// name is how messages call the connection.
func (c *connection) name() string { return "DLIConnection " + c.key.String() }

// state numbers what a job that is held back waits for: it is worth asking
// again once the number is another.
func (c *connection) state() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// admission is a connection's answer to a job that wants to ask.
type admission struct {
	// granted says that the job may ask now; it must then call read.
	granted bool
	// wait is when to come back otherwise.
	wait time.Duration
	// why is what is wrong; nil when the job merely waits for its turn.
	why *failure
	// held says that the connection holds requests back, and calls when it no
	// longer does.
	held bool

	snapshot *snapshot
	done     func(error)
}

// admit decides whether a job may ask at now. t is the job's turn at the rate
// limit, kept between two calls.
func (c *connection) admit(ctx context.Context, now time.Time, t *turn) (admission, error) {
	if c.broken != nil {
		return admission{wait: heldAtMost, why: c.broken, held: true}, nil
	}
	snap, why, err := c.current(ctx, now)
	if err != nil {
		return admission{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if why != nil {
		*t = turn{}
		return c.hold(now, now.Add(blockedRetry), why), nil
	}
	if now.Before(c.pausedUntil) {
		*t = turn{}
		return c.hold(now, c.pausedUntil, c.lastFailure), nil
	}
	if c.breaker.State() == gobreaker.StateOpen {
		*t = turn{}
		return c.hold(now, c.opened.Add(c.probe), c.lastFailure), nil
	}
	if wait := c.takeTurn(now, t); wait > 0 {
		return admission{wait: wait}, nil
	}
	if c.inFlight >= c.places {
		return admission{wait: c.expectPlace(now)}, nil
	}
	*t = turn{}
	passed, retryAt := snap.gate.enter(now)
	if !passed {
		return c.hold(now, retryAt, c.rejectedCredentials(snap)), nil
	}
	done, err := c.breaker.Allow()
	if err != nil {
		snap.gate.leave(unverified, now, 0)
		return c.hold(now, now.Add(c.probe), c.lastFailure), nil
	}
	c.inFlight++
	return admission{granted: true, snapshot: snap, done: done}, nil
}

// hold keeps a job waiting until at, if it is among the few that may probe
// then; else until it is called.
func (c *connection) hold(now, at time.Time, why *failure) admission {
	c.holding = true
	if !now.Before(c.roundEnds) {
		c.candidates, c.roundEnds = 0, at
	}
	wait := heldAtMost + rand.N(heldAtMost/10)
	if c.candidates < probeCandidates {
		c.candidates++
		wait = max(at.Sub(now), time.Millisecond)
	}
	return admission{wait: wait, why: why, held: true}
}

// afterFailure returns when a job comes back whose poll has just failed, and
// that would by itself come back after retry.
func (c *connection) afterFailure(now time.Time, a admission, retry time.Duration) (wait time.Duration, held bool) {
	opens := a.snapshot.gate.opens()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.breaker.State() == gobreaker.StateOpen {
		opens = later(opens, c.opened.Add(c.probe))
	}
	if now.Before(c.pausedUntil) {
		opens = later(opens, c.pausedUntil)
	}
	if !now.Before(opens) {
		return retry, false
	}
	return c.hold(now, opens, nil).wait, true
}

// takeTurn returns how long the job's turn at the rate limit is away, and
// reserves one if it has none.
func (c *connection) takeTurn(now time.Time, t *turn) time.Duration {
	if t.at.IsZero() || t.limiter != c.limiter {
		*t = turn{limiter: c.limiter, at: now.Add(c.limiter.ReserveN(now, 1).DelayFrom(now))}
	}
	return t.at.Sub(now)
}

// expectPlace returns when a place is expected to be free, one caller after
// another.
func (c *connection) expectPlace(now time.Time) time.Duration {
	c.placeAt = later(c.placeAt, now).Add(c.latency/time.Duration(c.places) + time.Millisecond)
	return min(c.placeAt.Sub(now), placeWaitMax)
}

func (c *connection) rejectedCredentials(snap *snapshot) *failure {
	if !snap.gate.closed() {
		return nil // others are just being tried
	}
	if c.lastFailure != nil && c.lastFailure.Reason == v1alpha1.ReasonCredentialsRejected {
		return c.lastFailure
	}
	return failf(v1alpha1.ReasonCredentialsRejected, "DLI rejects the credentials of %s; put valid ones into its Secret", c.name())
}

// read asks DLI for a job, as an admission allows, and draws from the answer
// what it says of the connection.
func (c *connection) read(ctx context.Context, a admission, jobID string, clock func() time.Time) (*dli.JobStatus, *failure, error) {
	began := clock()
	answer, err := c.client.JobStatus(ctx, a.snapshot.creds, jobID)
	now := clock()
	var failed *dli.Error
	if err != nil && !errors.As(err, &failed) {
		// The operator is being stopped, or the reconcile took too long: that says
		// nothing of the connection.
		c.finish(ctx, now, a, now.Sub(began), nil, unverified, nil)
		return nil, nil, fmt.Errorf("polling job %q: %w", jobID, err)
	}
	c.metrics.requested(c.label, now.Sub(began), failed)
	if failed == nil {
		c.finish(ctx, now, a, now.Sub(began), nil, accepted, nil)
		return answer, nil, nil
	}
	why := explain(failed, c.name())
	c.finish(ctx, now, a, now.Sub(began), why, verify(failed), faultOf(failed))
	return nil, why, nil
}

// verify says what an error tells of the credentials it was asked with.
func verify(err *dli.Error) verification {
	switch {
	case err.Kind == dli.KindAuth:
		return rejected
	case err.Code != "" && err.Kind != dli.KindConfig && err.Kind != dli.KindThrottle && err.HTTPStatus < 500:
		return accepted
	default:
		return unverified
	}
}

// faultOf returns an error if it is the endpoint's, so that other jobs would
// likely meet it too.
func faultOf(err *dli.Error) error {
	switch err.Kind {
	case dli.KindUnreachable, dli.KindRetry, dli.KindInvalid, dli.KindConfig:
		return err
	default:
		return nil
	}
}

// finish gives back what the admission took, and learns.
func (c *connection) finish(ctx context.Context, now time.Time, a admission, took time.Duration, why *failure, v verification, fault error) {
	var locked time.Duration
	if why != nil && v == rejected {
		locked = why.RetryAfter
	}
	a.snapshot.gate.leave(v, now, locked)

	c.mu.Lock()
	before := c.health(now)
	c.inFlight--
	c.latency += (took - c.latency) / 5
	wasOpen := c.breaker.State() == gobreaker.StateOpen
	if why != nil && needsToKnow(why) {
		c.lastFailure = why
	}
	a.done(fault)
	if !wasOpen && c.breaker.State() == gobreaker.StateOpen {
		c.opened = now
	}
	if why != nil && why.Kind == dli.KindThrottle {
		pause := why.RetryAfter
		if pause <= 0 {
			pause = throttleRetry
		}
		c.pausedUntil = later(c.pausedUntil, now.Add(min(pause, pauseMax)))
	}
	woken := false
	if v == accepted {
		c.connected = true
		if c.holding && fault == nil && !now.Before(c.pausedUntil) {
			c.release()
			woken = true
		}
	}
	news := woken || c.health(now) != before
	c.mu.Unlock()
	if news {
		c.changed(ctx, c.key, woken)
	}
}

// needsToKnow tells whether a failure is the connection's rather than the job's.
func needsToKnow(f *failure) bool {
	switch f.Kind {
	case dli.KindNotFound, dli.KindPermission, dli.KindRejected, dli.KindSlow:
		return false
	default:
		return true
	}
}

// release lets all jobs ask again that were held back.
func (c *connection) release() {
	c.holding, c.roundEnds = false, time.Time{}
	c.epoch++
}

// current returns the credentials to use at now, fetching them if there are
// none yet.
func (c *connection) current(ctx context.Context, now time.Time) (*snapshot, *failure, error) {
	if snap, why := c.known(now); snap != nil || why != nil {
		return snap, why, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	if snap, why := c.known(now); snap != nil || why != nil {
		return snap, why, nil
	}
	if err := c.fetch(ctx, now); err != nil {
		return nil, nil, err
	}
	snap, why := c.known(now)
	return snap, why, nil
}

func (c *connection) known(now time.Time) (*snapshot, *failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.credentials != nil && !c.credentials.expires.IsZero() && !now.Before(c.credentials.expires) {
		return nil, failf(v1alpha1.ReasonCredentialsRejected, "the temporary credentials of %s have expired and could not be renewed", c.name())
	}
	return c.credentials, c.rejection
}

// refresh fetches the credentials again if they are due at now, and says when
// they are due next. One set replaces another at once and whole.
func (c *connection) refresh(ctx context.Context, now time.Time) (next time.Duration, err error) {
	if c.broken != nil {
		return heldAtMost, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	if renewAt := c.renewAt(); now.Before(renewAt) {
		return renewAt.Sub(now), nil
	}
	if err := c.fetch(ctx, now); err != nil {
		return 0, err
	}
	if renewAt := c.renewAt(); now.Before(renewAt) {
		return min(renewAt.Sub(now), heldAtMost), nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.health(now).status == metav1.ConditionTrue {
		return secretRefresh, nil
	}
	return secretRetry, nil
}

// Secrets are read again within a minute, and within 30 s while they do not
// work.
const (
	secretRefresh = 45 * time.Second
	secretRetry   = 20 * time.Second
)

func (c *connection) renewAt() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.credentials == nil {
		return time.Time{}
	}
	return c.credentials.renewAt
}

// fetch replaces the credentials by what their source holds. Old ones of which
// the end is known are used until then if no new ones can be had.
func (c *connection) fetch(ctx context.Context, now time.Time) error {
	creds, expires, why, err := c.source.fetch(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	before, woken := c.health(now), false
	switch {
	case why != nil && c.credentials != nil && now.Before(c.credentials.expires):
		// The next refresh tries again.
	case why != nil:
		c.credentials, c.rejection = nil, why
	case c.credentials != nil && c.credentials.creds == creds:
		c.rejection = nil
	default:
		next := &snapshot{creds: creds, expires: expires, gate: c.gates(fingerprint(c.endpoint, creds), c.probe)}
		if !expires.IsZero() {
			next.renewAt = renewal(now, expires)
		}
		c.credentials, c.rejection = next, nil
		c.release()
		woken = true
	}
	news := woken || c.health(now) != before
	c.mu.Unlock()
	if news {
		c.changed(ctx, c.key, woken)
	}
	return nil
}

// health is what the Ready condition of the DLIConnection says.
type health struct {
	status  metav1.ConditionStatus
	reason  string
	message string
}

// healthAt returns the connection's health at now.
func (c *connection) healthAt(now time.Time) health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health(now)
}

// observe returns what metrics tell of the connection at now.
func (c *connection) observe(now time.Time) (h health, inFlight int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health(now), c.inFlight
}

func (c *connection) health(now time.Time) health {
	not := func(f *failure) health { return health{metav1.ConditionFalse, f.Reason, f.Message} }
	switch {
	case c.broken != nil:
		return not(c.broken)
	case c.rejection != nil:
		return not(c.rejection)
	case c.credentials != nil && c.credentials.gate.closed():
		return not(c.rejectedCredentials(c.credentials))
	case c.breaker.State() != gobreaker.StateClosed && c.lastFailure != nil:
		return health{metav1.ConditionFalse, v1alpha1.ReasonCircuitOpen,
			fmt.Sprintf("requests are held back but for a probe every %v: %s", c.probe, c.lastFailure.Message)}
	case now.Before(c.pausedUntil) && c.lastFailure != nil:
		return not(c.lastFailure)
	case c.connected:
		return health{metav1.ConditionTrue, v1alpha1.ReasonConnected, "DLI accepts the credentials"}
	default:
		return health{metav1.ConditionTrue, v1alpha1.ReasonConfigured, "complete; DLI has not been asked yet"}
	}
}

// close ends the connection's idle TCP connections. Requests in flight end by
// themselves.
func (c *connection) close() {
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
}
