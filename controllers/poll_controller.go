// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
	"github.com/dli-operator/dli-operator/internal/text"
)

// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch

// PollReconciler tells the poller which jobs to poll, and how. It never writes.
type PollReconciler struct {
	client.Reader
	Connections *connection.Registry
	Poller      *poller.Poller
	Clock       clock.PassiveClock

	ownership *ownership
}

// settleWait is the delay before looking again at an outcome that the operator did not
// write.
const settleWait = time.Second

// togetherFor is how long after its creation a DLIJob may lack a connection before it says so:
// both may be created together, in any order.
const togetherFor = 3 * time.Second

// costWindow is how long after its outcome was recorded the cost of a job is requested: for
// a few tries.
const costWindow = 2 * time.Minute

// Reconcile watches a DLIJob that is to be polled, and forgets any other. An outcome that
// the operator did not write does not count until it is settled.
func (r *PollReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	job, now := &v1alpha1.DLIJob{}, r.Clock.Now()
	err := r.Get(ctx, req.NamespacedName, job, sharedObject)
	isGone := apierrors.IsNotFound(err)
	if err != nil && !isGone {
		return ctrl.Result{}, err
	}
	isForeign := job.IsCompleted() && r.ownership.isForeign(job)
	isCompleted := job.IsCompleted() && !isForeign
	isDone := isCompleted && !pollRequested(job)
	if isGone || !job.DeletionTimestamp.IsZero() || job.Spec.Suspend || isDone && !lacksCost(job, now) {
		r.Poller.Forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	target := targetOf(job, now)
	target.Completed = isCompleted
	conn, err := r.Connections.Resolve(ctx, job, now)
	failure, isFailure := connection.AsFailure(err)
	switch {
	case isFailure && now.Sub(job.CreationTimestamp.Time).Abs() < togetherFor:
		return ctrl.Result{RequeueAfter: settleWait}, nil
	case isFailure:
		target.Failure = failure
	case err != nil:
		return ctrl.Result{}, err
	default:
		target.Connection, target.ReportProgress = client.ObjectKeyFromObject(conn), conn.Spec.ReportProgress
		target.ReportCost = isDone && conn.Spec.ReportCost
	}
	if isDone && !target.ReportCost {
		r.Poller.Forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if wanted := job.Spec.ReportProgress; wanted != nil {
		target.ReportProgress = *wanted
	}
	r.Poller.Watch(target)
	switch {
	case isForeign:
		return ctrl.Result{RequeueAfter: settleWait}, nil
	case isDone:
		return ctrl.Result{RequeueAfter: costWindow}, nil
	}
	return ctrl.Result{}, nil
}

// lacksCost reports whether the cost of a completed SQL job may still be requested. It says
// the same before and after a restart, and depends on nothing but the object: a job whose
// outcome was recorded longer ago is never asked about again.
func lacksCost(job *v1alpha1.DLIJob, now time.Time) bool {
	hasCost := job.Spec.Type != v1alpha1.JobTypeSpark && job.Status.Outcome != v1alpha1.OutcomeNotFound
	return hasCost && job.Status.Cost == nil && now.Sub(recordedAt(job)).Abs() < costWindow
}

// targetOf returns how to poll a job, except for its connection and whether it has ended. Times in the
// status come from clocks that may differ from the current one or have been
// changed: none is treated as longer ago than it says, or as in the future.
func targetOf(job *v1alpha1.DLIJob, now time.Time) poller.Target {
	target := poller.Target{
		Key:   client.ObjectKeyFromObject(job),
		UID:   job.UID,
		JobID: job.Spec.JobID,
		Type:  dli.JobType(job.Spec.Type),
		Known: knownOf(job, now),
	}
	if fixed := job.Spec.PollIntervalSeconds; fixed != nil {
		target.Interval = time.Duration(*fixed) * time.Second
	}
	if pollRequested(job) {
		target.PollRequest = requestOf(job)
	}
	return target
}

// knownOf returns what a status says about earlier polls.
func knownOf(job *v1alpha1.DLIJob, now time.Time) *poller.Known {
	status := &job.Status
	ago := func(t time.Time) time.Duration { return max(now.Sub(t), 0) }
	earlier := &poller.Known{
		State:    dli.ParseState(status.JobStatus),
		Age:      ago(job.CreationTimestamp.Time),
		Progress: copyOf(status.Progress),
	}
	if last := status.LastPollTime; last != nil {
		earlier.LastPoll = now.Add(-ago(last.Time))
		if status.DurationMilliseconds != nil {
			earlier.Running = time.Duration(*status.DurationMilliseconds)*time.Millisecond + ago(last.Time)
		}
	}
	// A duration may be a list's, which may differ from what status calls say.
	if start := status.StartTime; start != nil && (earlier.Running == 0 || ago(start.Time) < earlier.Running) {
		earlier.Running = ago(start.Time)
	}
	synced := meta.FindStatusCondition(status.Conditions, v1alpha1.SyncedCondition)
	switch {
	case synced == nil:
	case synced.Status == metav1.ConditionUnknown:
		// It was suspended: it is polled immediately, like a new one.
		earlier.LastPoll = time.Time{}
	case synced.Status == metav1.ConditionTrue && !hasForgedOutcome(job):
		earlier.Status = status.JobStatus
	case synced.Status == metav1.ConditionFalse:
		earlier.Failures = poller.FailureStreak{Count: 1, Reason: synced.Reason}
	}
	if since := status.NotFoundSince; since != nil {
		earlier.Failures.NotFound, earlier.Failures.NotFoundSince = 1, now.Add(-ago(since.Time))
	}
	if since := status.UnreadableSince; since != nil {
		earlier.Failures.UnreadableSince = now.Add(-ago(since.Time))
	}
	return earlier
}

// pollRequested reports whether the annotation requests a poll that has not been
// done yet.
func pollRequested(job *v1alpha1.DLIJob) bool {
	request := requestOf(job)
	return request != "" && request != job.Status.LastHandledPollRequest
}

// requestOf returns the annotation's value, truncated to what the status can hold.
func requestOf(job *v1alpha1.DLIJob) string {
	return text.Truncate(job.Annotations[v1alpha1.PollRequestedAtAnnotation], maxPollRequest)
}
