// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// Decide says which jobs may be polled.
func (c *Connection) Decide(now time.Time) Decision {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		return Decision{Admit: AdmitNone, Reason: c.misconfigured}
	}
	c.credentials.isWanted = true
	return c.decisionAt(now)
}

// decisionAt is what all policies together say; the first one that has something to report wins.
func (c *Connection) decisionAt(now time.Time) (all Decision) {
	for _, p := range [...]policy{&c.credentials, &c.circuit, &c.throttle, &c.inFlight} {
		one := p.decisionAt(now)
		all.Admit, all.RecheckAt = max(all.Admit, one.Admit), Sooner(all.RecheckAt, one.RecheckAt)
		all.Reason, all.health = cmp.Or(all.Reason, one.Reason), cmp.Or(all.health, one.health, one.Reason)
	}
	return all
}

// Refresh takes the rejectedCredentials of the connection's object, fetches the credentials
// if they are due, and returns the rejectedCredentials to write, with a precondition on the
// object's resourceVersion, and when to call it again. Only one caller may refresh a
// connection at a time. The error means that reading from the API server failed.
func (c *Connection) Refresh(ctx context.Context, stored *v1alpha1.RejectedCredentials, now time.Time) (rejected *v1alpha1.RejectedCredentials, next time.Duration, err error) {
	if err = c.registry.readStored(ctx, now); err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	c.credentials.setStored(stored, now)
	revision, fetch := c.revision, c.credentials.fetch
	isDue := c.client != nil && !now.Before(c.credentials.fetchDue(now))
	c.mu.Unlock()
	var creds dli.Credentials
	var expires time.Time
	if isDue {
		creds, expires, err = fetch(ctx)
	}
	failure, isFailure := AsFailure(err)
	if err != nil && !isFailure {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if isDue && c.revision == revision { // meanwhile
		c.credentials.setFetched(creds, expires, failure, now)
	}
	// What a connection reports may end by time alone.
	next = retryInterval(c.registry.options.ProbeInterval)
	if c.client != nil {
		next = min(next, c.credentials.fetchDue(now).Sub(now))
	}
	if l := c.credentials.lockout; l != nil && c.credentials.isRejected() && now.Before(l.retryAt()) {
		next = min(next, l.retryAt().Sub(now))
	}
	return c.credentials.toStore(now), max(next, time.Millisecond), nil
}

// maxSelected limits the values of a selector: each is compared for each job.
const maxSelected = 1000

// setSelector sets which namespaces may use the connection.
func (c *Connection) setSelector(allowed v1alpha1.AllowedNamespaces, scope Scope) {
	c.selector, c.selectorInvalid, c.selectorNote = labels.Nothing(), nil, ""
	switch {
	case allowed.From == v1alpha1.NamespacesFromAll:
		c.selector = labels.Everything()
	case allowed.From != v1alpha1.NamespacesFromSelector || allowed.Selector == nil:
	case scope.WithoutNamespaces:
		c.selectorNote = "; spec.allowedNamespaces.selector selects nothing: " + NamespacesNeeded
	default:
		selector, err := metav1.LabelSelectorAsSelector(allowed.Selector)
		values := 0
		for _, expression := range allowed.Selector.MatchExpressions {
			values += len(expression.Values)
		}
		if err == nil && values > maxSelected {
			err = fmt.Errorf("it has %d values, and at most %d are read", values, maxSelected)
		}
		if err != nil {
			c.selectorInvalid = Failf(v1alpha1.ReasonSelectorInvalid, "spec.allowedNamespaces.selector selects nothing: %v; correct it", err)
			return
		}
		c.selector = selector
	}
}
