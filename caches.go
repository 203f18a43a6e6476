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

package main

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
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/controllers"
	"github.com/dli-operator/dli-operator/internal/connection"
)

// fillTimeout is how long filling the caches may take; a busy API server needs a
// while to list tens of thousands of DLIJobs.
const fillTimeout = 2 * time.Minute

// cacheOptions caches only what the controllers read.
func cacheOptions(o options) (cache.Options, error) {
	selector, err := labels.Parse(o.watchSelector)
	if err != nil {
		return cache.Options{}, fmt.Errorf("--watch-label-selector=%s: %w", o.watchSelector, err)
	}
	return cache.Options{
		DefaultTransform: controllers.Trim(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.DLIJob{}:        {Label: selector, Namespaces: inNamespaces(list(o.watchNamespaces))},
			&v1alpha1.DLIConnection{}: {Namespaces: inNamespaces(o.controllers.Connections.Scope.ConnectionNamespaces)},
		},
	}, nil
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

// firstFill waits until the caches are filled for the first time. It stops the
// operator if that fails.
type firstFill struct {
	stopping <-chan struct{}
	stop     func()
	done     atomic.Bool
	// failure is the last list or watch error; nil if there was none.
	failure atomic.Pointer[error]
	// gaveUp holds the reason why the operator was stopped.
	gaveUp chan error
}

func newFirstFill(stopping <-chan struct{}, stop func()) *firstFill {
	return &firstFill{stopping: stopping, stop: stop, gaveUp: make(chan error, 1)}
}

func (f *firstFill) giveUp(why error) {
	select {
	case f.gaveUp <- why:
	default: // the first one is the cause
	}
	f.stop()
}

// outcome returns why the operator has stopped. The manager does not know the
// reason if firstFill stopped it.
func (f *firstFill) outcome(ofManager error) error {
	select {
	case why := <-f.gaveUp:
		return why
	default:
		return ofManager
	}
}

// newCache creates the cache of the manager, which waits for it first.
func (f *firstFill) newCache(config *rest.Config, options cache.Options) (cache.Cache, error) {
	options.DefaultWatchErrorHandler = f.failed
	made, err := cache.New(config, options)
	return stoppableCache{made, f.stopping}, err
}

// stoppableCache stops waiting when the operator stops: otherwise the manager
// would not return before the cache is filled.
type stoppableCache struct {
	cache.Cache
	stopping <-chan struct{}
}

func (c stoppableCache) WaitForCacheSync(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	synced := make(chan bool, 1)
	go func() { synced <- c.Cache.WaitForCacheSync(ctx) }()
	select {
	case ok := <-synced:
		return ok
	case <-c.stopping:
		return true
	}
}

// warm fills the caches for everything that the controllers read from the start.
// Some of them would otherwise only be filled once the operator holds the lease,
// so a standby replica could not know whether it is able to work.
func (f *firstFill) warm(ctx context.Context, c cache.Cache, scope connection.Scope) error {
	read := []client.Object{&v1alpha1.DLIJob{}, &v1alpha1.DLIConnection{}}
	if !scope.WithoutNamespaces {
		namespace := &metav1.PartialObjectMetadata{}
		namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		read = append(read, namespace)
	}
	for _, object := range read {
		_, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if meta.IsNoMatchError(err) {
			return fmt.Errorf("the CRDs are not installed; a cluster administrator must apply config/crd: %w", err)
		}
		if err != nil {
			return fmt.Errorf("creating the cache: %w", err)
		}
	}
	return nil
}

// failed handles a failed list or watch, which is retried. A forbidden one will
// be forbidden again, so the operator stops instead of waiting.
func (f *firstFill) failed(ctx context.Context, r *toolscache.Reflector, err error) {
	toolscache.DefaultWatchErrorHandler(ctx, r, err)
	f.failure.Store(&err)
	if apierrors.IsForbidden(err) && !f.done.Load() {
		f.giveUp(fmt.Errorf("the operator lacks a permission: %w; config/rbac and config/namespaced grant all that it needs", err))
	}
}

// wait returns when the caches are filled, or stops the operator.
func (f *firstFill) wait(ctx context.Context, c cache.Cache) {
	waiting, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	filled := c.WaitForCacheSync(waiting)
	switch {
	case ctx.Err() != nil: // the operator stops
	case filled:
		f.done.Store(true)
	default:
		f.giveUp(fmt.Errorf("the caches were not filled within %v: %w", fillTimeout, f.why()))
	}
}

func (f *firstFill) why() error {
	if failure := f.failure.Load(); failure != nil {
		return *failure
	}
	return errors.New("the API server is slow")
}

// ready is the /readyz check that the caches are filled. Once filled, they stay
// filled.
func (f *firstFill) ready(*http.Request) error {
	if f.done.Load() {
		return nil
	}
	return fmt.Errorf("the caches are not filled yet: %w", f.why())
}
