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

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// ConnectionOptions are the operator's settings for all connections.
type ConnectionOptions struct {
	// Default is the DLIConnection of DLIJobs that name none and whose namespace
	// has none of the name "default"; empty for none.
	Default types.NamespacedName
	// AllowedHosts are the patterns that the host of an endpoint must match;
	// empty for any host.
	AllowedHosts []string
	// AllowInsecure admits http and any address: for demos and tests.
	AllowInsecure bool
	// UserAgent is sent with every request.
	UserAgent string
	// ProbeInterval is how often an endpoint or credentials that have failed are
	// tried; 30 s when it is zero. Secrets are read again after one and a half of
	// it, and after two thirds while they do not work.
	ProbeInterval time.Duration
	// PodIdentityNamespaces are the namespaces whose DLIConnections may use
	// podIdentity, which asks with the operator's own rights; empty for all.
	PodIdentityNamespaces []string
	// Scope is what the operator may read.
	Scope Scope
}

// Connections finds the connection of a job and keeps those in use open. It
// owns all of them; both reconcilers share it.
type Connections struct {
	// Reader reads DLIConnections and Namespaces, from the cache.
	Reader client.Reader
	// Secrets reads Secrets, not from a cache.
	Secrets client.Reader
	Options ConnectionOptions

	// News is told of what changes.
	News    *News
	Clock   clock.PassiveClock
	Metrics *Metrics

	workers workers
	epochs  atomic.Uint64
	mu      sync.Mutex
	open    map[types.NamespacedName]*connection
	gates   map[string]*gate
}

// find returns the connection that a job may use, or why there is none.
func (c *Connections) find(ctx context.Context, job *v1alpha1.DLIJob) (*connection, *failure, error) {
	key, object, err := c.resolve(ctx, job)
	if err != nil {
		return nil, nil, err
	}
	foreign := key.Namespace != job.Namespace
	if object != nil && foreign {
		allowed, err := c.allows(ctx, object, job.Namespace)
		if err != nil {
			return nil, nil, err
		}
		if !allowed {
			object = nil
		}
	}
	switch {
	case object != nil:
		return c.opened(ctx, object), nil, nil
	case key == types.NamespacedName{}:
		return nil, failf(v1alpha1.ReasonConnectionNotFound,
			"there is no DLIConnection named %s in namespace %s; create it, or name another in spec.connectionRef", v1alpha1.DefaultConnectionName, job.Namespace), nil
	case foreign:
		return nil, c.Options.Scope.notAllowed(key, job.Namespace), nil
	default:
		return nil, failf(v1alpha1.ReasonConnectionNotFound,
			"DLIConnection %s does not exist; create it, or correct spec.connectionRef", key), nil
	}
}

// resolve returns the key of a job's connection and its object, nil if it does
// not exist. The key is empty if the job names none and there is no default.
func (c *Connections) resolve(ctx context.Context, job *v1alpha1.DLIJob) (types.NamespacedName, *v1alpha1.DLIConnection, error) {
	if job.Spec.ConnectionRef != nil {
		key := referencedConnection(job)
		object, err := c.get(ctx, key)
		return key, object, err
	}
	key := types.NamespacedName{Namespace: job.Namespace, Name: v1alpha1.DefaultConnectionName}
	if object, err := c.get(ctx, key); object != nil || err != nil {
		return key, object, err
	}
	if c.Options.Default.Name == "" {
		return types.NamespacedName{}, nil, nil
	}
	object, err := c.get(ctx, c.Options.Default)
	return c.Options.Default, object, err
}

// referencedConnection is the key that a job's connectionRef names; that of its
// namespace's default when it names none.
func referencedConnection(job *v1alpha1.DLIJob) types.NamespacedName {
	key := types.NamespacedName{Namespace: job.Namespace, Name: v1alpha1.DefaultConnectionName}
	if ref := job.Spec.ConnectionRef; ref != nil {
		key.Name = ref.Name
		if ref.Namespace != "" {
			key.Namespace = ref.Namespace
		}
	}
	return key
}

