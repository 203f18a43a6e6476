// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.DLIJob{}, connectionIndex, indexConnection); err != nil {
		return fmt.Errorf("indexing DLIJobs by connection: %w", err)
	}
	cached, clock, recorder := mgr.GetClient(), clock.RealClock{}, mgr.GetEventRecorder("dli-operator")
	connections := connection.NewRegistry(cached, mgr.GetAPIReader(), o.Connections, metrics)
	poll := &PollReconciler{Reader: cached, Connections: connections, Clock: clock, ownership: &ownership{}, polls: &trigger{}}
	status := &StatusReconciler{
		Client: cached, Live: mgr.GetAPIReader(), Connections: connections, Options: o, Recorder: recorder, Clock: clock, Metrics: metrics,
		ownership: poll.ownership, results: &trigger{}, polls: poll.polls,
	}
	health := &ConnectionReconciler{
		Client: cached, Connections: connections, Options: o, Recorder: recorder, Clock: clock, Metrics: metrics,
	}
	polls := poller.New(poller.Config{
		Schedule:    o.Schedule,
		Connections: connections,
		MaxRequests: o.MaxConcurrentPolls,
		Patience:    cmp.Or(o.Connections.ProbeInterval, connection.DefaultProbeInterval),
		Deliver:     status.results.deliver,
		Changed:     health.changes.add,
		MayPoll:     o.Leads,
		Recorder:    metrics,
		Log:         mgr.GetLogger().WithName("poller"),
		Clock:       clock,
		Jitter:      func() float64 { return 2*rand.Float64() - 1 },
	})
	poll.Poller, status.Poller, health.Poller = polls, polls, polls
	isAlive := func(*http.Request) error { return polls.Healthy(clock.Now()) }
	failures := &failureLog{log: mgr.GetLogger(), clock: clock, loggedAt: map[string]time.Time{}, counts: map[string]int{}}
	return errors.Join(
		RegisterCollectors(o.Registry, cached, connections, polls.Waiting, clock),
		poll.SetupWithManager(mgr, failures), status.SetupWithManager(mgr, failures), health.SetupWithManager(mgr, failures),
		mgr.Add(polls),
		mgr.AddHealthzCheck("poller", isAlive), mgr.AddReadyzCheck("poller", isAlive),
	)
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

// add enqueues a key. It never blocks.
func (t *trigger) add(key types.NamespacedName) { t.deliver(key, false) }

// deliver enqueues a key, behind all others if there is only a refresh for it: ends,
// failures and first statuses do not wait for figures. Nothing is lost before the queue
// exists: the initial list enqueues every object.
func (t *trigger) deliver(key types.NamespacedName, isRefresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	request, priority := reconcile.Request{NamespacedName: key}, 0
	if isRefresh {
		priority = refreshPriority
	}
	switch queue := t.queue.(type) {
	case nil:
	case priorityqueue.PriorityQueue[reconcile.Request]:
		queue.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, request)
	default:
		queue.Add(request)
	}
}

// refreshPriority is below that of everything but the initial list.
const refreshPriority = -1

// SetupWithManager registers the reconciler.
func (r *PollReconciler) SetupWithManager(mgr ctrl.Manager, failures *failureLog) error {
	jobs := ctrl.NewControllerManagedBy(mgr).
		Named("dlijob-poll").
		For(&v1alpha1.DLIJob{}, builder.WithPredicates(pollChanges())).
		Watches(&v1alpha1.DLIConnection{},
			handler.EnqueueRequestsFromMapFunc(r.jobsOfConnection),
			builder.WithPredicates(predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return isOtherVersion(e.ObjectOld, e.ObjectNew) }})).
		WatchesRawSource(source.Func(r.polls.start)).
		WithOptions(controller.Options{MaxConcurrentReconciles: pollWorkers})
	if !r.Connections.Scope().WithoutNamespaces {
		// The labels of a namespace decide which connections it may use.
		jobs.WatchesMetadata(&corev1.Namespace{},
			handler.EnqueueRequestsFromMapFunc(r.jobsOfNamespace),
			builder.WithPredicates(predicate.LabelChangedPredicate{}))
	}
	return jobs.Complete(failures.wrap(r))
}

// SetupWithManager registers the reconciler.
func (r *StatusReconciler) SetupWithManager(mgr ctrl.Manager, failures *failureLog) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("dlijob").
		For(&v1alpha1.DLIJob{}, builder.WithPredicates(r.statusChanges())).
		WatchesRawSource(source.Func(r.results.start)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.MaxConcurrentReconciles}).
		Complete(failures.wrap(r))
}

// pollWorkers is how many jobs may be resolved concurrently: one whose connection must be
// read from the API server does not hold back the others.
const pollWorkers = 10

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

// failureLog lets the failures of reconciles neither fill the log nor end the process. A
// failed reconcile is retried with a backoff that ends soon after the API server has
// recovered.
type failureLog struct {
	log   logr.Logger
	clock clock.PassiveClock

	mu sync.Mutex
	// loggedAt is when each cause was last logged, and counts how often it was seen since.
	loggedAt map[string]time.Time
	counts   map[string]int
}

// failureLogInterval is the minimum time between two log lines for the same cause.
const failureLogInterval = time.Minute

// wrap returns a reconciler whose errors and panics are logged and retried.
func (l *failureLog) wrap(r reconcile.Reconciler) reconcile.Reconciler {
	// The default goes up to a quarter of an hour.
	backOff := workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, 5*time.Second)
	return reconcile.Func(func(ctx context.Context, req ctrl.Request) (result ctrl.Result, err error) {
		defer func() {
			var details []any
			if cause := recover(); cause != nil {
				err, details = fmt.Errorf("panic: %v", cause), []any{"stack", string(debug.Stack())}
			}
			if err == nil {
				backOff.Forget(req)
				return
			}
			l.report(err, req, details...)
			result, err = ctrl.Result{RequeueAfter: backOff.When(req), Priority: new(0)}, nil
		}()
		return r.Reconcile(ctx, req)
	})
}

// report logs a failure, once per cause and minute. details are logged with it.
func (l *failureLog) report(err error, req ctrl.Request, details ...any) {
	cause, now := causeOf(err), l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[cause]++
	if now.Sub(l.loggedAt[cause]) < failureLogInterval {
		return
	}
	l.log.Info("a reconcile failed and is retried", append([]any{"error", err.Error(), "object", req.String(), "failures", l.counts[cause]}, details...)...)
	// What was not seen for a while is dropped: there are as many causes as texts of errors.
	maps.DeleteFunc(l.loggedAt, func(cause string, loggedAt time.Time) bool {
		isOver := now.Sub(loggedAt) > 2*failureLogInterval
		if isOver {
			delete(l.counts, cause)
		}
		return isOver
	})
	l.loggedAt[cause], l.counts[cause] = now, 0
}

// causeOf is what an error has in common with others, whatever their objects: the API
// server's reason, or the text of the innermost error.
func causeOf(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return fmt.Sprint(status.Status().Code, status.Status().Reason)
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return withoutNumbers(err.Error())
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
	if err != nil || key != connections.Default() {
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
