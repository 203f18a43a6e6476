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
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
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
	// How long a request may take, from its first byte to the answer's last.
	requestTimeout = 10 * time.Second
	// While requests are held back, a few jobs wait for the next probe; the rest
	// is called when one has succeeded, or comes by itself after this time.
	probeCandidates = 3
	heldAtMost      = 5 * time.Minute
	// When those come again who find a probe on its way, or no credentials yet.
	probeRetry = time.Second
	// How often a job looks whether a new connection has credentials, and for how
	// long before it says that it waits.
	prepareRetry = 20 * time.Millisecond
	prepareMax   = time.Second
	// The longest wait for one of the connection's places. After as long one is
	// free, or the circuit has opened.
	placeWaitMax = requestTimeout
	// How often a job in a long line looks whether the line has become shorter.
	lineCheck = time.Minute
	// A throttled connection rests for at most this long, and says that it is
	// throttled until it was not for throttleMemory: else its status would change
	// with every second window.
	pauseMax       = 10 * time.Minute
	throttleMemory = 30 * time.Second
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
	built      time.Time

	client *dli.Client
	// limiter hands out turns: its tokens are a line in which jobs wait. pace
	// counts the requests themselves, so that jobs whose turn came while nobody
	// could serve them do not all ask at once.
	limiter, pace *rate.Limiter
	source        credentialSource
	breaker       *gobreaker.TwoStepCircuitBreaker[struct{}]
	// places bounds the requests in flight, and so do the workers, so that a slow
	// endpoint takes no more than its share of them.
	places  int
	workers *workers
	// broken says why the connection cannot be used at all; nil when it can.
	broken *failure
	// gates finds the gate of credentials, which connections share.
	gates func(fingerprint string, probe time.Duration) *gate
	// endpoint is the URL that is asked.
	endpoint string
	// changed reports that the connection's health may have, and, with woken,
	// that jobs which were held back may ask again.
	changed func(ctx context.Context, key types.NamespacedName, woken bool)

	mu          sync.Mutex
	closed      bool
	epoch       uint64
	credentials *snapshot
	fetchedAt   time.Time
	rejection   *failure // why there are no credentials to use
	lastFailure *failure // of the endpoint
	// probeAt is when an endpoint is probed whose circuit has opened. It counts
	// from when the last request began, not from when that was given up.
	probeAt     time.Time
	pausedUntil time.Time
	throttled   *failure // why it paused last
	connected   bool
	inFlight    int
	latency     time.Duration // a moving average
	answered    time.Time     // when a request last came back, or the first one left
	placeAt     time.Time     // when the next place is expected
	// holding says that jobs are held back, and heldFor with which reason, ""
	// with none; candidates counts those that come back by themselves at
	// roundEnds.
	holding    bool
	heldFor    string
	candidates int
	roundEnds  time.Time
}

// workers are what all connections share: as many requests as jobs are polled at
// once. A connection takes no more of them than it leaves free, so one that hangs
// takes half, two a third each, and there are always some for the others.
type workers struct {
	total int // 0: nothing bounds them
	busy  atomic.Int64
}

func (w *workers) free() int {
	if w.total == 0 {
		return math.MaxInt
	}
	return w.total - int(w.busy.Load())
}

// snapshot is one immutable set of credentials.
type snapshot struct {
	creds   dli.Credentials
	gate    *gate
	renewAt time.Time // zero when the credentials' end is not known
	expires time.Time
}

func (s *snapshot) expired(now time.Time) bool {
	return !s.expires.IsZero() && !now.Before(s.expires)
}

// name is how messages call the connection.
func (c *connection) name() string { return "DLIConnection " + c.label }

// state numbers what a job that is held back waits for: it is worth asking
// again once the number is another.
func (c *connection) state() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// preparing tells whether the first credentials are just being fetched: that
// takes a moment, which is worth waiting for before anything is said of a job.
func (c *connection) preparing(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken == nil && c.fetchedAt.IsZero() && now.Sub(c.built) < prepareMax
}

// admission is a connection's answer to a job that wants to ask.
type admission struct {
	// granted says that the job may ask now; it must then call read, once.
	granted bool
	// wait is when to come back otherwise.
	wait time.Duration
	// why is what is wrong; nil when the job merely waits for its turn.
	why *failure
	// held says that the connection holds requests back, and calls when it no
	// longer does.
	held bool

	entered  time.Time
	snapshot *snapshot
	done     func(error)
}

