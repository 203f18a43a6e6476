// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"cmp"
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
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
	// unreadableAfter is how long no job could be read before the connection reports it:
	// about twice the longest adaptive interval between two polls of a job.
	unreadableAfter = 2 * time.Minute
)

// Client reads jobs from DLI; *dli.Client implements it.
type Client interface {
	Status(ctx context.Context, creds dli.Credentials, jobType dli.JobType, jobID string) (*dli.JobStatus, error)
	JobProgress(ctx context.Context, creds dli.Credentials, jobID string) (*dli.Progress, error)
	List(ctx context.Context, creds dli.Credentials, jobType dli.JobType, options dli.ListOptions) (*dli.JobList, error)
	OpenedConnections() uint64
	CloseIdleConnections()
}

// Connection is a DLIConnection in use: one client, one rate limit and one set of
// credentials with their state, shared by all jobs that use it. There is one per
// object key, for life: an edit or a re-creation reconfigures it. It never blocks and
// has no clock: callers pass the time.
type Connection struct {
	// Key is the key of the object.
	Key types.NamespacedName

	registry *Registry
	// mu guards the following fields. All connections share the registry's, because they
	// share lockouts.
	mu *sync.Mutex
	// uid and generation are those of the object that it is configured for. revision counts the changes after which the response to a
	// request that was sent before says nothing any more.
	uid        types.UID
	generation int64
	revision   int
	// settings are the fields of the spec whose change begins a new revision.
	settings      v1alpha1.DLIConnectionSpec
	endpoint      string // "" while unknown
	client        Client
	misconfigured *Failure // why it cannot be used at all; nil if it can
	listsPaused   string   // see Note
	isOverloaded  bool
	// selector selects the namespaces that may use the connection, besides its own.
	// selectorInvalid says why it selects nothing, and selectorNote likewise if the
	// connection is usable anyway; nil and "" if they do not apply.
	selector        labels.Selector
	selectorInvalid *Failure
	selectorNote    string
	// unread counts the status calls without a usable response since the last one with, at
	// lastReadAt, and refusal is the first of the latest failures with the same reason.
	unread      int
	lastReadAt  time.Time
	refusal     *Failure
	credentials credentials
	circuit     circuit
	throttle    throttle
	inFlight    inFlight
}

// Name is the name of the connection in messages.
func (c *Connection) Name() string { return "DLIConnection " + c.Key.String() }

// Health is what the DLIConnection's status says.
type Health struct {
	Ready           bool
	Reason, Message string
	// ListsPaused is why no lists are requested; "" if nothing is wrong with them. It
	// is part of Message unless there is something worse to report.
	ListsPaused string
	// Endpoint is the URL in use; "" while unknown.
	Endpoint string
}

// Health returns the state of the connection.
func (c *Connection) Health(now time.Time) Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	health := Health{Endpoint: c.endpoint}
	switch failure := c.worstFailure(now); {
	case failure != nil:
		health.Reason, health.Message = failure.Reason, failure.Message
	case !c.credentials.isConnected:
		health.Ready, health.Reason = true, v1alpha1.ReasonConfigured
		health.Message = "the settings are complete; DLI has not been polled yet"
	default:
		health.Ready, health.Reason, health.Message = true, v1alpha1.ReasonConnected, "DLI accepts the credentials"
		if health.ListsPaused = c.listsPaused; c.listsPaused != "" {
			health.Message += "; " + c.listsPaused
		}
		if c.isOverloaded {
			health.Message += "; jobs wait longer for their turn than their poll interval: raise spec.rateLimit if DLI allows it, or poll fewer jobs, or less often"
		}
	}
	health.Message += c.selectorNote
	return health
}

// worstFailure is what the connection reports to be wrong; nil if it works.
func (c *Connection) worstFailure(now time.Time) *Failure {
	failure := cmp.Or(c.selectorInvalid, c.misconfigured, c.decisionAt(now).health)
	// Between two polls of the only job that can be read, others may fail.
	if failure == nil && c.unread >= circuitFailures && now.Sub(c.lastReadAt) >= unreadableAfter {
		failure = c.refusal
	}
	return failure
}

// Note sets what else the connection reports: why no lists are requested, if that is not
// "", and whether jobs wait longer for their turn than their poll interval. It reports
// whether that has changed.
func (c *Connection) Note(listsPaused string, isOverloaded bool) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed = c.listsPaused != listsPaused || c.isOverloaded != isOverloaded
	c.listsPaused, c.isOverloaded = listsPaused, isOverloaded
	return changed
}

// Stats are the limits of a connection, and their use.
type Stats struct {
	// Revision counts the changes of the connection after which jobs that could not be
	// read may be readable; 1 at first.
	Revision int
	// Rate is the current rate limit in requests per second, and Tokens how many requests
	// it allows right now.
	Rate, Tokens float64
	// InFlight is how many requests are in flight, and MaxInFlight how many may be, not
	// counting slow ones.
	InFlight, MaxInFlight int
	// Dialed is how many TCP connections were opened.
	Dialed uint64
}

// Stats returns the connection's limits and their use.
func (c *Connection) Stats(now time.Time) Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := Stats{
		Revision: c.revision, Rate: c.throttle.currentRate(now), Tokens: c.throttle.tokensAt(now),
		InFlight: len(c.inFlight.sentAt), MaxInFlight: c.inFlight.limit,
	}
	if c.client != nil {
		stats.Dialed = c.client.OpenedConnections()
	}
	return stats
}
