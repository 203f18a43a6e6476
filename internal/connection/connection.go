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
	listsPaused string   // why no lists are requested; "" if nothing is wrong with them
	credentials credentials
	circuit     circuit
	throttle    throttle
	pace        pace
	inFlight    inFlight
}

// Name is the name of the connection in messages.
func (c *Connection) Name() string { return "DLIConnection " + c.Key.String() }

// Health is the content of the DLIConnection's Ready condition.
type Health struct {
	Ready           bool
	Reason, Message string
	// ListsPaused is why no lists are requested; "" if nothing is wrong with them. It is
	// part of Message unless there is something worse to report.
	ListsPaused string
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
		if s := p.decide(now); s.health != nil {
			return Health{Reason: s.health.Reason, Message: s.health.Message}
		} else if s.failure != nil {
			return Health{Reason: s.failure.Reason, Message: s.failure.Message}
		}
	}
	if c.credentials.connected {
		message := "DLI accepts the credentials"
		if c.listsPaused != "" {
			message += "; " + c.listsPaused
		}
		return Health{Ready: true, Reason: v1alpha1.ReasonConnected, Message: message, ListsPaused: c.listsPaused}
	}
	return Health{Ready: true, Reason: v1alpha1.ReasonConfigured, Message: "the settings are complete; DLI has not been polled yet"}
}

// PauseLists sets the reason that the connection reports for not listing; "" clears
// it.
func (c *Connection) PauseLists(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listsPaused = why
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
