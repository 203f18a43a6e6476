// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
)

// fillTimeout is how long filling the caches may take; a busy API server needs a
// while to list tens of thousands of DLIJobs.
const fillTimeout = 2 * time.Minute

// cacheOptions caches only what the controllers read.
func cacheOptions(o Options) cache.Options {
	return cache.Options{
		DefaultTransform: newTransform(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.DLIJob{}:        {Label: o.selector, Namespaces: inNamespaces(o.WatchNamespaces)},
			&v1alpha1.DLIConnection{}: {Namespaces: inNamespaces(o.Controllers.Connections.Scope.ConnectionNamespaces)},
		},
	}
}

// inNamespaces restricts a cache to some namespaces; no restriction if empty.
func inNamespaces(namespaces []string) map[string]cache.Config {
	if len(namespaces) == 0 {
		return nil
	}
	configs := map[string]cache.Config{}
	for _, namespace := range namespaces {
		configs[namespace] = cache.Config{}
	}
	return configs
}

// firstFill waits until the caches are filled for the first time, and ends the operator
// if that fails.
type firstFill struct {
	fail func(error)
	done atomic.Bool
	// lastError is the last list or watch error; nil if there was none.
	lastError atomic.Pointer[error]
}

// newCache creates the cache of the manager.
func (f *firstFill) newCache(config *rest.Config, options cache.Options) (cache.Cache, error) {
	options.DefaultWatchErrorHandler = f.handleWatchError
	return cache.New(config, options)
}

// addInformers adds everything that the controllers read to a cache that is started later.
// Some of it would otherwise only be filled once the operator holds the lease, so a
// standby replica could not know whether it is able to work.
func (f *firstFill) addInformers(ctx context.Context, c cache.Cache, scope connection.Scope) error {
	objects := []client.Object{&v1alpha1.DLIJob{}, &v1alpha1.DLIConnection{}}
	if !scope.WithoutNamespaces {
		namespace := &metav1.PartialObjectMetadata{}
		namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		objects = append(objects, namespace)
	}
	for _, object := range objects {
		_, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if meta.IsNoMatchError(err) {
			return fmt.Errorf("the CRDs are not installed; a cluster administrator must apply config/crd: %w", err)
		}
		if err != nil {
			return fmt.Errorf("creating the cache: %w", err)
		}
	}
	go f.awaitFilled(ctx, c)
	return nil
}

// handleWatchError handles a failed list or watch, which is retried. A forbidden one
// will be forbidden again, so the operator ends instead of waiting.
func (f *firstFill) handleWatchError(ctx context.Context, r *toolscache.Reflector, err error) {
	toolscache.DefaultWatchErrorHandler(ctx, r, err)
	f.lastError.Store(&err)
	if apierrors.IsForbidden(err) && !f.done.Load() {
		f.fail(fmt.Errorf("the operator lacks a permission: %w; config/rbac and config/namespaced grant all that it needs", err))
	}
}

// awaitFilled returns when the caches are filled, or ends the operator.
func (f *firstFill) awaitFilled(ctx context.Context, c cache.Cache) {
	timeout, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	switch filled := c.WaitForCacheSync(timeout); {
	case ctx.Err() != nil: // the operator stops
	case filled:
		f.done.Store(true)
	default:
		f.fail(fmt.Errorf("the caches were not filled within %v: %w", fillTimeout, f.lastCause()))
	}
}

func (f *firstFill) lastCause() error {
	if err := f.lastError.Load(); err != nil {
		return *err
	}
	return errors.New("the API server is slow")
}

// checkReady is the /readyz check that the caches are filled. Once filled, they stay
// filled.
func (f *firstFill) checkReady(*http.Request) error {
	if f.done.Load() {
		return nil
	}
	return fmt.Errorf("the caches are not filled yet: %w", f.lastCause())
}
