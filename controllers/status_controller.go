// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// +kubebuilder:rbac:groups=dli.huaweicloud.com,resources=dlijobs,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=dli.huaweicloud.com,resources=dlijobs/status,verbs=patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create

// StatusReconciler stores the results of polls. It is the only writer of a DLIJob's
// status.
type StatusReconciler struct {
	statusWriter

	// Live reads objects from the API server rather than from the cache.
	Live client.Reader

	// sizes limits what is written.
	sizes sizeLimit
	// ending is set when the process is about to exit and must not write any more.
	ending atomic.Bool
	// results enqueues the jobs with new results.
	results trigger
	slots   *writeSlots
}

const (
	// leaseCheckInterval is the delay before checking again whether this process leads,
	// which it still does if a renewal of its lease was merely slow.
	leaseCheckInterval = time.Second
	// watchWait is how long the poll controller takes at most to see what this one has seen.
	watchWait = 100 * time.Millisecond
	// firstResultWait is how long to wait for the first result before writing that there
	// is none yet; it usually takes less.
	firstResultWait = time.Second
	// restoreInterval is the minimum interval between two restores of an outcome.
	restoreInterval = 5 * time.Second
	// maxAttempts limits how often one reconcile reads an object because something else
	// changed it in the meantime.
	maxAttempts = 6
)

