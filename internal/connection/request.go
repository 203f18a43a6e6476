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

// Begin reserves what a request for a job needs, which Decide has just admitted; for
// a list, jobID is "". failed is the reason why the last poll of the job failed; ""
// if it did not. It returns nil if the connection has lost its credentials since
// Decide was called.
func (c *Connection) Begin(now time.Time, jobID, failed string, admit Admit) *Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.credentials.lockout == nil {
		return nil
	}
	c.pace.AllowN(now, 1)
	c.inFlight.begin(now)
	c.credentials.lockout.begin(now)
	return &Request{
		conn: c, job: jobID, again: failed == v1alpha1.ReasonRateLimited, probe: c.circuit.begin(admit, now),
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
	if errors.Is(err, dli.ErrNoBudget) {
		// It says nothing about the connection.
		return nil, Failf(v1alpha1.ReasonServerError, "the operator is reading too many large responses at once; it retries"), nil
	}
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
		if why := p.decide(now).failure; why != nil {
			return why
		}
	}
	return e.why
}
