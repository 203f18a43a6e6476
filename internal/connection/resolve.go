// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// newJob is how long after the creation of a DLIJob the cache may not have yet what was
// created together with it, which the API server then has: a watch of Namespaces that is late
// would refuse the job (TestNamespaceThatArrivesLate).
const newJob = time.Minute

// Resolve returns the connection that a job uses, which belongs to the cache and must not
// be changed. The error is a *Failure if it has none; another one comes from the API server.
func (r *Registry) Resolve(ctx context.Context, job *v1alpha1.DLIJob, now time.Time) (*v1alpha1.DLIConnection, error) {
	key, object, err := r.findFor(ctx, r.reader, job)
	if err == nil && object == nil && now.Sub(job.CreationTimestamp.Time) < newJob {
		key, object, err = r.findFor(ctx, r.live, job)
	}
	switch {
	case err != nil || object != nil:
		return object, err
	case key.Namespace != job.Namespace:
		return nil, r.options.Scope.notAllowed(key, job.Namespace)
	case job.Spec.ConnectionRef == nil:
		return nil, Failf(v1alpha1.ReasonConnectionNotFound,
			"there is no DLIConnection named %s in namespace %s; create it, or name another in spec.connectionRef", key.Name, key.Namespace)
	default:
		return nil, Failf(v1alpha1.ReasonConnectionNotFound,
			"DLIConnection %s does not exist; create it, or correct spec.connectionRef", key)
	}
}

// NameInUse returns the name of the connection that a job names or implies, if it is
// in use; else "".
func (r *Registry) NameInUse(job *v1alpha1.DLIJob) string {
	keys := []types.NamespacedName{Referenced(job)}
	if job.Spec.ConnectionRef == nil {
		keys = append(keys, r.options.Default)
	}
	for _, key := range keys {
		if r.Get(key) != nil {
			return key.String()
		}
	}
	return ""
}

// findFor returns the key of a job's connection, and the connection if it exists and the job
// may use it; else nil.
func (r *Registry) findFor(ctx context.Context, reader client.Reader, job *v1alpha1.DLIJob) (types.NamespacedName, *v1alpha1.DLIConnection, error) {
	key := Referenced(job)
	object, err := r.getConnection(ctx, reader, key)
	if object == nil && err == nil && job.Spec.ConnectionRef == nil && r.options.Default.Name != "" {
		key = r.options.Default
		object, err = r.getConnection(ctx, reader, key)
	}
	if object != nil && key.Namespace != job.Namespace {
		if allowed, err := r.allowsNamespace(ctx, reader, object, job.Namespace); !allowed {
			return key, nil, err
		}
	}
	return key, object, err
}

// Referenced is the key of a job's connectionRef; without one, that of its
// namespace's default.
func Referenced(job *v1alpha1.DLIJob) types.NamespacedName {
	key := types.NamespacedName{Namespace: job.Namespace, Name: v1alpha1.DefaultConnectionName}
	if ref := job.Spec.ConnectionRef; ref != nil {
		key.Name = ref.Name
		if ref.Namespace != "" {
			key.Namespace = ref.Namespace
		}
	}
	return key
}

// getConnection reads a DLIConnection; nil if it does not exist or the operator may not read
// it.
func (r *Registry) getConnection(ctx context.Context, reader client.Reader, key types.NamespacedName) (*v1alpha1.DLIConnection, error) {
	if !r.options.Scope.readsNamespace(key.Namespace) {
		return nil, nil
	}
	object := &v1alpha1.DLIConnection{}
	switch err := reader.Get(ctx, key, object, sharedObject); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading DLIConnection %s: %w", key, err)
	}
	return object, nil
}

// sharedObject avoids copying objects that are only read.
var sharedObject = &client.GetOptions{UnsafeDisableDeepCopy: new(true)}

// allowsNamespace reports whether a connection may be used from another namespace.
func (r *Registry) allowsNamespace(ctx context.Context, reader client.Reader, object *v1alpha1.DLIConnection, namespace string) (bool, error) {
	selector := r.selectorOf(object)
	if selector == labels.Nothing() || selector.Empty() {
		return selector.Empty(), nil
	}
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := reader.Get(ctx, types.NamespacedName{Name: namespace}, meta, sharedObject); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return selector.Matches(labels.Set(meta.Labels)), nil
}

// selectorOf returns what selects the namespaces that may use a connection. It is parsed
// once per edit: it may be large.
func (r *Registry) selectorOf(object *v1alpha1.DLIConnection) labels.Selector {
	r.mu.Lock()
	defer r.mu.Unlock()
	conn := r.connections[client.ObjectKeyFromObject(object)]
	if conn == nil || conn.uid != object.UID || conn.generation != object.Generation {
		conn = &Connection{} // it is about to be configured
		conn.setSelector(object.Spec.AllowedNamespaces, r.options.Scope)
	}
	return conn.selector
}