// admit decides whether a job may ask at now. t is the job's turn at the rate
// limit, kept between two calls.
func (c *connection) admit(now time.Time, t *turn) admission {
	if c.broken != nil {
		return admission{wait: heldAtMost, why: c.broken, held: true}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		// Another one has taken its place, or none, which the job finds out.
		return admission{wait: time.Millisecond}
	}
	if until, why := c.obstacle(now); now.Before(until) {
		t.leave(now)
		return c.hold(now, until, why)
	}
	if wait := c.takeTurn(now, t); wait > 0 {
		return admission{wait: wait}
	}
	if c.inFlight >= min(c.places, c.workers.free()) {
		return admission{wait: c.expectPlace(now)}
	}
	if wait := c.keepPace(now, t); wait > 0 {
		return admission{wait: wait}
	}
	*t = turn{}
	snap := c.credentials
	passed, retryAt := snap.gate.enter(now)
	if !passed {
		return c.hold(now, retryAt, c.rejectedCredentials(snap))
	}
	done, err := c.breaker.Allow()
	if err != nil {
		snap.gate.leave(unverified, now, now, 0)
		return c.hold(now, now.Add(probeRetry), c.lastFailure)
	}
	if c.inFlight == 0 {
		c.answered = now
	}
	c.inFlight++
	c.workers.busy.Add(1)
	return admission{granted: true, entered: now, snapshot: snap, done: done}
}

// obstacle returns what keeps every job of the connection from asking at now,
// and until when at least; the zero time when nothing does.
func (c *connection) obstacle(now time.Time) (until time.Time, why *failure) {
	snap, circuit := c.credentials, c.breaker.State()
	switch {
	case c.rejection != nil:
		return now.Add(blockedRetry), c.rejection
	case snap == nil:
		return now.Add(probeRetry), nil
	case snap.expired(now):
		return now.Add(blockedRetry), c.expired()
	case now.Before(c.pausedUntil):
		return c.pausedUntil, c.throttled
	case circuit == gobreaker.StateOpen:
		return later(c.probeAt, now.Add(time.Millisecond)), c.lastFailure
	case circuit == gobreaker.StateHalfOpen && now.Before(c.probeAt):
		return c.probeAt, c.lastFailure
	case circuit == gobreaker.StateHalfOpen && c.inFlight > 0:
		return now.Add(probeRetry), c.lastFailure
	}
	if opens := snap.gate.opens(now); now.Before(opens) {
		return opens, c.rejectedCredentials(snap)
	}
	return time.Time{}, nil
}

