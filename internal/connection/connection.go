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

// Package connection knows as whom DLI is asked, and whether it may be asked:
// the client, the credentials and the limits of each DLIConnection, and what was
// learnt of them.
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
	// DefaultProbeInterval is how often an endpoint that fails is probed, and
	// credentials that are rejected are tried.
	DefaultProbeInterval = 30 * time.Second
	// requestTimeout bounds a request, from its first byte to the answer's last.
	requestTimeout = 10 * time.Second
)

// Client asks DLI about jobs; *dli.Client is one.
type Client interface {
	JobStatus(ctx context.Context, creds dli.Credentials, jobID string) (*dli.JobStatus, error)
	JobProgress(ctx context.Context, creds dli.Credentials, jobID string) (*dli.Progress, error)
	ListJobs(ctx context.Context, creds dli.Credentials, options dli.ListOptions) (*dli.JobList, error)
	OpenedConnections() uint64
	CloseIdleConnections()
}

// Recorder counts requests.
type Recorder interface {
	// Requested counts a request of a connection and how long it took; err is nil
	// if it brought what was asked for.
	Requested(connection string, call Call, took time.Duration, err *dli.Error)
}

// Call is what a request asks for.
type Call string

// The calls.
const (
	CallStatus   Call = "status"
	CallList     Call = "list"
	CallProgress Call = "progress"
)

// Connection is a DLIConnection at work: one client, one rate limit, one set of
// credentials, and what was learnt of them, shared by all jobs that use it. It
// never blocks and keeps no time: whoever asks says when.
type Connection struct {
	// Key, UID and Generation name the object that it works for, and Endpoint the
	// URL that is asked, "" while none is known.
	Key        types.NamespacedName
	UID        types.UID
	Generation int64
	Endpoint   string
	// ReportProgress is the object's.
	ReportProgress bool

	client   Client
	recorder Recorder

	// mu guards what follows. All connections share one, since they share
	// lockouts.
	mu          *sync.Mutex
	closed      bool
	broken      *Failure // why it cannot be used at all; nil when it can
	noLists     string   // why no lists are asked for; "" when nothing is wrong with them
	credentials credentials
	circuit     circuit
	throttle    throttle
	pace        pace
	inFlight    inFlight
}

// Name is how messages call the connection.
func (c *Connection) Name() string { return "DLIConnection " + c.Key.String() }

// Who says which job may be asked for.
type Who int

// The answers, each more restrictive than the one before.
const (
	// Anyone may be asked for.
	Anyone Who = iota
	// Probe: one job, to see whether what was wrong still is. Best one that was
	// well when it was last asked for.
	Probe
	// Look: one job that is not known to fail.
	Look
	// FirstLook: one job that was never asked for.
	FirstLook
	// Nobody may be asked for until a request comes back or the connection
	// changes.
	Nobody
)

// standing is what a policy says at a time.
type standing struct {
	// why is what jobs are told while they wait; nil when they merely wait.
	why *Failure
	// self is what the connection says of itself where that is not why; nil where
	// it is.
	self *Failure
	// until is when a request may leave; in the past when at once.
	until time.Time
	who   Who
	// then is when to look whether more may be asked for than who says; zero when a
	// request that comes back tells.
	then time.Time
}

// policy is one rule of what a connection may do. It has no clock, no lock and
// no goroutine of its own.
type policy interface {
	standing(now time.Time) standing
}

// policies are all of them, in the order in which they are told.
func (c *Connection) policies() [5]policy {
	return [...]policy{&c.credentials, &c.circuit, &c.throttle, &c.pace, &c.inFlight}
}

// Admission says who may be asked for at a time.
type Admission struct {
	Who Who
	// Until is when more may be asked for than Who says; zero when a request that
	// comes back or a change of the connection will tell.
	Until time.Time
	// Why is what those are told who wait; nil when they merely wait.
	Why *Failure
}

