// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Options are the operator's settings for all connections.
type Options struct {
	// Default is the DLIConnection for DLIJobs that name none and whose namespace
	// has none named "default"; empty for none.
	Default types.NamespacedName
	// AllowedHosts are the patterns that the host of an endpoint must match;
	// empty for any host.
	AllowedHosts []string
	// AllowInsecure allows http and any address: for demos and tests.
	AllowInsecure bool
	// UserAgent is sent with every request.
	UserAgent string
	// ProbeInterval is how often a failed endpoint or rejected credentials are
	// tried; DefaultProbeInterval if zero. Secrets are read again after 1.5 times
	// this interval, and after two thirds of it while they do not work.
	ProbeInterval time.Duration
	// PodIdentityNamespaces are the namespaces whose DLIConnections may use
	// podIdentity, which uses the operator's own permissions; empty for all.
	PodIdentityNamespaces []string
	// Scope is what the operator may read.
	Scope Scope
	// Budget limits the memory of all responses that are read at the same time; nil
	// means one of dli.DefaultResponseBytes.
	Budget *dli.ResponseBudget
	// NewClient creates the client of a connection; nil means dli.NewClient.
	NewClient func(dli.Config) (Client, error)
}

// Scope is what the operator may read in addition to DLIJobs. The zero value is
// everything.
type Scope struct {
	// ConnectionNamespaces are the namespaces whose DLIConnections are read; empty
	// for all.
	ConnectionNamespaces []string
	// WithoutNamespaces is set if Namespaces are not read, so that grants by selector
	// have no effect.
	WithoutNamespaces bool
}

// readsNamespace reports whether the DLIConnections of a namespace are read.
func (s Scope) readsNamespace(namespace string) bool {
	return len(s.ConnectionNamespaces) == 0 || slices.Contains(s.ConnectionNamespaces, namespace)
}

// NamespacesNeeded says which permission is missing for grants by selector.
const NamespacesNeeded = "the operator may not read Namespaces; grant it get, list and watch on namespaces with a ClusterRole, and restart it"

// notAllowed is the failure of a job that may not use a connection in another
// namespace. It is the same whether or not the connection exists: authors of
// DLIJobs must not learn what other namespaces contain.
func (s Scope) notAllowed(connection types.NamespacedName, namespace string) *Failure {
	if !s.readsNamespace(connection.Namespace) {
		return Failf(v1alpha1.ReasonConnectionNotAllowed,
			"the operator does not read DLIConnections in namespace %s; name one in namespace %s in spec.connectionRef, or have %s added to the operator's --watch-namespaces, and a Role created there", connection.Namespace, namespace, connection.Namespace)
	}
	failure := Failf(v1alpha1.ReasonConnectionNotAllowed,
		"DLIConnection %s does not exist or does not allow namespace %s; ask its owner to allow it in spec.allowedNamespaces", connection, namespace)
	if s.WithoutNamespaces {
		failure.Message += ", but not with a selector: " + NamespacesNeeded
	}
	return failure
}

// Recorder counts requests.
type Recorder interface {
	// Requested counts a request of a connection and how long it took; err is nil if
	// it succeeded.
	Requested(connection string, call string, took time.Duration, err *dli.Error)
}

// Registry owns the connections in use, and finds the one of a job.
type Registry struct {
	// reader reads DLIConnections and Namespaces from the cache; live reads them and
	// Secrets from the API server.
	reader, live client.Reader
	options      Options
	recorder     Recorder

	mu sync.Mutex
	// connections are those in use, and removed those without an object that DLI throttles.
	connections, removed map[types.NamespacedName]*Connection
	// lockouts are by access key. hasReadStored is set once they have what earlier processes
	// stored.
	lockouts      map[string]*lockout
	hasReadStored bool
}

// NewRegistry returns a registry without connections. reader reads DLIConnections
// and Namespaces for every job, so it should be a cache. live reads Secrets and must not
// be a cache, which would need permission to list all of them.
func NewRegistry(reader, live client.Reader, options Options, recorder Recorder) *Registry {
	if options.ProbeInterval <= 0 {
		options.ProbeInterval = DefaultProbeInterval
	}
	if options.Budget == nil {
		options.Budget = dli.NewResponseBudget(dli.DefaultResponseBytes)
	}
	if options.NewClient == nil {
		options.NewClient = func(config dli.Config) (Client, error) { return dli.NewClient(config) }
	}
	return &Registry{
		reader: reader, live: live, options: options, recorder: recorder,
		connections: map[types.NamespacedName]*Connection{},
		removed:     map[types.NamespacedName]*Connection{},
		lockouts:    map[string]*lockout{},
	}
}

// Options returns the operator's settings for all connections.
func (r *Registry) Options() Options { return r.options }

// Get returns the connection of an object; nil if it is not configured.
func (r *Registry) Get(key types.NamespacedName) *Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connections[key]
}

// All returns the connections in use.
func (r *Registry) All() []*Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.connections))
}

// Configure returns the connection of an object, as the object says. It costs nothing
// if the connection is already for this version of the object, or for a newer one.
func (r *Registry) Configure(object *v1alpha1.DLIConnection) *Connection {
	key := client.ObjectKeyFromObject(object)
	r.mu.Lock()
	defer r.mu.Unlock()
	conn := r.connections[key]
	if conn == nil {
		conn = cmp.Or(r.removed[key], &Connection{Key: key, registry: r, mu: &r.mu})
		delete(r.removed, key)
		r.connections[key] = conn
	}
	if conn.uid != object.UID || conn.generation < object.Generation {
		conn.applyObject(object)
	}
	return conn
}