// get reads a DLIConnection, nil if it does not exist or is not the operator's
// to read. It is the cache's own object: nobody changes it.
func (c *Connections) get(ctx context.Context, key types.NamespacedName) (*v1alpha1.DLIConnection, error) {
	if !c.Options.Scope.reads(key.Namespace) {
		return nil, nil
	}
	object := &v1alpha1.DLIConnection{}
	err := c.Reader.Get(ctx, key, object, sharedObject)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading DLIConnection %s: %w", key, err)
	}
	return object, nil
}

// sharedObject spares a copy of what is only read.
var sharedObject = &client.GetOptions{UnsafeDisableDeepCopy: new(true)}

// allows tells whether a connection may be used from another namespace.
func (c *Connections) allows(ctx context.Context, object *v1alpha1.DLIConnection, namespace string) (bool, error) {
	switch object.Spec.AllowedNamespaces.From {
	case v1alpha1.NamespacesFromAll:
		return true, nil
	case v1alpha1.NamespacesFromSelector:
	default:
		return false, nil
	}
	if c.Options.Scope.WithoutNamespaces {
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(object.Spec.AllowedNamespaces.Selector)
	if err != nil {
		return false, nil //nolint:nilerr // the connection's own status says what is wrong with it
	}
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := c.Reader.Get(ctx, types.NamespacedName{Name: namespace}, meta, sharedObject); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return selector.Matches(labels.Set(meta.Labels)), nil
}

// opened returns the connection that works as an object says, opening it if
// there is none or it works as an older one said.
func (c *Connections) opened(ctx context.Context, object *v1alpha1.DLIConnection) *connection {
	conn, isNew := c.openedOrBuilt(object)
	if isNew {
		// Its reconciler fetches the credentials, and forgets it if the object is
		// gone by now.
		c.News.changed(ctx, conn.key, false)
	}
	return conn
}

func (c *Connections) openedOrBuilt(object *v1alpha1.DLIConnection) (conn *connection, isNew bool) {
	key := client.ObjectKeyFromObject(object)
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.open[key]
	if known != nil && known.uid == object.UID && known.generation >= object.Generation {
		return known, false
	}
	next := c.build(key, object)
	if known != nil {
		known.close()
		next.takeOver(known)
	}
	if c.open == nil {
		c.open = map[types.NamespacedName]*connection{}
	}
	c.open[key] = next
	return next, true
}

// takeOver lets the jobs keep their turns that wait at a predecessor with the
// same rate limit.
func (c *connection) takeOver(predecessor *connection) {
	same := c.limiter.Limit() == predecessor.limiter.Limit() && c.limiter.Burst() == predecessor.limiter.Burst()
	if same && c.uid == predecessor.uid {
		c.limiter, c.pace = predecessor.limiter, predecessor.pace
	}
}

// forget closes a connection whose object is gone.
func (c *Connections) forget(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.open[key]; known != nil {
		known.close()
		delete(c.open, key)
		c.Metrics.forget(known.label)
	}
}

// all returns the connections in use.
func (c *Connections) all() []*connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.open))
}

// openName returns the name of the connection that a job names or implies, if
// it is in use; else "".
func (c *Connections) openName(job *v1alpha1.DLIJob) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.open[referencedConnection(job)]
	if conn == nil && job.Spec.ConnectionRef == nil {
		conn = c.open[c.Options.Default]
	}
	if conn == nil {
		return ""
	}
	return conn.label
}

