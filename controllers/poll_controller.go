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
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
	"github.com/dli-operator/dli-operator/internal/text"
)

// watch tells the poller what to do about a job, and returns its progress. It does
// not change the job.
func (r *StatusReconciler) watch(ctx context.Context, job *v1alpha1.DLIJob, now time.Time) (poller.JobTimes, error) {
	if job.Spec.Suspend || job.IsCompleted() && !pollRequested(job) {
		r.Poller.Forget(client.ObjectKeyFromObject(job))
		return poller.JobTimes{}, nil
	}
	target := targetOf(job, now)
	var err error
	target.Connection, err = r.Connections.Resolve(ctx, job)
	failure, ok := connection.AsFailure(err)
	if err != nil && !ok {
		return poller.JobTimes{}, err
	}
	target.Failure = failure
	if own := job.Spec.ReportProgress; own != nil {
		target.ReportProgress = *own
	} else if target.ReportProgress, err = r.Connections.ReportsProgress(ctx, target.Connection); err != nil {
		return poller.JobTimes{}, err
	}
	return r.Poller.Watch(target), nil
}

// updatePoller tells the poller about a DLIJob that is new or was edited. Reconcile does
// this, too, but all its workers may be waiting for the API server.
func (r *StatusReconciler) updatePoller(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	now := r.Clock.Now()
	job := &v1alpha1.DLIJob{}
	if err := r.Get(ctx, req.NamespacedName, job, sharedObject); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !r.mayAct(now) || !r.isCurrent(job, now) {
		return ctrl.Result{}, nil
	}
	if _, err := r.watch(ctx, job, now); err != nil {
		return ctrl.Result{}, err
	}
	// If it was deleted or its outcome was written in the meantime, its watch ends
	// again.
	latest := &v1alpha1.DLIJob{}
	if err := r.Get(ctx, req.NamespacedName, latest, sharedObject); err != nil || !r.isCurrent(latest, now) {
		r.results.add(req.NamespacedName)
	}
	return ctrl.Result{}, nil
}

// isCurrent reports whether a cached object is up to date: it is not being
// deleted, and neither this process nor anything else has written another status.
func (r *StatusReconciler) isCurrent(job *v1alpha1.DLIJob, now time.Time) bool {
	known := r.ownership.of(job, now)
	return job.DeletionTimestamp.IsZero() && !known.isBehind(job) && known.matches(job)
}

// targetOf returns how to poll a job, except for its connection. Times in the
// status come from clocks that may differ from the current one or have been
// changed: none is treated as longer ago than it says, or as in the future.
func targetOf(job *v1alpha1.DLIJob, now time.Time) poller.Target {
	target := poller.Target{
		Key:       client.ObjectKeyFromObject(job),
		UID:       job.UID,
		JobID:     job.Spec.JobID,
		Completed: job.IsCompleted(),
		Known:     knownOf(job, now),
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
func knownOf(job *v1alpha1.DLIJob, now time.Time) poller.Known {
	status := &job.Status
	ago := func(at time.Time) time.Duration { return max(now.Sub(at), 0) }
	known := poller.Known{
		State:    dli.ParseState(status.JobStatus),
		Age:      ago(job.CreationTimestamp.Time),
		Progress: status.Progress,
	}
	if last := status.LastPollTime; last != nil {
		known.LastPoll = now.Add(-ago(last.Time))
		if status.DurationMilliseconds != nil {
			known.Running = time.Duration(*status.DurationMilliseconds)*time.Millisecond + ago(last.Time)
		}
	}
	if known.Running == 0 && status.StartTime != nil {
		known.Running = ago(status.StartTime.Time)
	}
	synced := meta.FindStatusCondition(status.Conditions, v1alpha1.SyncedCondition)
	switch {
	case synced == nil:
	case synced.Status == metav1.ConditionUnknown:
		// It was suspended: it is polled immediately, like a new one.
		known.LastPoll = time.Time{}
	case synced.Status == metav1.ConditionFalse:
		known.Failures = poller.FailureStreak{Count: 1, Reason: synced.Reason}
	}
	if gone := status.NotFound; gone != nil {
		known.Failures.NotFound, known.Failures.NotFoundSince = int(gone.Count), now.Add(-ago(gone.Since.Time))
	}
	if since := status.UnreadableSince; since != nil {
		known.Failures.UnreadableSince = now.Add(-ago(since.Time))
	}
	return known
}

// pollRequested reports whether the annotation requests a poll that has not been
// done yet.
func pollRequested(job *v1alpha1.DLIJob) bool {
	request := requestOf(job)
	return request != "" && request != job.Status.LastHandledPollRequest
}

// requestOf returns the annotation's value, truncated to what the status can hold.
func requestOf(job *v1alpha1.DLIJob) string {
	return text.Truncate(job.Annotations[v1alpha1.PollRequestedAtAnnotation], maxName)
}