// hold keeps a job waiting until at, if it is among the few that may probe
// then; else until it is called.
func (c *connection) hold(now, at time.Time, why *failure) admission {
	c.holding, c.heldFor = true, reasonOfHold(why)
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
func (c *connection) afterFailure(now time.Time, retry time.Duration) (wait time.Duration, held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, why := c.obstacle(now)
	if !now.Before(until) {
		return retry, false
	}
	return c.hold(now, until, why).wait, true
}

// takeTurn returns how long the job's turn at the rate limit is away, and
// puts it in line if it has none.
func (c *connection) takeTurn(now time.Time, t *turn) time.Duration {
	if t.limiter != c.limiter {
		*t = turn{limiter: c.limiter, at: now.Add(c.limiter.ReserveN(now, 1).DelayFrom(now))}
	}
	if !t.paced {
		// The line counts this job, so its turn is no later than the line's end,
		// which may have moved up since: jobs leave, deleted or suspended.
		t.at = earlier(t.at, lineEnd(c.limiter, now))
	}
	return min(t.at.Sub(now), lineCheck)
}

// lineEnd is when the last one in line has its turn.
func lineEnd(limiter *rate.Limiter, now time.Time) time.Time {
	waiting := max(0, -limiter.TokensAt(now))
	return now.Add(time.Duration(waiting / float64(limiter.Limit()) * float64(time.Second)))
}

// keepPace returns how long a job whose turn has come still has to wait: jobs
// come late after a stall of the operator or the endpoint, and then all at once.
func (c *connection) keepPace(now time.Time, t *turn) time.Duration {
	if t.paced {
		return 0
	}
	wait := c.pace.ReserveN(now, 1).DelayFrom(now)
	t.paced, t.at = true, now.Add(wait)
	return wait
}

// expectPlace returns when a place is expected to be free, one caller after
// another.
func (c *connection) expectPlace(now time.Time) time.Duration {
	// What has not been answered for a while will likely take as long again.
	each := max(c.latency, now.Sub(c.answered))/time.Duration(max(c.inFlight, 1)) + time.Millisecond
	c.placeAt = earlier(later(c.placeAt, now).Add(each), now.Add(placeWaitMax))
	return c.placeAt.Sub(now)
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

func (c *connection) expired() *failure {
	return failf(v1alpha1.ReasonCredentialsRejected, "the temporary credentials of %s have expired and could not be renewed", c.name())
}

// outcome is what a request says of the connection.
type outcome struct {
	why      *failure     // nil when it brought a status
	verified verification // of the credentials
	fault    error        // of the endpoint
}

// errNoVerdict is the fault of a request that was broken off by the operator
// itself: it says nothing of the endpoint.
var errNoVerdict = errors.New("broken off")

// read asks DLI for a job, as an admission allows, and draws from the answer
// what it says of the connection.
func (c *connection) read(ctx context.Context, a admission, jobID string, clock func() time.Time) (*dli.JobStatus, *failure, error) {
	began := clock()
	said := outcome{fault: errNoVerdict}
	// Deferred, for a panic must not keep what the admission took.
	defer func() { c.finish(ctx, began, clock(), a, said) }()

	answer, err := c.client.JobStatus(ctx, a.snapshot.creds, jobID)
	var failed *dli.Error
	if err != nil && !errors.As(err, &failed) {
		// The operator is being stopped, or the reconcile took too long.
		return nil, nil, fmt.Errorf("polling job %q: %w", jobID, err)
	}
	c.metrics.requested(c.label, clock().Sub(began), failed)
	if failed == nil {
		said = outcome{verified: accepted}
		return answer, nil, nil
	}
	said = outcome{why: explain(failed, c.name()), verified: verify(failed), fault: faultOf(failed)}
	return nil, said.why, nil
}

// verify says what an error tells of the credentials it was asked with: an
// answer about anything else comes from behind the check of them.
func verify(err *dli.Error) verification {
	switch err.Kind {
	case dli.KindAuth:
		return rejected
	case dli.KindNotFound, dli.KindPermission, dli.KindRejected, dli.KindSlow:
		return accepted
	case dli.KindRetry:
		if err.Code != "" && err.HTTPStatus < 500 {
			return accepted
		}
	case dli.KindConfig, dli.KindThrottle, dli.KindUnreachable, dli.KindInvalid:
	}
	return unverified
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
func (c *connection) finish(ctx context.Context, began, now time.Time, a admission, said outcome) {
	c.mu.Lock()
	before := c.health(now)
	c.returned(began, now, a, said)
	if said.why != nil && needsToKnow(said.why) {
		c.lastFailure = said.why
	}
	if said.why != nil && said.why.Kind == dli.KindThrottle {
		pause := said.why.RetryAfter
		if pause <= 0 {
			pause = throttleRetry
		}
		c.throttled = said.why
		c.pausedUntil = later(c.pausedUntil, now.Add(min(pause, pauseMax)))
	}
	if said.verified == accepted {
		c.connected = true
	}
	woken := c.reconsider(now)
	news := woken || c.health(now) != before
	c.mu.Unlock()
	if news {
		c.changed(ctx, c.key, woken)
	}
}

// returned gives back the place, the pass of the gate and that of the breaker.
func (c *connection) returned(began, now time.Time, a admission, said outcome) {
	c.inFlight--
	c.workers.busy.Add(-1)
	c.answered = now
	c.latency += (now.Sub(began) - c.latency) / 5
	if c.inFlight == 0 {
		c.placeAt = time.Time{} // whoever waits for a place need not
	}
	var locked time.Duration
	if said.why != nil && said.verified == rejected {
		locked = said.why.RetryAfter
	}
	a.snapshot.gate.leave(said.verified, a.entered, now, locked)
	wasOpen := c.breaker.State() == gobreaker.StateOpen
	a.done(said.fault)
	if !wasOpen && c.breaker.State() == gobreaker.StateOpen {
		c.probeAt = began.Add(c.probe)
	}
}

// newBreaker makes the circuit breaker of an endpoint. It opens itself early,
// by as much as the last request may have taken: probeAt decides.
func newBreaker(name string, probe time.Duration) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        name,
		MaxRequests: 1,
		Timeout:     max(probe-requestTimeout, probe/10),
		ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= breakerFailures },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNoVerdict) },
	})
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

// reconsider releases the jobs that are held back if nothing holds them any
// more, or if something else does, so that they say so.
func (c *connection) reconsider(now time.Time) (released bool) {
	until, why := c.obstacle(now)
	if !c.holding || now.Before(until) && reasonOfHold(why) == c.heldFor {
		return false
	}
	c.release()
	return true
}

func reasonOfHold(why *failure) string {
	if why == nil {
		return ""
	}
	return why.Reason
}