// Sooner is the earlier of two times of which zero is never, as Admission.Until.
func Sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Next says who may be asked for at now.
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

// Request is one request that the connection has admitted. It must be done.
type Request struct {
	conn *Connection
	job  string
	// again says that the job was throttled when it was last asked for, and probe
	// that the request is the circuit's.
	again, probe bool
	began        time.Time
	creds        dli.Credentials
	guard        *lockout
}

// Begin takes what a request about a job needs, which Next has just admitted; for
// a list jobID is "".
// failed is the reason why the job could not be read when it was last asked for;
// "" if it could. It returns nil if the connection has lost its credentials since
// Next was asked.
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

// evidence is what a request tells of its connection.
type evidence struct {
	why      *Failure // nil when it brought a status
	verified verification
	fault    fault
	// answered says that fault tells of the endpoint; it does not when the operator
	// itself broke the request off, or when who answered is not known to be DLI.
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

// shared reports whether the failure is the connection's rather than the job's.
func (e evidence) shared() bool {
	return e.fault != noFault || e.verified == rejected || e.why.Kind == dli.KindThrottle
}

// Do asks DLI, and draws from the answer what it says of the connection. clock
// tells the time when the answer has come.
//
// It returns a status or a failure; an error only when ctx is done. A failure
// that is the connection's rather than the job's is the one that the connection
// tells of itself, so that both say the same.
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

// Progress is Do for how far the job has come. A failure of it tells nothing of the
// endpoint: some queues cannot say.
func (r *Request) Progress(ctx context.Context, clock func() time.Time) (*dli.Progress, *Failure, error) {
	progress, failure, err := perform(r, CallProgress, clock, func() (*dli.Progress, error) {
		return r.conn.client.JobProgress(ctx, r.creds, r.job)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("asking how far job %q has come: %w", r.job, err)
	}
	return progress, failure, nil
}

// perform makes a request's call; Do says what comes of it.
func perform[T any](r *Request, call Call, clock func() time.Time, ask func() (*T, error)) (*T, *Failure, error) {
	said := evidence{}
	// Deferred, for a panic must not keep what was taken.
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

// end gives back what a request took, and learns. It returns what is to be told
// of a failure.
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

// Health is what the Ready condition of the DLIConnection says.
type Health struct {
	Ready           bool
	Reason, Message string
	// NoLists is why no lists are asked for; "" when nothing is wrong with them. It
	// is part of Message while nothing worse is to be told.
	NoLists string
}

// Health returns what the connection says of itself at now.
func (c *Connection) Health(now time.Time) Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health(now)
}

// health is Health for those who hold the lock.
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
	return Health{Ready: true, Reason: v1alpha1.ReasonConfigured, Message: "complete; DLI has not been asked yet"}
}

// NoteLists has the connection say why no lists are asked for; "" takes it back.
func (c *Connection) NoteLists(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noLists = why
}

// Usage is what metrics tell of a connection.
type Usage struct {
	// Tokens is how many requests the rate limit admits at once.
	Tokens float64
	// Rate is the rate in force, in requests a second.
	Rate float64
	// InFlight is how many requests are on their way.
	InFlight int
	// Dialed is how many TCP connections were opened.
	Dialed uint64
}

// Usage returns what metrics tell of the connection at now.
func (c *Connection) Usage(now time.Time) Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := Usage{Tokens: c.pace.TokensAt(now), Rate: c.throttle.rate(now), InFlight: len(c.inFlight.began)}
	if c.client != nil {
		u.Dialed = c.client.OpenedConnections()
	}
	return u
}

// Limit is how many requests may be on their way at once.
func (c *Connection) Limit() int { return c.inFlight.limit }

// close ends the connection's idle TCP connections. Requests in flight end by
// themselves; no other is admitted. The caller holds the lock.
func (c *Connection) close() {
	c.closed = true
	c.credentials.use(nil)
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
}
