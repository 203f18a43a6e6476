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
	"fmt"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// +kubebuilder:rbac:groups=dli.huaweicloud.com,resources=dlijobs,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=dli.huaweicloud.com,resources=dlijobs/status,verbs=get;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// DLIJobReconciler polls jobs and writes their status. It is the only writer
// of it.
type DLIJobReconciler struct {
	client.Client
	Connections *Connections
	Schedule    Schedule
	Recorder    events.EventRecorder
	Clock       clock.PassiveClock
	News        *News
	Metrics     *Metrics
	// MaxConcurrentReconciles bounds the jobs that are polled at once.
	MaxConcurrentReconciles int

	watches watches
}

// Reconcile polls a job if that is due, writes its status if a reader cares
// about what changed, and returns when to come back.
func (r *DLIJobReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	stored := &v1alpha1.DLIJob{}
	if err := r.Get(ctx, req.NamespacedName, stored, sharedObject); err != nil {
		r.watches.forget(req.NamespacedName, r.Clock.Now())
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !stored.DeletionTimestamp.IsZero() {
		r.watches.forget(req.NamespacedName, r.Clock.Now())
		return ctrl.Result{}, nil
	}
	w := r.watchOf(stored)
	if behind(stored, w.written) {
		return comeBack(r.Clock.Now(), cacheLag), nil
	}

	job := stored.DeepCopy()
	wait, err := r.advance(ctx, job, w)
	if err != nil {
		return ctrl.Result{}, err
	}
	if worthWriting(stored, job, r.Clock.Now(), r.Schedule.StatusRefreshInterval) {
		if err := r.write(ctx, stored, job, w); err != nil {
			return ctrl.Result{}, err
		}
		r.announce(stored, job)
	}
	if expired(job, r.Clock.Now()) {
		return ctrl.Result{}, r.delete(ctx, job)
	}
	return comeBack(r.Clock.Now(), wait), nil
}

// advance brings the status of a job up to date, with a poll if one is due, and
// returns how long nothing more is to be done; zero for ever.
func (r *DLIJobReconciler) advance(ctx context.Context, job *v1alpha1.DLIJob, w *watch) (time.Duration, error) {
	now := r.Clock.Now()
	switch {
	case job.IsCompleted() && (job.Spec.Suspend || !pollRequested(job)):
		r.conclude(job, w, now)
		return untilExpired(job, now), nil
	case job.Spec.Suspend:
		w.turn.leave(now)
		w.due, w.run, w.held = time.Time{}, streak{}, false
		suspended(job, now)
		r.conclude(job, w, now)
		return 0, nil
	}

	conn, why, err := r.Connections.find(ctx, job)
	switch {
	case err != nil:
		return 0, err
	case why != nil:
		w.turn.leave(now)
		w.held, w.heldAt = true, noConnection
		r.holdBack(job, w, why, now)
		w.due = now.Add(heldAtMost)
	case conn.preparing(now):
		return prepareRetry, nil
	case !w.isDue(job, conn, now):
	default:
		if err := r.poll(ctx, job, w, conn); err != nil {
			return 0, err
		}
	}
	return r.settle(job, w), nil
}

// settle derives the conditions and returns when the next thing is to be done.
func (r *DLIJobReconciler) settle(job *v1alpha1.DLIJob, w *watch) time.Duration {
	now := r.Clock.Now()
	r.conclude(job, w, now)
	if job.IsCompleted() && !pollRequested(job) {
		return untilExpired(job, now)
	}
	next := w.due
	if !job.IsCompleted() {
		if end := deadline(job); end.After(now) {
			next = earlier(next, end)
		}
		if since := w.run.BlockedSince; !since.IsZero() && since.Add(r.Schedule.StallAfter).After(now) {
			next = earlier(next, since.Add(r.Schedule.StallAfter))
		}
	}
	return max(next.Sub(now), time.Millisecond)
}

func (r *DLIJobReconciler) conclude(job *v1alpha1.DLIJob, w *watch, now time.Time) {
	summarize(job, w.run, now, r.Schedule.StallAfter)
}

// poll asks DLI for a job that is due, if its connection lets it, and records
// the answer. It sets when the job is due next.
func (r *DLIJobReconciler) poll(ctx context.Context, job *v1alpha1.DLIJob, w *watch, conn *connection) error {
	now := r.Clock.Now()
	state := conn.state()
	a := conn.admit(now, &w.turn)
	if !a.granted {
		wait := a.wait
		switch {
		case a.why == nil:
		case needsAction(a.why.Reason) || w.held || w.run.Failures > 0 || job.Status.LastPollTime == nil:
			r.holdBack(job, w, a.why, now)
		default:
			// The job was well when last read, and a probe may tell in a moment that
			// the endpoint is: nobody is told before that.
			wait = min(wait, conn.probe+time.Second)
		}
		w.held, w.heldAt, w.due = a.held, state, now.Add(wait)
		return nil
	}

	r.Metrics.pollLateness.Observe(max(0, now.Sub(w.due).Seconds()))
	request := job.Annotations[v1alpha1.PollRequestedAtAnnotation]
	answer, why, err := conn.read(ctx, a, job.Spec.JobID, r.Clock.Now)
	if err != nil {
		return err
	}
	now = r.Clock.Now()
	if why != nil {
		w.run = w.run.after(why, now)
		recordFailure(job, why, w.run, now, r.Schedule.NotFoundAfter)
		wait, held := conn.afterFailure(now, r.Schedule.retry(why, w.run, now, jitter()))
		w.held, w.heldAt, w.due = held, state, now.Add(wait)
		if job.IsCompleted() && meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.SyncedCondition) {
			job.Status.LastHandledPollRequest = clip(request, maxName)
		}
		return nil
	}
	w.run, w.held = streak{}, false
	seenActive := job.Status.LastPollTime != nil && !job.IsCompleted()
	record(job, answer, now)
	if seenActive && job.IsCompleted() {
		r.Metrics.sawEnd(answer, now)
	}
	job.Status.LastHandledPollRequest = clip(request, maxName)
	w.due = now.Add(r.Schedule.interval(job, now, jitter()))
	return nil
}

