// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/events"
	"github.com/dli-operator/dli-operator/internal/metrics"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// connectionIndex finds the jobs of a connection in the cache: by the key that
// a job's connectionRef names or implies, and, for jobs without one, also by
// anyDefault, because they may use the operator's default connection.
const (
	connectionIndex = "connection"
	anyDefault      = "default"
)

func indexConnection(object client.Object) []string {
	job := object.(*v1alpha1.DLIJob)
	keys := []string{connection.Referenced(job).String()}
	if job.Spec.ConnectionRef == nil {
		keys = append(keys, anyDefault)
	}
	return keys
}

// Options configure the controllers.
type Options struct {
	Schedule    poller.Schedule
	Connections connection.Options
	// MaxConcurrentPolls limits the concurrent requests to DLI, and
	// MaxConcurrentReconciles the jobs whose status is written concurrently, while the API
	// server is fast.
	MaxConcurrentPolls, MaxConcurrentReconciles int
	// ReportConnections says whether to write the status of DLIConnections.
	ReportConnections bool
	// Leads reports whether this process certainly leads at a time; nil if it is the
	// only one. The leader election alone cannot stop a process that was frozen for
	// longer than its lease before it writes.
	Leads func(now time.Time) bool
	// Restored is called when the API server has gone back to an earlier state, as
	// after a restore of etcd; it ends the process, and must not block.
	Restored func()
	// Version is shown by a metric.
	Version string
	// Registry registers the metrics.
	Registry prometheus.Registerer
}

// Add adds the controllers of DLIJobs and DLIConnections, and the poller between
// them, to a manager.
func Add(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if o.Leads == nil {
		o.Leads = func(time.Time) bool { return true }
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.DLIJob{}, connectionIndex, indexConnection); err != nil {
		return fmt.Errorf("indexing DLIJobs by connection: %w", err)
	}
	clock, recorder := clock.RealClock{}, metrics.NewRecorder(o.Registry, o.Version)
	connections := connection.NewRegistry(mgr.GetClient(), mgr.GetAPIReader(), o.Connections, recorder)
	newWriter := func() statusWriter {
		return statusWriter{
			Client: mgr.GetClient(), Options: o, Connections: connections, Clock: clock, Metrics: recorder,
			Recorder: events.NewRecorder(mgr.GetClient(), "dli-operator", mgr.GetLogger()),
		}
	}
	status := &StatusReconciler{statusWriter: newWriter(), Live: mgr.GetAPIReader(), slots: newWriteSlots(o.MaxConcurrentReconciles)}
	health := &ConnectionReconciler{statusWriter: newWriter()}
	polls := poller.New(poller.Config{
		Schedule:    o.Schedule,
		Connections: connections,
		MaxRequests: o.MaxConcurrentPolls,
		Patience:    cmp.Or(o.Connections.ProbeInterval, connection.DefaultProbeInterval),
		Deliver:     status.results.deliver,
		Changed:     func(connection types.NamespacedName) { health.changes.deliver(connection, false) },
		MayPoll:     o.Leads,
		Recorder:    recorder,
		Log:         mgr.GetLogger().WithName("poller"),
		Clock:       clock,
		Jitter:      func() float64 { return 2*rand.Float64() - 1 },
	})
	status.Poller, health.Poller = polls, polls
	poll := &PollReconciler{Reader: mgr.GetClient(), Connections: connections, Poller: polls, Clock: clock, ownership: &status.ownership}
	isAlive := func(*http.Request) error { return polls.Healthy(clock.Now()) }
	return errors.Join(
		metrics.RegisterGauges(o.Registry, mgr.GetClient(), connections, polls.Waiting, clock),
		poll.SetupWithManager(mgr), status.SetupWithManager(mgr), health.SetupWithManager(mgr),
		mgr.Add(polls),
		mgr.AddHealthzCheck("poller", isAlive), mgr.AddReadyzCheck("poller", isAlive),
	)
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

// SetupWithManager registers the reconciler.
func (r *PollReconciler) SetupWithManager(mgr ctrl.Manager) error {
	jobs := ctrl.NewControllerManagedBy(mgr).
		Named("dlijob-poll").
		For(&v1alpha1.DLIJob{}, builder.WithPredicates(pollChanges())).
		Watches(&v1alpha1.DLIConnection{},
			handler.EnqueueRequestsFromMapFunc(r.jobsOfConnection),
			builder.WithPredicates(predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return isOtherVersion(e.ObjectOld, e.ObjectNew) }})).
		WithOptions(optionsOf(pollWorkers))
	if !r.Connections.Options().Scope.WithoutNamespaces {
		// The labels of a namespace decide which connections it may use.
		jobs.WatchesMetadata(&corev1.Namespace{},
			handler.EnqueueRequestsFromMapFunc(r.jobsOfNamespace),
			builder.WithPredicates(predicate.LabelChangedPredicate{}))
	}
	return jobs.Complete(r)
}

