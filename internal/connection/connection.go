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

// Package connection holds the client, credentials and limits of each
// DLIConnection, and decides whether a request may be sent.
package connection

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Bounds of one connection.
const (
	// DefaultProbeInterval is how often a failing endpoint is probed and rejected
	// credentials are tried.
	DefaultProbeInterval = 30 * time.Second
	// requestTimeout limits a request, from its first byte to the response's last.
	requestTimeout = 10 * time.Second
)

// Client reads jobs from DLI; *dli.Client implements it.
type Client interface {
	JobStatus(ctx context.Context, creds dli.Credentials, jobID string) (*dli.JobStatus, error)
	JobProgress(ctx context.Context, creds dli.Credentials, jobID string) (*dli.Progress, error)
	ListJobs(ctx context.Context, creds dli.Credentials, options dli.ListOptions) (*dli.JobList, error)
	OpenedConnections() uint64
	CloseIdleConnections()
}

// Recorder counts requests.
type Recorder interface {
	// Requested counts a request of a connection and how long it took; err is nil if
	// it succeeded.
	Requested(connection string, call Call, took time.Duration, err *dli.Error)
}

// Call is the API call of a request.
type Call string

// The calls.
const (
	CallStatus   Call = "status"
	CallList     Call = "list"
	CallProgress Call = "progress"
)

// Connection is a DLIConnection in use: one client, one rate limit and one set of
// credentials with their state, shared by all jobs that use it. It never blocks and
// has no clock: callers pass the time.
type Connection struct {
	// Key, UID and Generation identify the object, and Endpoint is the URL in use,
	// "" while unknown.
	Key        types.NamespacedName
	UID        types.UID
	Generation int64
	Endpoint   string
	// ReportProgress is the object's spec.reportProgress.
	ReportProgress bool

	client   Client
	recorder Recorder
	probe    time.Duration // Options.ProbeInterval

	// mu guards the following fields. All connections share one, because they share
	// lockouts.
	mu          *sync.Mutex
	closed      bool
	broken      *Failure // why it cannot be used at all; nil if it can
	noLists     string   // why no lists are requested; "" if nothing is wrong with them
	credentials credentials
	circuit     circuit
	throttle    throttle
	pace        pace
	inFlight    inFlight
}

// Name is the name of the connection in messages.
func (c *Connection) Name() string { return "DLIConnection " + c.Key.String() }

// Who says which jobs may be polled.
type Who int

// The values of Who, each more restrictive than the one before.
const (
	// Anyone: every job may be polled.
	Anyone Who = iota
	// Probe: one job, to check whether the failure persists; preferably one whose
	// last poll succeeded.
	Probe
	// Look: one job that is not known to fail.
	Look
	// FirstLook: one job that was never polled.
	FirstLook
	// Nobody: no job until a request returns or the connection changes.
	Nobody
)

// standing is the decision of a policy at a time.
type standing struct {
	// why is the failure reported for waiting jobs; nil if they merely wait.
	why *Failure
	// self is what the connection reports about itself if that differs from why;
	// else nil.
	self *Failure
	// until is when a request may be sent; in the past if immediately.
	until time.Time
	who   Who
	// then is when to check whether more jobs may be polled than who says; zero if
	// only a returning request changes that.
	then time.Time
}

// policy is one rule that limits a connection. It has no clock, lock or goroutine
// of its own.
type policy interface {
	standing(now time.Time) standing
}

// policies returns all policies, in the order in which they are reported.
func (c *Connection) policies() [5]policy {
	return [...]policy{&c.credentials, &c.circuit, &c.throttle, &c.pace, &c.inFlight}
}

// Admission says which jobs may be polled at a time.
type Admission struct {
	Who Who
	// Until is when more jobs may be polled than Who says; zero if only a returning
	// request or a change of the connection changes that.
	Until time.Time
	// Why is the failure reported for waiting jobs; nil if they merely wait.
	Why *Failure
}

