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
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// +kubebuilder:rbac:groups=dli.huaweicloud.com,resources=dlijobs,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=dli.huaweicloud.com,resources=dlijobs/status,verbs=get;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// StatusReconciler tells the poller which jobs to poll, and stores the results. It
// is the only writer of a DLIJob's status.
type StatusReconciler struct {
	client.Client
	// Live reads objects from the API server rather than from the cache.
	Live        client.Reader
	Connections *connection.Registry
	Poller      *poller.Poller
	Schedule    poller.Schedule
	Recorder    events.EventRecorder
	Clock       clock.PassiveClock
	Metrics     *Metrics
	// Leads reports whether this process certainly leads.
	Leads func(now time.Time) bool
	// Restored is called when the API server has gone back in time; it may be nil.
	Restored func()
	// MaxConcurrentReconciles limits the jobs whose status is written concurrently.
	MaxConcurrentReconciles int

	ownership ownership
	// ending is set when the process is about to exit and must not write any more.
	ending  atomic.Bool
	results trigger
}

// leaseCheckInterval is the delay before checking again whether this process leads, which
// it still does if a renewal of its lease was merely slow.
const leaseCheckInterval = time.Second

// maxConflicts limits how often one reconcile reads an object again because
// something else changed it in the meantime.
const maxConflicts = 5