// SetupWithManager registers the reconciler.
func (r *StatusReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("dlijob").
		For(&v1alpha1.DLIJob{}, builder.WithPredicates(r.statusChanges())).
		WatchesRawSource(source.Func(r.results.start)).
		WithOptions(optionsOf(maxGrowth * r.MaxConcurrentReconciles)).
		Complete(r)
}

// pollWorkers is how many jobs may be resolved concurrently: one whose connection must be
// read from the API server does not hold back the others.
const pollWorkers = 10

// optionsOf returns the options of a controller.
func optionsOf(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		// A failed reconcile is retried soon after the API server has recovered; the
		// default goes up to a quarter of an hour.
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, 5*time.Second),
	}
}

// pollChanges passes changes that may affect whether or how a job is polled.
func pollChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(*v1alpha1.DLIJob), e.ObjectNew.(*v1alpha1.DLIJob)
		return isOtherVersion(before, after) ||
			before.IsCompleted() != after.IsCompleted() ||
			pollRequested(before) != pollRequested(after) || requestOf(before) != requestOf(after)
	}}
}

// statusChanges passes changes that the status must reflect. It drops the operator's own
// writes.
func (r *StatusReconciler) statusChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(*v1alpha1.DLIJob), e.ObjectNew.(*v1alpha1.DLIJob)
		statusChanged := r.ownership.changed(before, after)
		return statusChanged || isOtherVersion(before, after)
	}}
}

// isOtherVersion reports whether the author of an object has changed, deleted or created
// it anew, which a broken watch shows as an update.
func isOtherVersion(before, after client.Object) bool {
	return before.GetGeneration() != after.GetGeneration() || before.GetUID() != after.GetUID() ||
		before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero()
}

func (r *PollReconciler) jobsOfConnection(ctx context.Context, object client.Object) []reconcile.Request {
	jobs, err := jobsOfConnection(ctx, r, r.Connections, client.ObjectKeyFromObject(object))
	return requestsFor(ctx, jobs, err)
}

func (r *PollReconciler) jobsOfNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	jobs, err := listJobs(ctx, r, client.InNamespace(namespace.GetName()))
	return requestsFor(ctx, jobs, err)
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
func jobsOfConnection(ctx context.Context, reader client.Reader, connections *connection.Registry, key types.NamespacedName) ([]v1alpha1.DLIJob, error) {
	jobs, err := listJobs(ctx, reader, client.MatchingFields{connectionIndex: key.String()})
	if err != nil || key != connections.Options().Default {
		return jobs, err
	}
	others, err := listJobs(ctx, reader, client.MatchingFields{connectionIndex: anyDefault})
	return append(jobs, others...), err
}

func listJobs(ctx context.Context, reader client.Reader, options ...client.ListOption) ([]v1alpha1.DLIJob, error) {
	jobs := &v1alpha1.DLIJobList{}
	err := reader.List(ctx, jobs, append(options, client.UnsafeDisableDeepCopy)...)
	return jobs.Items, err
}