// Remove ends the use of a connection whose object was deleted. How DLI throttles it is
// remembered: the object may be created anew.
func (r *Registry) Remove(key types.NamespacedName, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if conn := r.connections[key]; conn != nil {
		conn.endRevision()
		conn.uid = ""
		delete(r.connections, key)
		r.removed[key] = conn
	}
	maps.DeleteFunc(r.removed, func(_ types.NamespacedName, conn *Connection) bool { return !conn.throttle.isAdapted(now) })
}

// The defaults of a rateLimit, for objects that are older than the fields.
const defaultRate, defaultBurst = 20, 20

// applyObject makes the connection what its object says. The rate limit, its tokens and
// how DLI throttles survive that, unless the endpoint is another one.
func (c *Connection) applyObject(object *v1alpha1.DLIConnection) {
	spec, options := object.Spec, &c.registry.options
	isUnchanged := c.uid == object.UID
	c.uid, c.generation = object.UID, object.Generation
	c.setSelector(spec.AllowedNamespaces, options.Scope)
	spec.AllowedNamespaces, spec.ReportProgress, spec.ReportCost = v1alpha1.AllowedNamespaces{}, false, false
	if isUnchanged && equality.Semantic.DeepEqual(spec, c.settings) {
		return
	}
	c.endRevision()
	before := c.credentials
	endpoint, err := dli.ResolveEndpoint(spec.Region, spec.Endpoint, options.AllowedHosts, options.AllowInsecure)
	c.credentials = credentials{name: c.Name(), uid: string(c.uid), endpoint: endpoint, probe: options.ProbeInterval, lockoutOf: c.registry.lockoutOf}
	if isUnchanged && equality.Semantic.DeepEqual(spec.Credentials, c.settings.Credentials) {
		c.credentials.current, c.credentials.expires = before.current, before.expires // if none can be fetched
	}
	c.settings, c.misconfigured, c.listsPaused = spec, nil, ""
	c.circuit = circuit{probe: options.ProbeInterval}
	c.unread, c.refusal, c.lastReadAt = circuitFailures-1, nil, time.Time{} // the first failure is enough
	rate := cmp.Or(int(spec.RateLimit.RequestsPerSecond), defaultRate)
	// Enough to sustain the rate at 200 ms per request; at least four, also by default.
	limit := max(rate/5, 4)
	c.inFlight = inFlight{limit: limit, most: slowFactor * limit, slow: slowAfter}
	if endpoint != c.endpoint {
		c.throttle = throttle{}
	}
	c.throttle.configured, c.throttle.burst = float64(rate), float64(cmp.Or(spec.RateLimit.Burst, defaultBurst))
	c.endpoint = endpoint
	if err == nil {
		c.credentials.fetch, err = newSource(&spec.Credentials, c.Key, c.registry.live, options.PodIdentityNamespaces)
	}
	if err == nil {
		c.client, err = options.NewClient(dli.Config{
			Endpoint:      endpoint,
			ProjectID:     spec.ProjectID,
			CABundle:      []byte(spec.CABundle),
			AllowInsecure: options.AllowInsecure,
			MaxIdleConns:  limit,
			Timeout:       requestTimeout,
			UserAgent:     options.UserAgent,
			Language:      string(spec.Language),
			Budget:        options.Budget,
		})
	}
	if err != nil {
		failure, isFailure := AsFailure(err)
		if !isFailure {
			failure = Failf(v1alpha1.ReasonEndpointMisconfigured, "%s: %v", c.Name(), err)
		}
		c.client, c.misconfigured = nil, failure
	}
}

// endRevision begins a new revision without a client. Requests in flight complete, but
// their responses are dropped.
func (c *Connection) endRevision() {
	c.revision++
	c.credentials.lockout = nil
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	c.client = nil
}

// readStored reads, once, what earlier processes have stored about access keys.
func (r *Registry) readStored(ctx context.Context, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hasReadStored {
		return nil
	}
	list := &v1alpha1.DLIConnectionList{}
	if err := r.reader.List(ctx, list); err != nil {
		return fmt.Errorf("listing DLIConnections: %w", err)
	}
	for _, object := range list.Items {
		adoptStored(r.lockoutOf, object.Status.RejectedCredentials, now)
	}
	r.hasReadStored = true
	return nil
}

// lockoutOf returns the guard of an access key, which is the beginning of a fingerprint.
func (r *Registry) lockoutOf(key string, now time.Time) *lockout {
	found := r.lockouts[key]
	if found == nil {
		r.dropLockouts(now)
		found = &lockout{
			probe: r.options.ProbeInterval, verdicts: map[string]*verdict{},
			trials: inFlight{limit: 1, most: maxTrials, slow: trialSlow},
		}
		r.lockouts[key] = found
	}
	return found
}

// dropLockouts drops the guards of access keys that no connection uses and that say
// nothing any more.
func (r *Registry) dropLockouts(now time.Time) {
	used := map[*lockout]bool{}
	for _, conn := range r.connections {
		used[conn.credentials.lockout] = true
	}
	maps.DeleteFunc(r.lockouts, func(_ string, l *lockout) bool {
		return !used[l] && len(l.trials.sentAt) == 0 && now.After(Later(l.lockedUntil, l.countUntil.Add(lockoutWindow)))
	})
}
