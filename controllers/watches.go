// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
)

// connectionIndex finds the jobs of a connection in the cache: by the key that
// a job's connectionRef names or implies, and, for jobs without one, also by
// anyDefault if the operator has a default connection, because they may use that.
const (
	connectionIndex = "connection"
	anyDefault      = "default"
)

func indexConnection(hasDefault bool) client.IndexerFunc {
	return func(object client.Object) []string {
		job := object.(*v1alpha1.DLIJob)
		keys := []string{connection.Referenced(job).String()}
		if hasDefault && job.Spec.ConnectionRef == nil {
			keys = append(keys, anyDefault)
		}
		return keys
	}
}

// trigger enqueues objects for reasons other than a change of the object.
type trigger struct {
	mu    sync.Mutex
	queue priorityqueue.PriorityQueue[reconcile.Request]
}

func (t *trigger) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = queue.(priorityqueue.PriorityQueue[reconcile.Request])
	return nil
}

// deliver enqueues a key, behind all others if there is only a refresh for it: ends,
// failures and first statuses do not wait for figures. It never blocks. Nothing is lost
// before the queue exists: the initial list enqueues every object.
func (t *trigger) deliver(key types.NamespacedName, isRefresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queue == nil {
		return
	}
	priority := 0
	if isRefresh {
		priority = refreshPriority
	}
	t.queue.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, reconcile.Request{NamespacedName: key})
}

// refreshPriority is below that of everything but the initial list.
const refreshPriority = -1

// optionsOf returns the options of a controller.
func optionsOf(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		// A failed reconcile is retried soon after the API server has recovered; the
		// default goes up to a quarter of an hour.
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, 5*time.Second),
	}
}

// isOtherVersion reports whether the author of an object has changed, deleted or created
// it anew, which a broken watch shows as an update.
func isOtherVersion(before, after client.Object) bool {
	return before.GetGeneration() != after.GetGeneration() || before.GetUID() != after.GetUID() ||
		before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero()
}

func requestsFor(ctx context.Context, jobs []v1alpha1.DLIJob, err error) []reconcile.Request {
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("cannot list the DLIJobs to reconcile; they will be reconciled later", "error", err.Error())
	}
	requests := make([]reconcile.Request, len(jobs))
	for i := range jobs {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&jobs[i])
	}
	return requests
}

// jobsOfConnection returns the DLIJobs that may use a connection, from the cache.
func jobsOfConnection(ctx context.Context, reader client.Reader, connections *connection.Registry, key types.NamespacedName, options ...client.ListOption) ([]v1alpha1.DLIJob, error) {
	jobs, err := listJobs(ctx, reader, append(options, client.MatchingFields{connectionIndex: key.String()})...)
	if err != nil || key != connections.Options().Default {
		return jobs, err
	}
	others, err := listJobs(ctx, reader, append(options, client.MatchingFields{connectionIndex: anyDefault})...)
	return append(jobs, others...), err
}

func listJobs(ctx context.Context, reader client.Reader, options ...client.ListOption) ([]v1alpha1.DLIJob, error) {
	jobs := &v1alpha1.DLIJobList{}
	err := reader.List(ctx, jobs, append(options, client.UnsafeDisableDeepCopy)...)
	return jobs.Items, err
}

// sharedObject avoids copying objects that are only read.
var sharedObject = &client.GetOptions{UnsafeDisableDeepCopy: new(true)}