func (c *Connections) build(key types.NamespacedName, object *v1alpha1.DLIConnection) *connection {
	spec := object.Spec
	perSecond, burst := int(spec.RateLimit.RequestsPerSecond), int(spec.RateLimit.Burst)
	// The API server sets these unless the object is older than the fields.
	if perSecond <= 0 {
		perSecond = 20
	}
	if burst <= 0 {
		burst = 20
	}
	conn := &connection{
		key:        key,
		label:      key.String(),
		metrics:    c.Metrics,
		uid:        object.UID,
		generation: object.Generation,
		built:      c.Clock.Now(),
		limiter:    rate.NewLimiter(rate.Limit(perSecond), burst),
		pace:       rate.NewLimiter(rate.Limit(perSecond), burst),
		// Enough to keep the rate at 200 ms a request; four, at least, and by default.
		places:  max(perSecond/5, 4),
		workers: &c.workers,
		gates:   c.gateOf,
		changed: c.News.changed,
		// A number that no other connection has, so that a job which was held back
		// by a predecessor is not held by this one.
		epoch: c.epochs.Add(1) << 32,
	}
	conn.probe = c.Options.ProbeInterval
	if conn.probe <= 0 {
		conn.probe = defaultProbe
	}
	conn.breaker = newBreaker(conn.label, conn.probe)
	conn.broken = c.equip(conn, spec)
	return conn
}

// equip gives a connection its client and its source of credentials, or says
// why it cannot have them.
func (c *Connections) equip(conn *connection, spec v1alpha1.DLIConnectionSpec) *failure {
	endpoint, err := dli.ResolveEndpoint(spec.Region, spec.Endpoint, c.Options.AllowedHosts, c.Options.AllowInsecure)
	if err != nil {
		return misconfigured(conn, err)
	}
	conn.endpoint = endpoint
	conn.client, err = dli.NewClient(dli.Config{
		Endpoint:      endpoint,
		ProjectID:     spec.ProjectID,
		CABundle:      []byte(spec.CABundle),
		AllowInsecure: c.Options.AllowInsecure,
		MaxIdleConns:  conn.places,
		Timeout:       requestTimeout,
		UserAgent:     c.Options.UserAgent,
	})
	if err != nil {
		return misconfigured(conn, err)
	}
	if ref := spec.Credentials.SecretRef; ref != nil {
		conn.source = secretSource{reader: c.Secrets, key: types.NamespacedName{Namespace: conn.key.Namespace, Name: ref.Name}}
		return nil
	}
	if allowed := c.Options.PodIdentityNamespaces; len(allowed) > 0 && !slices.Contains(allowed, conn.key.Namespace) {
		return failf(v1alpha1.ReasonCredentialsRejected,
			"%s may not use podIdentity, which asks with the operator's own rights: use a secretRef, or have namespace %s added to the operator's --pod-identity-namespaces", conn.name(), conn.key.Namespace)
	}
	identity, err := dli.PodIdentityFromEnv()
	if err != nil {
		return failf(v1alpha1.ReasonCredentialsRejected, "%s cannot ask with the pod's identity: %v", conn.name(), err)
	}
	conn.source = podIdentitySource{identity: identity}
	return nil
}

func misconfigured(conn *connection, err error) *failure {
	if known, ok := dli.AsError(err); ok {
		return failf(v1alpha1.ReasonEndpointMisconfigured, "%s: %s", conn.name(), known.Message)
	}
	return failf(v1alpha1.ReasonEndpointMisconfigured, "%s: %v", conn.name(), err)
}

// gateOf returns the gate of credentials, the same for all connections that use
// the same ones at the same endpoint.
func (c *Connections) gateOf(fingerprint string, probe time.Duration) *gate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Clock.Now()
	found := c.gates[fingerprint]
	if found == nil {
		c.dropGates(now)
		found = &gate{probe: probe}
		c.gates[fingerprint] = found
	}
	found.touch(now)
	return found
}

// dropGates forgets the gates of credentials that nobody uses, once there is
// nothing left to remember of them.
func (c *Connections) dropGates(now time.Time) {
	if c.gates == nil {
		c.gates = map[string]*gate{}
	}
	maps.DeleteFunc(c.gates, func(_ string, g *gate) bool {
		if !g.forgettable(now) {
			return false
		}
		for _, conn := range c.open {
			if conn.uses(g) {
				return false
			}
		}
		return true
	})
}