// Reconcile writes the latest result of a DLIJob to its status. The poller keeps results
// that cannot be stored, so no job is polled twice for the same result.
func (r *StatusReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	for attempt := range maxAttempts {
		stored, err := r.read(ctx, req.NamespacedName, attempt > 0)
		switch {
		case err != nil:
			return ctrl.Result{}, err
		case r.ending.Load() || !r.Leads(r.Clock.Now()):
			// Checked after each read: a write of a new leader would look like a change by
			// something else.
			return ctrl.Result{RequeueAfter: leaseCheckInterval}, nil
		case stored == nil || !stored.DeletionTimestamp.IsZero():
			r.ownership.forget(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		wait, err := r.reconcile(ctx, stored)
		if !apierrors.IsConflict(err) {
			// Without it, the low priority of the initial list would be kept.
			return ctrl.Result{RequeueAfter: wait, Priority: new(0)}, err
		}
	}
	// Something writes faster than this; the rest of the queue goes first.
	return ctrl.Result{RequeueAfter: time.Second, Priority: new(0)}, nil
}

// reconcile handles one version of a DLIJob, and returns the time until the next check
// is due; 0 if none is.
func (r *StatusReconciler) reconcile(ctx context.Context, stored *v1alpha1.DLIJob) (time.Duration, error) {
	now, key := r.Clock.Now(), client.ObjectKeyFromObject(stored)
	job := stored.DeepCopy()
	last, wait := r.settle(ctx, job, now)
	if wait > 0 {
		return wait, nil
	}
	latest := r.Poller.Latest(key)
	if wait := waitForResult(job, latest, last, now); wait > 0 {
		return wait, nil
	}
	if !last.disputedAt.IsZero() {
		clearDerived(&job.Status)
	}
	latest.Failures.UnreadableSince = graceFrom(latest.Failures.UnreadableSince, last.failuresFrom())
	recordSnapshot(job, latest, now, r.Schedule.NotFoundAfter)
	deriveConditions(job, latest, now, r.Schedule.StallAfter)
	if differs(stored.Status, job.Status) {
		if wait := last.waitToWrite(stored, job, now); wait > 0 {
			return wait, nil
		}
		if written, err := r.write(ctx, stored, job); err != nil || !written {
			return 0, err
		}
		r.announceJob(ctx, cmp.Or(last.replaced, &stored.Status), job)
		r.Metrics.ObserveEnd(latest.Result)
	}
	r.Poller.Stored(key, latest.Result)
	if job.IsCompleted() && !now.Before(expiryOf(job)) {
		return 0, r.delete(ctx, job)
	}
	return nextCheck(job, latest, now, r.Schedule.StallAfter), nil
}

// differs reports whether there is more to write than when the job was last polled.
func differs(stored, current v1alpha1.DLIJobStatus) bool {
	stored.LastPollTime, current.LastPollTime = nil, nil
	return !equality.Semantic.DeepEqual(stored, current)
}

// waitForResult is how long to wait before a status is derived: the poll controller has
// not seen the job yet, its first response usually arrives within a moment, or only a
// poll can tell what is true.
func waitForResult(job *v1alpha1.DLIJob, latest poller.Snapshot, last lastWrite, now time.Time) time.Duration {
	isPolled := !job.Spec.Suspend && !job.IsCompleted()
	switch {
	case !last.disputedAt.IsZero() && !job.Spec.Suspend && !settles(latest.Result, job, now.Sub(last.disputedAt)):
		return backOffMin
	case isPolled && latest.FirstSeen.IsZero():
		return watchWait
	case isPolled && latest.Result == nil && len(job.Status.Conditions) == 0:
		return max(last.firstSeen.Add(firstResultWait).Sub(now), 0)
	}
	return 0
}

// settles reports whether a result shows what is true of a job whose status has been
// disputed for some time: a response of its own does. A failure says less than an outcome,
// and only after a while more than a success, which another operator may have had.
func settles(result *poller.Result, job *v1alpha1.DLIJob, disputed time.Duration) bool {
	switch {
	case result == nil || result.Listed != nil:
		return false
	case result.Status != nil:
		return true
	}
	return (!job.IsCompleted() || hasForgedOutcome(job)) && (!hasSynced(job) || disputed >= 2*backOffMin)
}

// settle decides what a status is worth that this process did not write: an outcome that
// was replaced is restored, what another operator wrote is adopted, and of anything else
// a poll tells whether it is true. It returns what is known of the job, and how long to
// wait before deciding.
func (r *StatusReconciler) settle(ctx context.Context, job *v1alpha1.DLIJob, now time.Time) (lastWrite, time.Duration) {
	last := r.ownership.lookup(job, now)
	if last.isOwn(job) {
		if last.previous == nil {
			return last, 0
		}
		if digest := digestOf(job); digest != last.own[0] {
			// It was stored although there was no response.
			r.announceJob(ctx, last.previous, job)
			r.ownership.update(job, func(w *lastWrite) { w.accept(job, digest) })
		}
		return last, 0
	}
	if wait := last.writtenAt.Add(restoreInterval).Sub(now); last.replaced != nil && wait > 0 {
		return last, wait
	}
	byOperator := last.isByOperator(job.ManagedFields) && !hasForgedOutcome(job)
	switch {
	case last.replaced != nil && (!byOperator || !mayReplace(last.replaced, job.Status.Outcome)):
		job.Status = *last.replaced.DeepCopy()
	case byOperator:
		last = r.ownership.adopted(job, now)
		r.announceForeign(ctx, job, "DLIJob", last)
		r.Poller.PollNow(client.ObjectKeyFromObject(job))
	case last.disputedAt.IsZero():
		r.ownership.update(job, func(w *lastWrite) {
			w.disputedAt = now
			last = *w
		})
		if key := client.ObjectKeyFromObject(job); !settles(r.Poller.Latest(key).Result, job, 0) {
			r.Poller.PollNow(key)
		}
	}
	return last, 0
}

// mayReplace reports whether an operator may have replaced an outcome by another: only
// NotFound is ever lifted.
func mayReplace(replaced *v1alpha1.DLIJobStatus, outcome v1alpha1.Outcome) bool {
	return replaced.Outcome == outcome || replaced.Outcome == v1alpha1.OutcomeNotFound
}

// read returns a DLIJob; nil if there is none. The cache has it unless it was seen to be
// behind: by a conflict, or because it lacks this process's own write. A status that may be
// foreign is also read from the API server, because the cache has no managedFields.
//
// After a restore of etcd the API server has an older version than before. Watches
// continue from the later one, so new objects would be invisible until the API server
// reaches it again: the process must restart, and not write any more.
func (r *StatusReconciler) read(ctx context.Context, key types.NamespacedName, isBehind bool) (*v1alpha1.DLIJob, error) {
	cached, live := &v1alpha1.DLIJob{}, &v1alpha1.DLIJob{}
	if err := r.Get(ctx, key, cached, sharedObject); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	last := r.ownership.lookup(cached, r.Clock.Now())
	if !isBehind && !last.isBehind(cached) && last.isOwn(cached) {
		return cached, nil
	}
	if err := r.Live.Get(ctx, key, live); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if last.isBehind(live) || IsOlder(live, cached.ResourceVersion) {
		r.ending.Store(true)
		r.Restored()
		return nil, fmt.Errorf("DLIJob %s is older than before: the API server has gone back to an earlier state", key)
	}
	r.ownership.changed(cached, live)
	return live, nil
}

// writeTimeout limits a write. The API server itself gives up after a minute.
const writeTimeout = time.Minute

// write stores the status. Whatever the API server refuses as invalid, the outcome and the
// conditions are stored. It reports whether the object still existed.
func (r *StatusReconciler) write(ctx context.Context, stored, job *v1alpha1.DLIJob) (written bool, err error) {
	r.slots.acquire()
	sentAt := r.Clock.Now()
	defer func() { r.slots.release(r.Clock.Since(sentAt), err) }()
	// A write in flight completes even if the operator is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	conn := r.Connections.NameInUse(job)
	size := r.sizes.shorten(&job.Status, conn, r.Clock.Now())
	r.ownership.update(job, func(w *lastWrite) { w.previous = cmp.Or(w.previous, &stored.Status) })
	err = r.patch(ctx, job)
	r.Metrics.CountWrite(err)
	if apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) {
		job.Status = essentialsOf(&stored.Status, &job.Status)
		size = wireSize(&job.Status)
		err = r.patch(ctx, job)
		r.Metrics.CountWrite(err)
	}
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("writing the status of DLIJob %s: %w", client.ObjectKeyFromObject(job), err)
	}
	r.Metrics.CountBytes(conn, size)
	return true, nil
}

func (r *StatusReconciler) delete(ctx context.Context, job *v1alpha1.DLIJob) error {
	err := r.Delete(ctx, job, client.Preconditions{UID: &job.UID, ResourceVersion: &job.ResourceVersion})
	if err != nil {
		return client.IgnoreNotFound(fmt.Errorf("deleting DLIJob %s after its TTL: %w", client.ObjectKeyFromObject(job), err))
	}
	ctrl.LoggerFrom(ctx).Info("DLIJob deleted after its TTL", "jobID", job.Spec.JobID, "outcome", job.Status.Outcome)
	return nil
}
