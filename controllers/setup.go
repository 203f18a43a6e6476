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
	"cmp"
	"context"
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
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
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
	// MaxConcurrentReconciles the jobs whose status is written concurrently.
	MaxConcurrentPolls, MaxConcurrentReconciles int
	// ReportConnections says whether to write the status of DLIConnections.
	ReportConnections bool
	// Leads reports whether this process certainly leads at a time; nil if it is the
	// only one. The leader election alone cannot stop a process that was frozen for
	// longer than its lease before it writes.
	Leads func(now time.Time) bool
	// Restored is called when the API server has gone back to an earlier state, as
	// after a restore of etcd; it must not block, and may be nil.
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
	metrics, err := NewMetrics(o.Registry, o.Version)
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	clock := clock.RealClock{}
	connections := connection.NewRegistry(mgr.GetClient(), mgr.GetAPIReader(), o.Connections, metrics)
	jobs := &StatusReconciler{
		Client:                  mgr.GetClient(),
		Live:                    mgr.GetAPIReader(),
		Connections:             connections,
		Schedule:                o.Schedule,
		Recorder:                mgr.GetEventRecorder("dli-operator"),
		Clock:                   clock,
		Metrics:                 metrics,
		Leads:                   o.Leads,
		Restored:                o.Restored,
		MaxConcurrentReconciles: o.MaxConcurrentReconciles,
	}
	connectionReconciler := &ConnectionReconciler{
		Client:      mgr.GetClient(),
		Connections: connections,
		Clock:       clock,
		Metrics:     metrics,
		Recorder:    mgr.GetEventRecorder("dli-operator"),
		Report:      o.ReportConnections,
		Leads:       o.Leads,
	}
	polls := poller.New(poller.Config{
		Schedule:    o.Schedule,
		Connections: connections,
		MaxRequests: o.MaxConcurrentPolls,
		Patience:    cmp.Or(o.Connections.ProbeInterval, connection.DefaultProbeInterval),
		Deliver:     jobs.results.add,
		Changed:     connectionReconciler.changes.add,
		Recorder:    metrics,
		Clock:       clock,
		Jitter:      func() float64 { return 2*rand.Float64() - 1 },
	})
	jobs.Poller, connectionReconciler.Poller = polls, polls
	if err := RegisterCollectors(o.Registry, mgr.GetClient(), connections, polls.Waiting, clock); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if err := jobs.SetupWithManager(ctx, mgr); err != nil {
		return fmt.Errorf("setting up the DLIJob controller: %w", err)
	}
	if err := connectionReconciler.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the DLIConnection controller: %w", err)
	}
	if err := mgr.Add(polls); err != nil {
		return fmt.Errorf("adding the poller: %w", err)
	}
	if err := mgr.AddReadyzCheck("poller", func(*http.Request) error { return polls.Healthy(clock.Now()) }); err != nil {
		return fmt.Errorf("adding the poller's readiness: %w", err)
	}
	return nil
}

// trigger enqueues objects for reasons other than a change of the object.
type trigger struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

func (t *trigger) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = queue
	return nil
}

// add enqueues a key. It never blocks. Nothing is lost before the queue exists: the
// initial list enqueues every object.
func (t *trigger) add(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queue != nil {
		t.queue.Add(reconcile.Request{NamespacedName: key})
	}
}

// SetupWithManager registers the reconciler.
func (r *StatusReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.DLIJob{}, connectionIndex, indexConnection); err != nil {
		return fmt.Errorf("indexing DLIJobs by connection: %w", err)
	}
	jobs := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DLIJob{}, builder.WithPredicates(r.statusChanges())).
		Watches(&v1alpha1.DLIConnection{},
			handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, connection client.Object) []reconcile.Request {
				return r.jobsOfConnection(ctx, client.ObjectKeyFromObject(connection))
			}),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Func(r.results.start)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.MaxConcurrentReconciles, RateLimiter: retries()})
	if !r.Connections.Scope().WithoutNamespaces {
		jobs.WatchesMetadata(&corev1.Namespace{},
			handler.EnqueueRequestsFromMapFunc(r.jobsOfNamespace),
			builder.WithPredicates(labelChanges()))
	}
	if err := jobs.Complete(r); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("dlijob-poll").
		For(&v1alpha1.DLIJob{}, builder.WithPredicates(
			predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WithOptions(controller.Options{RateLimiter: retries()}).
		Complete(reconcile.Func(r.updatePoller))
}

// retries is the backoff for a reconcile that returned an error, which only the API
// server causes: the default goes up to a quarter of an hour, long after the API
// server has recovered.
func retries() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, 5*time.Second)
}

// statusChanges passes changes that may affect when or how a job is polled, and status
// changes by others. It drops the operator's own writes.
func (r *StatusReconciler) statusChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(*v1alpha1.DLIJob), e.ObjectNew.(*v1alpha1.DLIJob)
		statusChanged := r.ownership.changed(before, after)
		return statusChanged ||
			before.Generation != after.Generation ||
			before.UID != after.UID ||
			before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
			before.Annotations[v1alpha1.PollRequestedAtAnnotation] != after.Annotations[v1alpha1.PollRequestedAtAnnotation]
	}}
}

// labelChanges only passes changes of labels: they decide which connections a
// namespace may use. The jobs of a new namespace are enqueued on their own.
func labelChanges() predicate.Predicate {
	return predicate.And[client.Object](predicate.LabelChangedPredicate{}, predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	})
}

func (r *StatusReconciler) jobsOfConnection(ctx context.Context, connection types.NamespacedName) []reconcile.Request {
	requests := r.requestsFor(ctx, client.MatchingFields{connectionIndex: connection.String()})
	if connection == r.Connections.Default() {
		requests = append(requests, r.requestsFor(ctx, client.MatchingFields{connectionIndex: anyDefault})...)
	}
	return requests
}

func (r *StatusReconciler) jobsOfNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	return r.requestsFor(ctx, client.InNamespace(namespace.GetName()))
}

func (r *StatusReconciler) requestsFor(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	jobs := &v1alpha1.DLIJobList{}
	if err := r.List(ctx, jobs, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the DLIJobs to reconcile; they will be reconciled later")
		return nil
	}
	requests := make([]reconcile.Request, len(jobs.Items))
	for i := range jobs.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&jobs.Items[i])
	}
	return requests
}
