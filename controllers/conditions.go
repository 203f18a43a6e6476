// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// summary is the result for a job: the conditions Ready and Succeeded, and at most
// one of Reconciling and Stalled.
type summary struct {
	ready     metav1.ConditionStatus
	succeeded metav1.ConditionStatus
	reason    string
	message   string
	// reconciling or stalled says which of the two is present.
	reconciling, stalled bool
}

// deriveConditions derives every condition except Synced, and the phase, from what
// is known, and sets the generation that they describe.
func deriveConditions(job *v1alpha1.DLIJob, latest poller.Snapshot, now time.Time, stallAfter time.Duration) {
	synced := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.SyncedCondition)
	if synced == nil || (synced.Reason == v1alpha1.ReasonSuspended && !job.Spec.Suspend) {
		setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waiting for the first poll", now)
	}
	recordUnreadable(job, latest.Failures)
	s := summarize(job, latest, now, stallAfter)

	completed, end := metav1.ConditionFalse, "the job is not known to have ended"
	if job.IsCompleted() {
		completed, end = metav1.ConditionTrue, "the end of the job has been recorded"
	}
	setCondition(job, v1alpha1.ReadyCondition, s.ready, s.reason, s.message, now)
	// Without the message, which Ready has for people, and Stalled for kstatus.
	setCondition(job, v1alpha1.SucceededCondition, s.succeeded, s.reason, succeededMessages[s.succeeded], now)
	setCondition(job, v1alpha1.CompletedCondition, completed, s.reason, end, now)
	setWhile(job, v1alpha1.ReconcilingCondition, s.reconciling, s, now)
	setWhile(job, v1alpha1.StalledCondition, s.stalled, s, now)
	slices.SortFunc(job.Status.Conditions, func(a, b metav1.Condition) int {
		return slices.Index(conditionOrder, a.Type) - slices.Index(conditionOrder, b.Type)
	})
	for i := range job.Status.Conditions {
		job.Status.Conditions[i].ObservedGeneration = job.Generation
	}
	job.Status.ObservedGeneration = job.Generation
	job.Status.Phase = phaseOf(job, s)
}

// succeededMessages are the messages of the condition Succeeded.
var succeededMessages = map[metav1.ConditionStatus]string{
	metav1.ConditionTrue:    "the job succeeded",
	metav1.ConditionFalse:   "the job did not succeed",
	metav1.ConditionUnknown: "the job is not known to have ended",
}

// phaseOf is a summary in one word. It changes only if the conditions or jobStatus
// do, so it never causes a write of its own.
func phaseOf(job *v1alpha1.DLIJob, s summary) v1alpha1.Phase {
	switch {
	case job.IsCompleted():
		return v1alpha1.Phase(job.Status.Outcome)
	case s.stalled:
		return v1alpha1.PhaseStalled
	case !s.reconciling:
		return v1alpha1.PhaseSuspended
	case job.Status.JobStatus == "", dli.ParseState(job.Status.JobStatus) == dli.StateLaunching:
		return v1alpha1.PhasePending
	default:
		return v1alpha1.PhaseRunning
	}
}

// conditionOrder is the order in which the conditions are listed.
var conditionOrder = []string{
	v1alpha1.ReadyCondition, v1alpha1.SucceededCondition, v1alpha1.CompletedCondition,
	v1alpha1.SyncedCondition, v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition,
}

// recordUnreadable records since when user action has been required, so that the
// grace period continues after a restart.
func recordUnreadable(job *v1alpha1.DLIJob, streak poller.FailureStreak) {
	switch {
	case streak.UnreadableSince.IsZero() || job.IsCompleted():
		job.Status.UnreadableSince = nil
	case job.Status.UnreadableSince == nil:
		job.Status.UnreadableSince = wholeSeconds(streak.UnreadableSince)
	}
}

