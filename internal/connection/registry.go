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
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
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

// Registry finds the connection of a job, and owns the connections in use.
type Registry struct {
	// reader reads DLIConnections and Namespaces from the cache; secrets reads
	// Secrets without a cache.
	reader, secrets client.Reader
	options         Options
	clock           clock.PassiveClock
	recorder        Recorder

	mu       sync.Mutex
	open     map[types.NamespacedName]*Connection
	lockouts lockouts
}

// NewRegistry returns a registry without connections. reader reads DLIConnections
// and Namespaces for every job, so it should be a cache. secrets reads Secrets and
// must not be a cache, which would need permission to list all of them.
func NewRegistry(reader, secrets client.Reader, options Options, recorder Recorder, clock clock.PassiveClock) *Registry {
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
		reader: reader, secrets: secrets, options: options, clock: clock, recorder: recorder,
		open:     map[types.NamespacedName]*Connection{},
		lockouts: lockouts{probe: options.ProbeInterval, byFingerprint: map[string]*lockout{}},
	}
}

// Scope returns what the operator may read.
func (r *Registry) Scope() Scope { return r.options.Scope }

// Default returns the operator's default connection; empty for none.
func (r *Registry) Default() types.NamespacedName { return r.options.Default }

// Configure returns the connection for an object, and opens it if there is none or it is
// for an older generation.
func (r *Registry) Configure(object *v1alpha1.DLIConnection) *Connection {
	key := client.ObjectKeyFromObject(object)
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.open[key]
	if known != nil && known.UID == object.UID && known.Generation >= object.Generation {
		return known
	}
	next := r.build(key, object)
	if known != nil {
		next.takeOver(known)
		known.close()
	}
	r.open[key] = next
	return next
}

// takeOver keeps the throttling state and rate limit tokens of a predecessor: editing
// the object changes neither.
func (c *Connection) takeOver(predecessor *Connection) {
	if c.UID != predecessor.UID || c.Endpoint != predecessor.Endpoint {
		return
	}
	configured := c.throttle.configured
	c.throttle = predecessor.throttle
	c.throttle.configured = configured
	if configured == predecessor.throttle.configured && c.pace.burst == predecessor.pace.burst {
		c.pace = predecessor.pace
	}
}

// Remove closes the connection of a deleted object.
func (r *Registry) Remove(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.open[key]; known != nil {
		known.close()
		delete(r.open, key)
	}
}

// All returns the connections in use.
func (r *Registry) All() []*Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.open))
}

// OpenName returns the name of the connection that a job names or implies, if it
// is in use; else "".
func (r *Registry) OpenName(job *v1alpha1.DLIJob) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	conn := r.open[Referenced(job)]
	if conn == nil && job.Spec.ConnectionRef == nil {
		conn = r.open[r.options.Default]
	}
	if conn == nil {
		return ""
	}
	return conn.Key.String()
}

func (r *Registry) build(key types.NamespacedName, object *v1alpha1.DLIConnection) *Connection {
	conn := newConnection(key, object, r)
	endpoint, err := dli.ResolveEndpoint(object.Spec.Region, object.Spec.Endpoint, r.options.AllowedHosts, r.options.AllowInsecure)
	if err != nil {
		conn.broken = misconfigured(conn, err)
		return conn
	}
	conn.Endpoint, conn.credentials.endpoint = endpoint, endpoint
	client, err := r.options.NewClient(dli.Config{
		Endpoint:      endpoint,
		ProjectID:     object.Spec.ProjectID,
		CABundle:      []byte(object.Spec.CABundle),
		AllowInsecure: r.options.AllowInsecure,
		MaxIdleConns:  conn.inFlight.limit,
		Timeout:       requestTimeout,
		UserAgent:     r.options.UserAgent,
		Budget:        r.options.Budget,
	})
	if err != nil {
		conn.broken = misconfigured(conn, err)
		return conn
	}
	conn.client = client
	conn.credentials.source, conn.broken = r.source(conn, object.Spec.Credentials)
	return conn
}

func newConnection(key types.NamespacedName, object *v1alpha1.DLIConnection, r *Registry) *Connection {
	perSecond, burst := int(object.Spec.RateLimit.RequestsPerSecond), int(object.Spec.RateLimit.Burst)
	// The API server defaults these unless the object is older than the fields.
	if perSecond <= 0 {
		perSecond = 20
	}
	if burst <= 0 {
		burst = 20
	}
	conn := &Connection{
		Key:            key,
		UID:            object.UID,
		Generation:     object.Generation,
		ReportProgress: object.Spec.ReportProgress,
		recorder:       r.recorder,
		probe:          r.options.ProbeInterval,
		mu:             &r.mu,
		circuit:        circuit{probe: r.options.ProbeInterval},
		throttle:       throttle{configured: float64(perSecond)},
		pace:           newPace(perSecond, burst),
		// Enough to sustain the rate at 200 ms per request; at least four, also by default.
		inFlight: inFlight{limit: max(perSecond/5, 4), slow: slowAfter},
	}
	conn.inFlight.most = slowFactor * conn.inFlight.limit
	conn.credentials = credentials{
		salt: string(object.UID), name: conn.Name(), lockouts: &r.lockouts, remembered: object.Status.RejectedCredentials,
	}
	return conn
}

// source returns the source of the connection's credentials, or a failure that says
// why there is none.
func (r *Registry) source(conn *Connection, from v1alpha1.Credentials) (Source, *Failure) {
	if ref := from.SecretRef; ref != nil {
		return secretSource{reader: r.secrets, key: types.NamespacedName{Namespace: conn.Key.Namespace, Name: ref.Name}}, nil
	}
	if allowed := r.options.PodIdentityNamespaces; len(allowed) > 0 && !slices.Contains(allowed, conn.Key.Namespace) {
		return nil, Failf(v1alpha1.ReasonCredentialsRejected,
			"%s may not use podIdentity, which uses the operator's own permissions; use a secretRef, or have namespace %s added to the operator's --pod-identity-namespaces", conn.Name(), conn.Key.Namespace)
	}
	identity, err := dli.PodIdentityFromEnv()
	if err != nil {
		return nil, Failf(v1alpha1.ReasonCredentialsRejected, "%s cannot use the pod's identity: %v", conn.Name(), err)
	}
	return podIdentitySource{identity: identity}, nil
}

func misconfigured(conn *Connection, err error) *Failure {
	if known, ok := dli.AsError(err); ok {
		return Failf(v1alpha1.ReasonEndpointMisconfigured, "%s: %s", conn.Name(), known.Message)
	}
	return Failf(v1alpha1.ReasonEndpointMisconfigured, "%s: %v", conn.Name(), err)
}
