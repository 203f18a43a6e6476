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

// Package controllers reconciles DLIJobs and DLIConnections: when a job is
// polled, what an answer means for its status, and who may ask as whom.
package controllers

import (
	"context"
	"fmt"
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
)

// connectionIndex finds the jobs of a connection in the cache: by the key that
// a job's connectionRef names or implies, and, for jobs that name none, also by
// anyDefault, since the operator's default connection may be theirs.
const (
	connectionIndex = "connection"
	anyDefault      = "default"
)

func indexConnection(object client.Object) []string {
	job := object.(*v1alpha1.DLIJob)
	keys := []string{referencedConnection(job).String()}
	if job.Spec.ConnectionRef == nil {
		keys = append(keys, anyDefault)
	}
	return keys
}

// Options configure the controllers.
type Options struct {
	Schedule    Schedule
	Connections ConnectionOptions
	// MaxConcurrentReconciles bounds the jobs that are polled at once.
	MaxConcurrentReconciles int
	// ReportConnections says whether to write the status of DLIConnections.
	ReportConnections bool
	// Version is told by a metric.
	Version string
	// Registry takes the metrics.
	Registry prometheus.Registerer
}

// Add adds the controllers of DLIJobs and DLIConnections to a manager.
func Add(ctx context.Context, mgr ctrl.Manager, o Options) error {
	news := &News{}
	connections := &Connections{
		Reader:  mgr.GetClient(),
		Secrets: mgr.GetAPIReader(),
		Options: o.Connections,
		workers: workers{total: o.MaxConcurrentReconciles},
		News:    news,
		Clock:   clock.RealClock{},
	}
	metrics, err := NewMetrics(o.Registry, o.Version, mgr.GetClient(), connections)
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	connections.Metrics = metrics
	jobs := &DLIJobReconciler{
		Metrics:                 metrics,
		Client:                  mgr.GetClient(),
		Connections:             connections,
		Schedule:                o.Schedule,
		Recorder:                mgr.GetEventRecorder("dli-operator"),
		Clock:                   clock.RealClock{},
		News:                    news,
		MaxConcurrentReconciles: o.MaxConcurrentReconciles,
	}
	if err := jobs.SetupWithManager(ctx, mgr); err != nil {
		return fmt.Errorf("setting up the DLIJob controller: %w", err)
	}
	connectionReconciler := &DLIConnectionReconciler{
		Client:      mgr.GetClient(),
		Connections: connections,
		Clock:       clock.RealClock{},
		News:        news,
		Report:      o.ReportConnections,
	}
	if err := connectionReconciler.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the DLIConnection controller: %w", err)
	}
	return nil
}

// SetupWithManager registers the reconciler.
func (r *DLIJobReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.DLIJob{}, connectionIndex, indexConnection); err != nil {
		return fmt.Errorf("indexing DLIJobs by connection: %w", err)
	}
	r.News.Jobs = r.jobsOfConnection
	jobs := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DLIJob{}, builder.WithPredicates(asksForWork())).
		Watches(&v1alpha1.DLIConnection{},
			handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, connection client.Object) []reconcile.Request {
				return r.jobsOfConnection(ctx, client.ObjectKeyFromObject(connection))
			}),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Func(r.News.toJobs)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.MaxConcurrentReconciles, RateLimiter: retries()})
	if !r.Connections.Options.Scope.WithoutNamespaces {
		jobs.WatchesMetadata(&corev1.Namespace{},
			handler.EnqueueRequestsFromMapFunc(r.jobsOfNamespace),
			builder.WithPredicates(labelsChange()))
	}
	return jobs.Complete(r)
}

// retries is how soon a reconcile that returned an error, which only the API
// server causes, is tried again: the default goes up to a quarter of an hour,
// long after the API server is well again.
func retries() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, 20*time.Second)
}

// asksForWork lets pass what may change when or how a job is polled. The
// operator's own writes of the status do not: they would poll again at once.
func asksForWork() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return true },
		DeleteFunc:  func(event.DeleteEvent) bool { return true },
		GenericFunc: func(event.GenericEvent) bool { return true },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetAnnotations()[v1alpha1.PollRequestedAtAnnotation] != e.ObjectNew.GetAnnotations()[v1alpha1.PollRequestedAtAnnotation] ||
				e.ObjectOld.GetUID() != e.ObjectNew.GetUID()
		},
	})
}

// labelsChange lets only a change of labels pass: they decide which connections
// a namespace may use. The jobs of a new namespace come by themselves.
func labelsChange() predicate.Predicate {
	return predicate.And[client.Object](predicate.LabelChangedPredicate{}, predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	})
}

func (r *DLIJobReconciler) jobsOfConnection(ctx context.Context, connection types.NamespacedName) []reconcile.Request {
	requests := r.requests(ctx, client.MatchingFields{connectionIndex: connection.String()})
	if connection == r.Connections.Options.Default {
		requests = append(requests, r.requests(ctx, client.MatchingFields{connectionIndex: anyDefault})...)
	}
	return requests
}

func (r *DLIJobReconciler) jobsOfNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	return r.requests(ctx, client.InNamespace(namespace.GetName()))
}

func (r *DLIJobReconciler) requests(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	jobs := &v1alpha1.DLIJobList{}
	if err := r.List(ctx, jobs, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list DLIJobs to wake; they come back by themselves")
		return nil
	}
	requests := make([]reconcile.Request, len(jobs.Items))
	for i := range jobs.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&jobs.Items[i])
	}
	return requests
}