// Sooner is the earlier of two times, where zero means never, as in Admission.Until.
func Sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Next says which jobs may be polled at now.
func (c *Connection) Next(now time.Time) Admission {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := Admission{Who: Nobody, Why: c.broken}
	if c.closed || c.broken != nil {
		return a
	}
	a.Who = Anyone
	c.pace.adapt(c.throttle.rate(now), c.throttle.adapted(now), now)
	var until, then time.Time
	for _, p := range c.policies() {
		s := p.standing(now)
		if a.Why == nil {
			a.Why = s.why
		}
		a.Who, until, then = max(a.Who, s.who), later(until, s.until), Sooner(then, s.then)
	}
	a.Until = then
	if a.Who != Nobody && now.Before(until) {
		a.Who, a.Until = Nobody, until
	}
	return a
}

// Request is one request that the connection has admitted. Do or List must be
// called.
type Request struct {
	conn *Connection
	job  string
	// again is set if the last poll of the job was throttled, and probe if the
	// request is the circuit's probe.
	again, probe bool
	began        time.Time
	creds        dli.Credentials
	guard        *lockout
}

// Begin reserves what a request for a job needs, which Next has just admitted; for
// a list, jobID is "". failed is the reason why the last poll of the job failed; ""
// if it did not. It returns nil if the connection has lost its credentials since
// Next was called.
func (c *Connection) Begin(now time.Time, jobID, failed string, who Who) *Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.credentials.lockout == nil {
		return nil
	}
	c.pace.AllowN(now, 1)
	c.inFlight.begin(now)
	c.credentials.lockout.begin(now)
	return &Request{
		conn: c, job: jobID, again: failed == v1alpha1.ReasonRateLimited, probe: c.circuit.begin(who, now),
		began: now, creds: c.credentials.current, guard: c.credentials.lockout,
	}
}

// evidence is what a request shows about its connection.
type evidence struct {
	why      *Failure // nil if it returned a status
	verified verification
	fault    fault
	// answered is set if fault says something about the endpoint; it does not if the
	// operator itself aborted the request, or if the responder may not be DLI.
	answered bool
}

func evidenceOf(err *dli.Error, connection string) evidence {
	if err == nil {
		return evidence{verified: accepted, answered: true}
	}
	return evidence{
		why:      explain(err, connection),
		verified: verify(err),
		fault:    faultOf(err),
		answered: err.Kind != dli.KindInvalid,
	}
}

// shared reports whether the failure belongs to the connection rather than the job.
func (e evidence) shared() bool {
	return e.fault != noFault || e.verified == rejected || e.why.Kind == dli.KindThrottle
}

