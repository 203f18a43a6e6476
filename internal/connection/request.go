// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Recorder counts requests.
type Recorder interface {
	// Requested counts a request of a connection and how long it took; err is nil if
	// it succeeded.
	Requested(connection string, call string, took time.Duration, err *dli.Error)
}

// The API calls of requests.
const (
	CallStatus   = "status"
	CallList     = "list"
	CallProgress = "progress"
)

// ErrOutdated is the error of a request that is to be repeated: its connection has
// changed since it was sent, so whatever the response was, it is not one of the
// connection as it is now; or it was the first with credentials that DLI no longer
// accepts, which the next request confirms.
var ErrOutdated = errors.New("the DLIConnection has changed since the request was sent")

// Request is one request that the connection has admitted. It must be sent.
type Request struct {
	conn     *Connection
	call     string
	jobID    string
	revision int
	client   Client
	creds    dli.Credentials
	lockout  *lockout
	sentAt   time.Time
	// set identifies the credentials, and isTrial is set if DLI has not accepted them.
	set     string
	isTrial bool
	// throttledBefore is set if the last request of the kind was throttled.
	throttledBefore bool
}

// Begin reserves what a request needs, which Decide has just admitted. For a list,
// jobID is "". lastReason is the reason why the last request of the kind failed; "" if
// it did not. It returns nil if the connection has lost its credentials since Decide
// was called.
func (c *Connection) Begin(now time.Time, call string, jobID, lastReason string) *Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil || c.credentials.lockout == nil {
		return nil
	}
	c.throttle.limiter.AllowN(now, 1)
	c.inFlight.requestSent(now)
	c.circuit.requestSent(now)
	return &Request{
		conn: c, call: call, jobID: jobID, revision: c.revision, client: c.client,
		creds: c.credentials.current, set: c.credentials.set, lockout: c.credentials.lockout,
		sentAt: now, isTrial: c.credentials.requestSent(now),
		throttledBefore: lastReason == v1alpha1.ReasonRateLimited,
	}
}

// SendStatus sends a request for the status of its job, of a type, and updates the connection
// with what the response shows. clock returns the time when the response has arrived.
//
// The error is a *Failure, ErrOutdated, or that of ctx. A failure that belongs to the
// connection rather than the job is the one that the connection reports, so that both
// say the same.
func (r *Request) SendStatus(ctx context.Context, jobType dli.JobType, clock func() time.Time) (*dli.JobStatus, error) {
	return sendRequest(r, clock, func() (*dli.JobStatus, error) { return r.client.Status(ctx, r.creds, jobType, r.jobID) })
}

// SendList is SendStatus for a page of a list of jobs of a type. Its failure says nothing about the
// connection: it may be this API call alone that fails.
func (r *Request) SendList(ctx context.Context, jobType dli.JobType, options dli.ListOptions, clock func() time.Time) (*dli.JobList, error) {
	return sendRequest(r, clock, func() (*dli.JobList, error) { return r.client.List(ctx, r.creds, jobType, options) })
}

// SendProgress is SendStatus for the progress of its job. Its failure says nothing
// about the connection: some queues do not report progress.
func (r *Request) SendProgress(ctx context.Context, clock func() time.Time) (*dli.Progress, error) {
	return sendRequest(r, clock, func() (*dli.Progress, error) { return r.client.JobProgress(ctx, r.creds, r.jobID) })
}

// sendRequest makes the API call of a request; see SendStatus.
func sendRequest[T any](r *Request, clock func() time.Time, call func() (*T, error)) (*T, error) {
	isDone := false
	defer func() {
		if !isDone { // a panic must not leak what was reserved, either
			_ = r.conn.requestDone(r, evidence{}, clock())
		}
	}()
	response, err := call()
	if errors.Is(err, dli.ErrNoBudget) { // it says nothing about the connection
		return nil, Failf(v1alpha1.ReasonServerError, "the operator is reading too many large responses at once; it retries")
	}
	failed, known := dli.AsError(err)
	if err != nil && !known {
		return nil, fmt.Errorf("sending a %s request to DLI: %w", r.call, err)
	}
	now := clock()
	isDone = true
	err = r.conn.requestDone(r, evidenceOf(failed, r.conn.Name()), now)
	if !errors.Is(err, ErrOutdated) { // the metrics of a deleted connection have ended
		r.conn.recorder.Requested(r.conn.Key.String(), r.call, now.Sub(r.sentAt), failed)
	}
	if err != nil {
		return nil, err
	}
	return response, nil
}

// noteReading records whether a job could be read. If none could for a while, or not the
// first one, the connection reports what the jobs do.
func (c *Connection) noteReading(failure *Failure, now time.Time) {
	if failure == nil || failure.Reason == v1alpha1.ReasonJobNotFound {
		c.unread, c.refusal, c.lastReadAt = 0, nil, now
		return
	}
	c.unread++
	if c.refusal == nil || c.refusal.Reason != failure.Reason {
		c.refusal = failure
	}
}

// requestDone releases what a request reserved, and updates the policies with what it
// showed. It returns the failure to report, or ErrOutdated.
func (c *Connection) requestDone(r *Request, e evidence, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	isDoubtful := r.lockout.requestDone(r, e, now)
	if r.revision != c.revision {
		return ErrOutdated
	}
	c.inFlight.requestDone(r.sentAt)
	switch {
	case isDoubtful || e.rejected && r.creds != c.credentials.current:
		return ErrOutdated
	case e.failure != nil && r.call != CallStatus:
		return e.failure
	}
	c.circuit.requestDone(r.jobID, e, r.sentAt, now)
	if e.accepted {
		c.credentials.isConnected = true
		c.throttle.requestAccepted(r.sentAt)
	}
	c.noteReading(e.failure, now)
	if e.failure == nil {
		return nil
	}
	if e.failure.Kind == dli.KindThrottle {
		c.throttle.slowDown(e.failure, r.throttledBefore, now)
	}
	if e.isShared() {
		for _, p := range c.allPolicies() {
			if failure := p.decisionAt(now).Reason; failure != nil {
				return failure
			}
		}
	}
	return e.failure
}