// Reconcile updates the status of a DLIJob with the poller's latest result, and
// tells the poller how to continue. The poller keeps results that cannot be
// stored, so no job is polled twice for the same result.
func (r *StatusReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	stored, err := r.read(ctx, req.NamespacedName)
	for conflicts := 0; err == nil; conflicts++ {
		// Checked after each read: a write of a new leader would look like a change by
		// something else.
		if !r.mayAct(r.Clock.Now()) {
			return ctrl.Result{RequeueAfter: leaseCheckInterval}, nil
		}
		if stored == nil || !stored.DeletionTimestamp.IsZero() {
			r.Poller.Forget(req.NamespacedName)
			r.ownership.forget(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		var wait time.Duration
		wait, err = r.reconcile(ctx, stored)
		if err == nil {
			// Without it, the low priority of the initial list would be kept.
			return ctrl.Result{RequeueAfter: wait, Priority: new(0)}, nil
		}
		if !apierrors.IsConflict(err) {
			break
		}
		if conflicts == maxConflicts {
			// Something writes faster than this; the rest of the queue goes first.
			return ctrl.Result{RequeueAfter: time.Second, Priority: new(0)}, nil
		}
		before := stored
		if stored, err = r.readLive(ctx, req.NamespacedName); stored != nil {
			r.ownership.changed(before, stored)
			if isOlder(stored, before.ResourceVersion) {
				err = r.noteReset(stored)
			}
		}
	}
	return ctrl.Result{}, err
}

// mayAct reports whether this process certainly leads and is not about to exit.
func (r *StatusReconciler) mayAct(now time.Time) bool { return !r.ending.Load() && r.Leads(now) }

// firstResultWait is how long to wait for the first response before writing that there
// is none yet; it usually takes less.
const firstResultWait = time.Second

// reconcile handles one version of a DLIJob, and returns the time until the next
// check is due; 0 if none is.
func (r *StatusReconciler) reconcile(ctx context.Context, stored *v1alpha1.DLIJob) (time.Duration, error) {
	now := r.Clock.Now()
	key := client.ObjectKeyFromObject(stored)
	job := stored.DeepCopy()
	known := r.ownership.of(job, now)
	if wait, err := r.restoreStatus(ctx, job, known, now); err != nil || wait > 0 {
		return wait, err
	}
	progress, err := r.watch(ctx, job, now)
	if err != nil {
		return 0, err
	}
	if job.Spec.Suspend && !job.IsCompleted() {
		recordSuspended(job, now)
	}
	result := r.Poller.Latest(key).Result
	switch wait := known.firstSeen.Add(firstResultWait).Sub(now); {
	case result != nil:
		recordResult(job, result, r.Schedule.NotFoundAfter)
	case wait > 0 && len(job.Status.Conditions) == 0 && !job.Spec.Suspend:
		return wait, nil
	}
	job.Status.Progress = progress.Progress
	deriveConditions(job, progress, now, r.Schedule.StallAfter)
	if worthWriting(stored, job, now, r.Schedule.StatusRefreshInterval) {
		if written, err := r.write(ctx, stored, job); err != nil || !written {
			return 0, err
		}
		r.announce(ctx, stored, job)
		r.Metrics.observeEnd(result)
	}
	r.Poller.Stored(key, result)
	if job.IsCompleted() && !pollRequested(job) {
		r.Poller.Forget(key)
	}
	recorded := r.ownership.of(job, now).recorded
	if job.IsCompleted() && !now.Before(expiryOf(job, recorded)) {
		return 0, r.delete(ctx, job)
	}
	return nextCheck(job, progress, recorded, now, r.Schedule.StallAfter), nil
}

// read returns a DLIJob from the cache; nil if there is none. The cache can be
// behind this process's own write, and after a restore of etcd the API server can
// be behind both: then the API server counts.
func (r *StatusReconciler) read(ctx context.Context, key types.NamespacedName) (*v1alpha1.DLIJob, error) {
	job := &v1alpha1.DLIJob{}
	if err := r.Get(ctx, key, job, sharedObject); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	known := r.ownership.of(job, r.Clock.Now())
	if !known.isBehind(job) {
		return job, nil
	}
	live, err := r.readLive(ctx, key)
	if live != nil && known.isBehind(live) {
		err = r.noteReset(live)
	}
	return live, err
}

// noteReset handles an API server that has an older version of a job than before:
// etcd was restored. Watches continue from the later version, so new objects would
// be invisible until the API server reaches it again. It returns an error if the
// process is to restart: its knowledge is outdated, so it must not write any more.
func (r *StatusReconciler) noteReset(live *v1alpha1.DLIJob) error {
	r.ownership.noteReset(live)
	if r.Restored == nil {
		return nil
	}
	r.ending.Store(true)
	r.Restored()
	return fmt.Errorf("DLIJob %s is older than before: the API server has gone back to an earlier state", client.ObjectKeyFromObject(live))
}

// sharedObject avoids copying objects that are only read.
var sharedObject = &client.GetOptions{UnsafeDisableDeepCopy: new(true)}

func (r *StatusReconciler) readLive(ctx context.Context, key types.NamespacedName) (*v1alpha1.DLIJob, error) {
	job := &v1alpha1.DLIJob{}
	if err := r.Live.Get(ctx, key, job); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return job, nil
}

// restoreInterval is the minimum interval between two restores of a status, so that
// two writers do not fight each other with a storm of writes.
const restoreInterval = 5 * time.Second

// restoreStatus restores the status of a job that something else changed. It returns
// how long to wait before that is allowed again; 0 if it was done or there was
// nothing to do.
func (r *StatusReconciler) restoreStatus(ctx context.Context, job *v1alpha1.DLIJob, known lastWrite, now time.Time) (time.Duration, error) {
	if known.matches(job) {
		return 0, nil
	}
	if known.replaced != nil && known.replaced.Outcome == "" {
		late, err := r.recordedByOperator(ctx, job)
		if err != nil {
			return 0, err
		}
		if late {
			r.ownership.stored(job, job.ResourceVersion)
			return 0, nil
		}
	}
	if wait := known.restoredAt.Add(restoreInterval).Sub(now); !known.restoredAt.IsZero() && wait > 0 {
		return wait, nil
	}
	r.ownership.restored(job, now)
	if known.replaced != nil {
		job.Status = *known.replaced.DeepCopy()
	} else {
		job.Status = v1alpha1.DLIJobStatus{}
	}
	// DLI's current status decides.
	r.Poller.PollNow(client.ObjectKeyFromObject(job))
	return 0, nil
}

// fieldOwner is the operator's name in managedFields, where the API server records
// who wrote each field.
const fieldOwner = client.FieldOwner("dli-operator")

// recordedByOperator reports whether an outcome that this process did not write
// comes from the operator anyway: from the previous leader, whose last write was
// delayed. Such an outcome is as final as any other.
func (r *StatusReconciler) recordedByOperator(ctx context.Context, job *v1alpha1.DLIJob) (bool, error) {
	if !job.IsCompleted() {
		return false, nil
	}
	fields := job.ManagedFields
	if len(fields) == 0 { // the cache drops them
		live, err := r.readLive(ctx, client.ObjectKeyFromObject(job))
		if err != nil {
			return false, err
		}
		if live == nil || live.ResourceVersion != job.ResourceVersion {
			return false, apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("dlijobs").GroupResource(), job.Name, errors.New("it has changed"))
		}
		fields = live.ManagedFields
	}
	return slices.ContainsFunc(fields, func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == string(fieldOwner) && f.FieldsV1 != nil && strings.Contains(f.FieldsV1.GetRawString(), `"f:outcome"`)
	}), nil
}

// writeTimeout limits a write. The API server itself gives up after a minute.
const writeTimeout = time.Minute

// write stores the status once, and only if the object has not changed since it
// was read: an operator that has lost its lease without knowing it must not
// overwrite an outcome. It reports whether the object still existed.
func (r *StatusReconciler) write(ctx context.Context, stored, job *v1alpha1.DLIJob) (written bool, err error) {
	patch := client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{})
	// A write in flight completes even if the operator is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	err = r.Status().Patch(ctx, job, patch, fieldOwner)
	r.Metrics.countWrite(err)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("writing the status of DLIJob %s: %w", client.ObjectKeyFromObject(job), err)
	}
	r.ownership.stored(job, job.ResourceVersion)
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
