// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"math"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// maxSeconds is half of what a time.Duration holds, some 146 years: a later deadline is none.
const maxSeconds = int64(math.MaxInt64/time.Second) / 2

// deadlineOf is when the job must have ended, by the monotonic clock of this
// process, because other clocks differ and jump. Without a deadline it is far in
// the future.
func deadlineOf(job *v1alpha1.DLIJob, latest poller.Snapshot) time.Time {
	since, allowed := latest.Started, job.Spec.ActiveDeadlineSeconds
	if since.IsZero() {
		since = latest.FirstSeen
	}
	if since.IsZero() || allowed == nil || *allowed > maxSeconds {
		return farFuture
	}
	return since.Add(time.Duration(*allowed) * time.Second)
}

var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// recordedAt is when the outcome of a job was recorded; zero before that.
func recordedAt(job *v1alpha1.DLIJob) time.Time {
	completed := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.CompletedCondition)
	if completed == nil || completed.Status != metav1.ConditionTrue {
		return time.Time{}
	}
	return completed.LastTransitionTime.Time
}

// expiryOf is when a completed job with a TTL is deleted: counted from when the
// outcome was recorded, so that everyone has time to see it.
func expiryOf(job *v1alpha1.DLIJob) time.Time {
	recorded := recordedAt(job)
	if job.Spec.TTLSecondsAfterFinished == nil || recorded.IsZero() {
		return farFuture
	}
	return recorded.Add(time.Duration(*job.Spec.TTLSecondsAfterFinished) * time.Second)
}

// nextCheck is the time from now until the next deadline, end of a grace period or
// TTL; 0 if there is none.
func nextCheck(job *v1alpha1.DLIJob, latest poller.Snapshot, now time.Time, stallAfter time.Duration) time.Duration {
	next := farFuture
	consider := func(due time.Time) {
		if due.After(now) && due.Before(next) {
			next = due
		}
	}
	switch since := latest.Failures.UnreadableSince; {
	case job.IsCompleted():
		consider(expiryOf(job))
	case job.Spec.Suspend:
	default:
		consider(deadlineOf(job, latest))
		if !since.IsZero() {
			consider(since.Add(stallAfter))
		}
	}
	if next.Equal(farFuture) {
		return 0
	}
	return max(next.Sub(now), time.Millisecond)
}

// graceFrom is when the grace period of an unreadable job begins: not before this process
// may say so.
func graceFrom(unreadableSince, failuresFrom time.Time) time.Time {
	if unreadableSince.IsZero() || failuresFrom.Before(unreadableSince) {
		return unreadableSince
	}
	return failuresFrom
}