// holdBack records why a job is not even asked for.
func (r *DLIJobReconciler) holdBack(job *v1alpha1.DLIJob, w *watch, why *failure, now time.Time) {
	w.run = w.run.held(why, now)
	recordFailure(job, why, w.run, now, r.Schedule.NotFoundAfter)
}

// write stores the status, once, and only if nobody changed the object since it
// was read: an outcome must not be overwritten by an operator that has lost its
// lease and does not know it yet.
func (r *DLIJobReconciler) write(ctx context.Context, stored, job *v1alpha1.DLIJob, w *watch) error {
	patch := client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{})
	err := r.Status().Patch(ctx, job, patch)
	r.Metrics.wrote(err)
	if err != nil {
		// What the poll brought is lost. The next one must not wait for its time,
		// and an API server that is down must not become a storm on DLI either.
		w.due = r.Clock.Now().Add(r.Schedule.PollIntervalMin)
		return client.IgnoreNotFound(fmt.Errorf("writing the status of DLIJob %s: %w", client.ObjectKeyFromObject(job), err))
	}
	w.written = job.ResourceVersion
	return nil
}

func (r *DLIJobReconciler) delete(ctx context.Context, job *v1alpha1.DLIJob) error {
	err := r.Delete(ctx, job, client.Preconditions{UID: &job.UID, ResourceVersion: &job.ResourceVersion})
	if err != nil {
		return client.IgnoreNotFound(fmt.Errorf("deleting DLIJob %s, whose TTL has passed: %w", client.ObjectKeyFromObject(job), err))
	}
	return nil
}

// watchOf returns what is remembered of a job, and schedules the first poll of
// one that is seen for the first time.
func (r *DLIJobReconciler) watchOf(job *v1alpha1.DLIJob) *watch {
	w, isNew := r.watches.of(client.ObjectKeyFromObject(job), job.UID)
	if isNew {
		now := r.Clock.Now()
		w.due = now.Add(r.Schedule.firstPoll(job, now, jitter()))
	}
	return w
}

// noConnection is the state that a job waits in which has no connection: any
// connection is another.
const noConnection = 0

// isDue tells whether a job is polled at now: its time has come, somebody asks
// for it, what held it back is gone, or the line in which it waits.
func (w *watch) isDue(job *v1alpha1.DLIJob, conn *connection, now time.Time) bool {
	return !now.Before(w.due) ||
		w.held && w.heldAt != conn.state() ||
		w.turn.limiter != nil && w.turn.limiter != conn.limiter ||
		!w.held && w.turn.at.IsZero() && pollRequested(job)
}

// pollRequested tells whether the annotation asks for a poll that was not made
// yet.
func pollRequested(job *v1alpha1.DLIJob) bool {
	request := clip(job.Annotations[v1alpha1.PollRequestedAtAnnotation], maxName)
	return request != "" && request != job.Status.LastHandledPollRequest
}

// untilExpired is how long a completed job is kept; zero for ever.
func untilExpired(job *v1alpha1.DLIJob, now time.Time) time.Duration {
	expires, ok := expiry(job)
	if !ok {
		return 0
	}
	return max(expires.Sub(now), time.Millisecond)
}

func expired(job *v1alpha1.DLIJob, now time.Time) bool {
	expires, ok := expiry(job)
	return ok && !now.Before(expires)
}

// expiry is when a completed job with a TTL is deleted: counted from when the
// outcome was recorded, so that everybody had the chance to see it.
func expiry(job *v1alpha1.DLIJob) (time.Time, bool) {
	completed := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.CompletedCondition)
	if job.Spec.TTLSecondsAfterFinished == nil || completed == nil || completed.Status != metav1.ConditionTrue {
		return time.Time{}, false
	}
	return completed.LastTransitionTime.Add(time.Duration(*job.Spec.TTLSecondsAfterFinished) * time.Second), true
}

// behind tells whether the cache has not yet seen the operator's last write of
// an object.
func behind(job *v1alpha1.DLIJob, written string) bool {
	if written == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(job.ResourceVersion, written)
	return err == nil && order < 0
}

// cacheLag is how long the cache gets to see the operator's own write.
const cacheLag = 50 * time.Millisecond

// comeBack asks for another reconcile. It sets the priority because that of the
// initial list, which is low, would otherwise stay with the job for ever.
func comeBack(now time.Time, after time.Duration) ctrl.Result {
	return ctrl.Result{RequeueAfter: onTick(now, after), Priority: new(0)}
}

// jitter is a random number in [-1, 1).
func jitter() float64 { return 2*rand.Float64() - 1 }