// Do polls DLI, and updates the connection with what the response shows. clock
// returns the time when the response has arrived.
//
// It returns a status or a failure; an error only when ctx is done. A failure that
// belongs to the connection rather than the job is the one that the connection
// reports, so that both say the same.
func (r *Request) Do(ctx context.Context, clock func() time.Time) (*dli.JobStatus, *Failure, error) {
	answer, failure, err := perform(r, CallStatus, clock, func() (*dli.JobStatus, error) {
		return r.conn.client.JobStatus(ctx, r.creds, r.job)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("polling job %q: %w", r.job, err)
	}
	return answer, failure, nil
}

// List is Do for a page of a list: its request was begun without a job.
func (r *Request) List(ctx context.Context, options dli.ListOptions, clock func() time.Time) (*dli.JobList, *Failure, error) {
	list, failure, err := perform(r, CallList, clock, func() (*dli.JobList, error) {
		return r.conn.client.ListJobs(ctx, r.creds, options)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("listing jobs: %w", err)
	}
	return list, failure, nil
}

// Progress is Do for the progress of the job. Its failure says nothing about the
// endpoint: some queues do not report progress.
func (r *Request) Progress(ctx context.Context, clock func() time.Time) (*dli.Progress, *Failure, error) {
	progress, failure, err := perform(r, CallProgress, clock, func() (*dli.Progress, error) {
		return r.conn.client.JobProgress(ctx, r.creds, r.job)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the progress of job %q: %w", r.job, err)
	}
	return progress, failure, nil
}

// perform makes the API call of a request; see Do.
func perform[T any](r *Request, call Call, clock func() time.Time, ask func() (*T, error)) (*T, *Failure, error) {
	said := evidence{}
	// Deferred, because a panic must not leak what was reserved.
	returned := false
	defer func() {
		if !returned {
			r.conn.end(r, said, clock())
		}
	}()
	answer, err := ask()
	var failed *dli.Error
	if err != nil {
		known, ok := dli.AsError(err)
		if !ok {
			return nil, nil, err
		}
		failed = known
	}
	now := clock()
	r.conn.recorder.Requested(r.conn.Key.String(), call, now.Sub(r.began), failed)
	returned = true
	said = evidenceOf(failed, r.conn.Name())
	if call == CallProgress {
		said.fault, said.answered = noFault, false
	}
	return answer, r.conn.end(r, said, now), nil
}

// end releases what a request reserved, and updates the policies. It returns the
// failure to report.
func (c *Connection) end(r *Request, e evidence, now time.Time) *Failure {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight.end(r.began)
	r.guard.end(e.verified, e.why, r.began, now)
	c.circuit.end(r, e, now)
	if e.verified == accepted {
		c.credentials.connected = true
		c.throttle.admitted(r.began)
	}
	if e.why != nil && e.why.Kind == dli.KindThrottle {
		c.throttle.throttled(e.why, r.again, now)
	}
	if e.why == nil || !e.shared() {
		return e.why
	}
	for _, p := range c.policies() {
		if why := p.standing(now).why; why != nil {
			return why
		}
	}
	return e.why
}

// Health is the content of the DLIConnection's Ready condition.
type Health struct {
	Ready           bool
	Reason, Message string
	// NoLists is why no lists are requested; "" if nothing is wrong with them. It is
	// part of Message unless there is something worse to report.
	NoLists string
}

// Health returns the state of the connection at now.
func (c *Connection) Health(now time.Time) Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health(now)
}

// health is Health for callers that hold the lock.
func (c *Connection) health(now time.Time) Health {
	if c.broken != nil {
		return Health{Reason: c.broken.Reason, Message: c.broken.Message}
	}
	for _, p := range c.policies() {
		if s := p.standing(now); s.self != nil {
			return Health{Reason: s.self.Reason, Message: s.self.Message}
		} else if s.why != nil {
			return Health{Reason: s.why.Reason, Message: s.why.Message}
		}
	}
	if c.credentials.connected {
		message := "DLI accepts the credentials"
		if c.noLists != "" {
			message += "; " + c.noLists
		}
		return Health{Ready: true, Reason: v1alpha1.ReasonConnected, Message: message, NoLists: c.noLists}
	}
	return Health{Ready: true, Reason: v1alpha1.ReasonConfigured, Message: "the settings are complete; DLI has not been polled yet"}
}

// NoteLists sets the reason that the connection reports for not listing; "" clears
// it.
func (c *Connection) NoteLists(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noLists = why
}

// Usage is the data for the metrics of a connection.
type Usage struct {
	// Tokens is how many requests the rate limit allows right now.
	Tokens float64
	// Rate is the current rate limit, in requests per second.
	Rate float64
	// InFlight is how many requests are in flight.
	InFlight int
	// Dialed is how many TCP connections were opened.
	Dialed uint64
}

// Usage returns the data for the metrics of the connection at now.
func (c *Connection) Usage(now time.Time) Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := Usage{Tokens: c.pace.TokensAt(now), Rate: c.throttle.rate(now), InFlight: len(c.inFlight.began)}
	if c.client != nil {
		u.Dialed = c.client.OpenedConnections()
	}
	return u
}

// Limit is how many requests may be in flight, not counting slow ones.
func (c *Connection) Limit() int { return c.inFlight.limit }

// close closes the connection's idle TCP connections. Requests in flight complete;
// no others are admitted. The caller holds the lock.
func (c *Connection) close() {
	c.closed = true
	c.credentials.use(nil)
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
}
