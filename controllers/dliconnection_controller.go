// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/text"
)

// +kubebuilder:rbac:groups=dli.huaweicloud.com,resources=dliconnections,verbs=get;list;watch
// +kubebuilder:rbac:groups=dli.huaweicloud.com,resources=dliconnections/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// ConnectionReconciler refreshes the credentials of connections and reports in
// their status whether they are usable.
type ConnectionReconciler struct {
	statusWriter

	// changes enqueues the connections whose health may have changed.
	changes trigger
}

// staleRetry is the delay after a conflict: the cache is briefly behind, or
// something else has changed the object.
const staleRetry = 50 * time.Millisecond

// Reconcile refreshes a connection's credentials, writes its status if it changed,
// and requeues for when the credentials are due again.
func (r *ConnectionReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	stored := &v1alpha1.DLIConnection{}
	if err := r.Get(ctx, req.NamespacedName, stored); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Connections.Remove(req.NamespacedName, r.Clock.Now())
			r.Metrics.KeepConnection(req.String(), false)
			r.ownership.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !r.Leads(r.Clock.Now()) {
		return ctrl.Result{RequeueAfter: leaseCheckInterval}, nil
	}
	conn := r.Connections.Configure(stored)
	r.Metrics.KeepConnection(req.String(), true)
	rejected, next, err := conn.Refresh(ctx, stored.Status.RejectedCredentials, r.Clock.Now())
	if err != nil {
		return ctrl.Result{}, err
	}
	r.Poller.WakeConnection(req.NamespacedName)
	object, last := stored.DeepCopy(), r.settle(ctx, stored)
	object.Status.RejectedCredentials = rejected
	wait, err := r.waitToReport(ctx, stored, last)
	if err != nil {
		return ctrl.Result{}, err
	}
	if wait == 0 {
		reportHealth(object, conn, r.Clock.Now())
	} else if next > wait {
		next = wait
	}
	switch err := r.write(ctx, stored, object); {
	case apierrors.IsConflict(err):
		next = min(next, staleRetry)
	case client.IgnoreNotFound(err) != nil:
		return ctrl.Result{}, fmt.Errorf("writing the status of DLIConnection %s: %w", req.NamespacedName, err)
	case err == nil:
		r.announce(ctx, stored, object, last.listsPaused, conn.Health(r.Clock.Now()).ListsPaused)
	}
	return ctrl.Result{RequeueAfter: next, Priority: new(0)}, nil
}

// settle notes whether another operator has written the health of a connection, and
// returns what is known of the object.
func (r *ConnectionReconciler) settle(ctx context.Context, stored *v1alpha1.DLIConnection) lastWrite {
	last := r.ownership.lookup(stored, r.Clock.Now())
	if last.isOwn(stored) || last.isBehind(stored) {
		return last
	}
	last = r.ownership.adopted(stored, r.Clock.Now())
	if r.ReportConnections { // else another operator reports them
		r.announceForeign(ctx, stored, "DLIConnection", last)
	}
	return last
}

// never is how long an operator waits that does not report a connection.
const never = 24 * time.Hour

// waitToReport is how long to wait before the health of a connection is written. Another
// operator that also writes it comes first; for good, unless a DLIJob of this one may use
// the connection or nobody has reported its current settings.
func (r *ConnectionReconciler) waitToReport(ctx context.Context, stored *v1alpha1.DLIConnection, last lastWrite) (time.Duration, error) {
	if !r.ReportConnections {
		return never, nil
	}
	jobs, err := jobsOfConnection(ctx, r, r.Connections, client.ObjectKeyFromObject(stored), client.Limit(1))
	isReported := stored.Status.ObservedGeneration == stored.Generation
	switch {
	case err != nil:
		return 0, err
	case len(jobs) > 0:
		return last.waitToReport(r.Clock.Now()), nil
	case last.foreign > 0, isReported && last.writtenAt.IsZero():
		return never, nil
	}
	return 0, nil
}

// write stores a status if it differs and the object has not changed since it was read.
func (r *ConnectionReconciler) write(ctx context.Context, stored, object *v1alpha1.DLIConnection) error {
	if equality.Semantic.DeepEqual(stored.Status, object.Status) {
		return nil
	}
	if err := r.patch(ctx, object); err != nil {
		return err
	}
	if digestOf(stored) != digestOf(object) {
		r.ownership.update(object, func(w *lastWrite) { w.noteHealth(r.Clock.Now()) })
	}
	return nil
}

// announce logs a change of the Ready condition that was written, and sends an Event for it,
// and one if lists are paused for another reason than before; "" is none.
func (r *ConnectionReconciler) announce(ctx context.Context, stored, object *v1alpha1.DLIConnection, pausedBefore, paused string) {
	before := meta.FindStatusCondition(stored.Status.Conditions, v1alpha1.ReadyCondition)
	ready := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ReadyCondition)
	if ready != nil && (before == nil || before.Reason != ready.Reason || before.Status != ready.Status) {
		ctrl.LoggerFrom(ctx).Info("DLIConnection changed", "condition", ready.Type, "status", ready.Status, "reason", ready.Reason, "message", ready.Message)
		eventType := corev1.EventTypeNormal
		if ready.Status == metav1.ConditionFalse {
			eventType = corev1.EventTypeWarning
		}
		r.Recorder.Eventf(object, nil, eventType, ready.Reason, "Report", "%s", text.Truncate(ready.Message, maxNote))
	}
	if paused == pausedBefore {
		return
	}
	r.ownership.update(object, func(w *lastWrite) { w.listsPaused = paused })
	// After a restart, the status still says so.
	if paused != "" && (before == nil || !strings.Contains(before.Message, paused)) {
		r.Recorder.Eventf(object, nil, corev1.EventTypeWarning, v1alpha1.ReasonListingDisabled, "List", "%s", text.Truncate(paused, maxNote))
	}
}

// reportHealth sets the Ready condition of a connection's object, with
// observedGeneration and endpoint.
func reportHealth(object *v1alpha1.DLIConnection, conn *connection.Connection, now time.Time) {
	health := conn.Health(now)
	ready := metav1.ConditionFalse
	if health.Ready {
		ready = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&object.Status.Conditions, metav1.Condition{
		Type:               v1alpha1.ReadyCondition,
		Status:             ready,
		Reason:             health.Reason,
		Message:            text.Truncate(text.OneLine(health.Message), maxConditionMessage),
		ObservedGeneration: object.Generation,
		LastTransitionTime: *wholeSeconds(now),
	})
	object.Status.ObservedGeneration = object.Generation
	object.Status.Endpoint = health.Endpoint
}

// connectionChanges passes changes that may affect how a connection is used, and
// status changes by other operators or users.
func connectionChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(*v1alpha1.DLIConnection), e.ObjectNew.(*v1alpha1.DLIConnection)
		return isOtherVersion(before, after) || !equality.Semantic.DeepEqual(before.Status, after.Status)
	}}
}

// SetupWithManager registers the reconciler.
func (r *ConnectionReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DLIConnection{}, builder.WithPredicates(connectionChanges())).
		WatchesRawSource(source.Func(r.changes.start)).
		// The source of the pod's identity may hang for some seconds.
		WithOptions(optionsOf(10)).
		Complete(r)
}