// summarize implements the table of states in docs/dlijob.md, one case per row.
func summarize(job *v1alpha1.DLIJob, latest poller.Snapshot, now time.Time, stallAfter time.Duration) summary {
	synced := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.SyncedCondition)
	switch {
	case job.Status.Outcome == v1alpha1.OutcomeSucceeded:
		return summary{ready: metav1.ConditionTrue, succeeded: metav1.ConditionTrue, reason: v1alpha1.ReasonJobFinished, message: finishedMessage(job)}
	case job.Status.Outcome == v1alpha1.OutcomeFailed:
		return endedSummary(v1alpha1.ReasonJobFailed, "the job failed", job)
	case job.Status.Outcome == v1alpha1.OutcomeCancelled:
		return endedSummary(v1alpha1.ReasonJobCancelled, "the job was cancelled", job)
	case job.IsCompleted():
		return summary{ready: metav1.ConditionFalse, succeeded: metav1.ConditionFalse, reason: v1alpha1.ReasonJobNotFound, message: synced.Message, stalled: true}
	case job.Spec.Suspend:
		return summary{ready: metav1.ConditionUnknown, succeeded: metav1.ConditionUnknown, reason: v1alpha1.ReasonSuspended, message: "set spec.suspend to false to resume polling"}
	case !now.Before(deadlineOf(job, latest)):
		return summary{ready: metav1.ConditionFalse, succeeded: metav1.ConditionUnknown, reason: v1alpha1.ReasonDeadlineExceeded, message: deadlineMessage(job), stalled: true}
	case synced.Status == metav1.ConditionFalse && connection.NeedsAction(synced.Reason) && graceIsOver(job, latest.Failures, now, stallAfter):
		return summary{ready: metav1.ConditionFalse, succeeded: metav1.ConditionUnknown, reason: synced.Reason, message: synced.Message, stalled: true}
	case synced.Status == metav1.ConditionFalse:
		return activeSummary(synced.Reason, synced.Message)
	case synced.Status == metav1.ConditionUnknown:
		return activeSummary(v1alpha1.ReasonPending, "waiting for the first poll of job "+job.Spec.JobID+"; jobs take turns within the rate limit of their DLIConnection")
	}
	switch dli.ParseState(job.Status.JobStatus) {
	case dli.StateLaunching:
		return activeSummary(v1alpha1.ReasonJobLaunching, "the job is being launched"+onQueue(job))
	case dli.StateRunning:
		return activeSummary(v1alpha1.ReasonJobRunning, "the job is running"+onQueue(job))
	case dli.StateScaling:
		return activeSummary(v1alpha1.ReasonJobScaling, "the job is being scaled"+onQueue(job))
	case dli.StateRecovering:
		return activeSummary(v1alpha1.ReasonJobRecovering, "the job is being restarted by DLI"+onQueue(job))
	default:
		return activeSummary(v1alpha1.ReasonJobStatusUnrecognized, fmt.Sprintf("DLI reports %q, which this version does not know; the job is treated as active", job.Status.JobStatus))
	}
}

// activeSummary is the summary of a job that has not ended yet.
func activeSummary(reason, message string) summary {
	return summary{ready: metav1.ConditionUnknown, succeeded: metav1.ConditionUnknown, reason: reason, message: message, reconciling: true}
}

// endedSummary is the summary of a job that ended without success according to DLI.
func endedSummary(reason, what string, job *v1alpha1.DLIJob) summary {
	message := what + " and DLI gives no reason"
	if job.Status.Error != nil && job.Status.Error.Message != "" {
		message = what + ": " + job.Status.Error.Message
	}
	return summary{ready: metav1.ConditionFalse, succeeded: metav1.ConditionFalse, reason: reason, message: message, stalled: true}
}

// graceIsOver reports whether a failure that requires user action has lasted for
// longer than the grace period. Once it has, that holds while the failure lasts.
func graceIsOver(job *v1alpha1.DLIJob, streak poller.FailureStreak, now time.Time, stallAfter time.Duration) bool {
	ready := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ReadyCondition)
	if ready != nil && connection.NeedsAction(ready.Reason) && meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.StalledCondition) {
		return true
	}
	return !streak.UnreadableSince.IsZero() && now.Sub(streak.UnreadableSince) >= stallAfter
}

func finishedMessage(job *v1alpha1.DLIJob) string {
	var b strings.Builder
	b.WriteString("the job finished")
	if job.Status.Duration != "" {
		b.WriteString(" in " + job.Status.Duration)
	}
	if rows := job.Status.ResultCount; rows != nil {
		fmt.Fprintf(&b, " with %d %s", *rows, pluralOf(*rows, "row"))
	}
	if bad := job.Status.BadRowCount; bad != nil && *bad > 0 {
		fmt.Fprintf(&b, " and %d bad %s", *bad, pluralOf(*bad, "row"))
	}
	return b.String()
}

func deadlineMessage(job *v1alpha1.DLIJob) string {
	return fmt.Sprintf("the job did not end within activeDeadlineSeconds (%d); polling continues; cancel the job in DLI or raise the deadline", *job.Spec.ActiveDeadlineSeconds)
}

func onQueue(job *v1alpha1.DLIJob) string {
	if job.Status.QueueName == "" {
		return ""
	}
	return " on queue " + job.Status.QueueName
}

func pluralOf(n int64, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// setWhile sets a condition that is present only while True.
func setWhile(job *v1alpha1.DLIJob, conditionType string, present bool, s summary, now time.Time) {
	if !present {
		meta.RemoveStatusCondition(&job.Status.Conditions, conditionType)
		return
	}
	setCondition(job, conditionType, metav1.ConditionTrue, s.reason, s.message, now)
}
