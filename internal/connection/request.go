// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

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
	jobType  dli.JobType
	jobID    string
	revision int
	client   Client
	attempt
	// throttledBefore is set if the last request of the kind was throttled.
	throttledBefore bool
}

// Begin reserves what a request needs, which Decide has just admitted. It is about jobs of
// a type; for a list, jobID is "". lastReason is the reason why the last request of the kind
// failed; "" if it did not. It returns nil if the connection has lost its credentials since
// Decide was called.
func (c *Connection) Begin(now time.Time, call string, jobType dli.JobType, jobID, lastReason string) *Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil || c.credentials.lockout == nil {
		return nil
	}
	c.throttle.requestSent(now)
	c.inFlight.requestSent(now)
	c.circuit.requestSent(now)
	return &Request{
		conn: c, call: call, jobType: jobType, jobID: jobID, revision: c.revision, client: c.client,
		attempt: c.credentials.requestSent(now), throttledBefore: lastReason == v1alpha1.ReasonRateLimited,
	}
}

// SendStatus sends a request for the status of its job, and updates the connection with what
// the response shows. clock returns the time when the response has arrived.
//
// The error is a *Failure, ErrOutdated, or that of ctx. A failure that belongs to the
// connection rather than the job is the one that the connection reports, so that both
// say the same.
func (r *Request) SendStatus(ctx context.Context, clock func() time.Time) (*dli.JobStatus, error) {
	return sendRequest(r, clock, func() (*dli.JobStatus, error) { return r.client.Status(ctx, r.creds, r.jobType, r.jobID) })
}

// SendList is SendStatus for a page of a list of jobs. Its failure says nothing about the
// connection: it may be this API call alone that fails.
func (r *Request) SendList(ctx context.Context, clock func() time.Time, options dli.ListOptions) (*dli.JobList, error) {
	return sendRequest(r, clock, func() (*dli.JobList, error) { return r.client.List(ctx, r.creds, r.jobType, options) })
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
			_ = r.conn.requestDone(r, aborted, clock())
		}
	}()
	response, err := call()
	failed, isFailed := dli.AsError(err)
	switch {
	case errors.Is(err, dli.ErrNoBudget): // it says nothing about the connection
		return nil, Failf(v1alpha1.ReasonServerError, "the operator is reading too many large responses at once; it retries")
	case err != nil && !isFailed:
		return nil, fmt.Errorf("sending a %s request to DLI: %w", r.call, err)
	}
	now := clock()
	isDone = true
	err = r.conn.requestDone(r, failureOf(failed, r.conn.Name()), now)
	if !errors.Is(err, ErrOutdated) { // the metrics of a deleted connection have ended
		r.conn.registry.recorder.Requested(r.conn.Key.String(), r.call, now.Sub(r.sentAt), failed)
	}
	if err != nil {
		return nil, err
	}
	return response, nil
}

// requestDone releases what a request reserved, and updates the policies with what it
// showed. It returns the failure to report, or ErrOutdated.
func (c *Connection) requestDone(r *Request, failure *Failure, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	isDoubtful := r.attempt.requestDone(r.call == CallStatus, failure, now)
	if r.revision != c.revision {
		return ErrOutdated
	}
	c.inFlight.requestDone(r.sentAt)
	switch {
	case failure == aborted:
		return nil
	case isDoubtful || failure.isRejection() && r.creds != c.credentials.current:
		return ErrOutdated
	case failure != nil && r.call != CallStatus:
		return failure
	}
	c.circuit.requestDone(r.jobID, failure, r.sentAt, now)
	c.noteReading(failure, now)
	if failure.isAccepting() {
		c.credentials.isConnected = true
		c.throttle.requestAccepted(r.sentAt)
	}
	if failure == nil {
		return nil
	}
	if failure.Kind == dli.KindThrottle {
		c.throttle.slowDown(failure, r.throttledBefore, now)
	}
	if failure.isShared() {
		return cmp.Or(c.decisionAt(now).Reason, failure)
	}
	return failure
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