// release lets all jobs ask again that were held back.
func (c *connection) release() {
	c.holding, c.roundEnds = false, time.Time{}
	c.epoch++
}

// revive calls the jobs that are held back if none of those came that were to
// probe: they may be gone.
func (c *connection) revive(ctx context.Context, now time.Time) {
	c.mu.Lock()
	lost := c.holding && c.inFlight == 0 && now.Sub(c.roundEnds) > c.probe/6
	if lost {
		c.release()
	}
	c.mu.Unlock()
	if lost {
		c.changed(ctx, c.key, true)
	}
}

// refresh fetches the credentials if they are due at now, and says when to come
// again. One set replaces another at once and whole. Nobody else fetches, and
// no key is reconciled twice at a time, so there is one fetch at a time.
func (c *connection) refresh(ctx context.Context, now time.Time) (next time.Duration, err error) {
	if c.broken != nil {
		return heldAtMost, nil //nolint:nilerr // trying again does not mend it; a change of the object does
	}
	if !now.Before(c.fetchDue(now)) {
		if err := c.fetch(ctx, now); err != nil {
			return 0, err
		}
	}
	c.revive(ctx, now)
	return c.untilRefresh(now), nil
}

// fetchDue is when the credentials are to be fetched again: temporary ones when
// they are to be renewed, others within a minute, and those that do not work
// within half of one.
func (c *connection) fetchDue(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	retry := c.fetchedAt.Add(c.retryInterval())
	switch snap := c.credentials; {
	case c.fetchedAt.IsZero():
		return now
	case snap == nil || snap.expired(now) || snap.gate.closed():
		return retry
	case snap.renewAt.IsZero():
		return c.fetchedAt.Add(c.refreshInterval())
	default:
		return later(snap.renewAt, retry)
	}
}

// untilRefresh is when refresh wants to be called again, for the credentials,
// for jobs that are held back, or for what changes by the mere passing of time.
func (c *connection) untilRefresh(now time.Time) time.Duration {
	due := c.fetchDue(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	longest := c.refreshInterval()
	if c.holding || c.health(now).status != metav1.ConditionTrue {
		longest = c.retryInterval()
	}
	return max(min(due.Sub(now), longest), time.Millisecond)
}

// With probes every 30 s, these are 45 s and 20 s.
func (c *connection) refreshInterval() time.Duration { return c.probe * 3 / 2 }
func (c *connection) retryInterval() time.Duration   { return c.probe * 2 / 3 }

// fetch replaces the credentials by what their source holds. Old ones of which
// the end is known are used until then if no new ones can be had.
func (c *connection) fetch(ctx context.Context, now time.Time) error {
	creds, expires, why, err := c.source.fetch(ctx)
	if err != nil {
		return err
	}
	next := &snapshot{creds: creds, expires: expires}
	if why == nil {
		next.gate = c.gates(fingerprint(c.endpoint, creds), c.probe)
	}
	if !expires.IsZero() {
		next.renewAt = renewal(now, expires)
	}
	c.mu.Lock()
	before, woken := c.health(now), false
	c.fetchedAt = now
	switch old := c.credentials; {
	case why != nil && old != nil && now.Before(old.expires):
		// The next refresh tries again.
	case why != nil:
		c.credentials, c.rejection = nil, why
		woken = c.reconsider(now)
	case old != nil && old.creds == creds && old.expires.Equal(expires):
	default:
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

// uses tells whether the connection's credentials are those of a gate.
func (c *connection) uses(g *gate) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.credentials != nil && c.credentials.gate == g
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
	case c.credentials != nil && c.credentials.expired(now):
		return not(c.expired())
	case c.credentials != nil && c.credentials.gate.closed():
		return not(c.rejectedCredentials(c.credentials))
	case c.breaker.State() != gobreaker.StateClosed && c.lastFailure != nil:
		return health{metav1.ConditionFalse, v1alpha1.ReasonCircuitOpen,
			fmt.Sprintf("requests are held back but for a probe every %v: %s", c.probe, c.lastFailure.Message)}
	case c.throttled != nil && now.Before(c.pausedUntil.Add(throttleMemory)):
		return not(c.throttled)
	case c.connected:
		return health{metav1.ConditionTrue, v1alpha1.ReasonConnected, "DLI accepts the credentials"}
	default:
		return health{metav1.ConditionTrue, v1alpha1.ReasonConfigured, "complete; DLI has not been asked yet"}
	}
}

// close ends the connection's idle TCP connections. Requests in flight end by
// themselves; no other is admitted.
func (c *connection) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
}
