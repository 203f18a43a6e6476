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
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
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

// Add adds the controllers of DLIJobs and DLIConnections, and the poller between
// them, to a manager.
func Add(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if o.Leads == nil {
		o.Leads = func(time.Time) bool { return true }
	}
	hasDefault := o.Connections.Default != types.NamespacedName{}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.DLIJob{}, connectionIndex, indexConnection(hasDefault)); err != nil {
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

// SetupWithManager registers the reconciler.
func (r *PollReconciler) SetupWithManager(mgr ctrl.Manager) error {
	jobs := ctrl.NewControllerManagedBy(mgr).
		Named("dlijob-poll").
		For(&v1alpha1.DLIJob{}, builder.WithPredicates(pollChanges(r.Clock))).
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

// pollChanges passes changes that may affect whether or how a job is polled, and of the jobs
// that exist at the start those that may be polled at all.
func pollChanges(clock clock.PassiveClock) predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			job := e.Object.(*v1alpha1.DLIJob)
			return !job.IsCompleted() || hasForgedOutcome(job) || pollRequested(job) || lacksCost(job, clock.Now())
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.(*v1alpha1.DLIJob), e.ObjectNew.(*v1alpha1.DLIJob)
			return isOtherVersion(before, after) ||
				before.IsCompleted() != after.IsCompleted() ||
				pollRequested(before) != pollRequested(after) || requestOf(before) != requestOf(after)
		},
	}
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

func (r *PollReconciler) jobsOfConnection(ctx context.Context, object client.Object) []reconcile.Request {
	jobs, err := jobsOfConnection(ctx, r, r.Connections, client.ObjectKeyFromObject(object))
	return requestsFor(ctx, jobs, err)
}

func (r *PollReconciler) jobsOfNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	jobs, err := listJobs(ctx, r, client.InNamespace(namespace.GetName()))
	return requestsFor(ctx, jobs, err)
}
