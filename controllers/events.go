// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/text"
)

// maxNote is the longest note that the API server accepts in an Event.
const maxNote = 1024

// eventTypes maps the reasons of Ready that cause an Event, and that of a recovery, to its
// type; that of any other Event is Warning.
var eventTypes = map[string]string{
	v1alpha1.ReasonPollSucceeded:    corev1.EventTypeNormal,
	v1alpha1.ReasonJobLaunching:     corev1.EventTypeNormal,
	v1alpha1.ReasonJobRunning:       corev1.EventTypeNormal,
	v1alpha1.ReasonJobFinished:      corev1.EventTypeNormal,
	v1alpha1.ReasonJobFailed:        corev1.EventTypeWarning,
	v1alpha1.ReasonJobCancelled:     corev1.EventTypeWarning,
	v1alpha1.ReasonJobNotFound:      corev1.EventTypeWarning,
	v1alpha1.ReasonDeadlineExceeded: corev1.EventTypeWarning,
}

// eventsOf returns the conditions that cause Events when a status replaces another: one
// for each state that the job enters, one for each failure that appears, and one if the job
// can be read again and is still in the same state.
func eventsOf(previous *v1alpha1.DLIJobStatus, current *v1alpha1.DLIJob) (causes []*metav1.Condition) {
	synced := newCondition(previous, current, v1alpha1.SyncedCondition)
	if synced != nil && (hasFailed(synced) || synced.Reason == v1alpha1.ReasonOutcomeContradicted) {
		causes = append(causes, synced)
	}
	if ready := newCondition(previous, current, v1alpha1.ReadyCondition); ready != nil {
		isUnconfirmed := ready.Reason == v1alpha1.ReasonJobNotFound && !current.IsCompleted()
		if eventTypes[ready.Reason] != "" && !isUnconfirmed && !continues(previous, current) {
			causes = append(causes, ready)
		}
	}
	isRecovered := synced != nil && synced.Status == metav1.ConditionTrue && hasFailed(meta.FindStatusCondition(previous.Conditions, v1alpha1.SyncedCondition))
	if isRecovered && len(causes) == 0 {
		causes = append(causes, synced)
	}
	return causes
}

// hasFailed reports whether the condition Synced says that a job cannot be read. That DLI
// has no such job is not a failure of its own.
func hasFailed(synced *metav1.Condition) bool {
	return synced != nil && synced.Status == metav1.ConditionFalse && synced.Reason != v1alpha1.ReasonJobNotFound
}

// continues reports whether a job is merely in the same state as before it could not
// be read for a while.
func continues(previous *v1alpha1.DLIJobStatus, current *v1alpha1.DLIJob) bool {
	before, after := dli.ParseState(previous.JobStatus), dli.ParseState(current.Status.JobStatus)
	ready := meta.FindStatusCondition(current.Status.Conditions, v1alpha1.ReadyCondition)
	goesOn := ready.Reason == v1alpha1.ReasonJobLaunching || ready.Reason == v1alpha1.ReasonJobRunning
	return goesOn && before == after && previous.JobStatus != ""
}

// newCondition returns a condition whose status or reason is new.
func newCondition(previous *v1alpha1.DLIJobStatus, current *v1alpha1.DLIJob, conditionType string) *metav1.Condition {
	before := meta.FindStatusCondition(previous.Conditions, conditionType)
	after := meta.FindStatusCondition(current.Status.Conditions, conditionType)
	if after == nil || before != nil && before.Status == after.Status && before.Reason == after.Reason {
		return nil
	}
	return after
}

// conditionToLog returns the condition to log for a status that replaced another: Ready if
// it changed, else Synced if that changed; nil if neither did.
func conditionToLog(previous *v1alpha1.DLIJobStatus, current *v1alpha1.DLIJob) *metav1.Condition {
	return cmp.Or(newCondition(previous, current, v1alpha1.ReadyCondition), newCondition(previous, current, v1alpha1.SyncedCondition))
}

// announceJob sends the Events for a status that has been written, and logs a transition:
// an end for everybody, any other for those who look closely. An end is also counted.
func (w *statusWriter) announceJob(ctx context.Context, previous *v1alpha1.DLIJobStatus, current *v1alpha1.DLIJob) {
	for _, cause := range eventsOf(previous, current) {
		eventType := cmp.Or(eventTypes[cause.Reason], corev1.EventTypeWarning)
		w.Recorder.Eventf(current, nil, eventType, cause.Reason, "Poll", "%s", text.Truncate(cause.Message, maxNote))
	}
	level := 1
	if current.IsCompleted() && previous.Outcome != current.Status.Outcome {
		level = 0
		w.Metrics.CountEnd(w.Connections.NameInUse(current), current)
	}
	if changed := conditionToLog(previous, current); changed != nil {
		ctrl.LoggerFrom(ctx).V(level).Info("DLIJob changed", "condition", changed.Type, "status", changed.Status, "reason", changed.Reason,
			"jobID", current.Spec.JobID, "jobStatus", current.Status.JobStatus, "outcome", current.Status.Outcome, "message", changed.Message)
	}
}

// announceForeign says that another operator writes the status of an object.
func (w *statusWriter) announceForeign(ctx context.Context, object client.Object, kind string, last lastWrite) {
	w.Metrics.CountForeignWrite(kind)
	w.Recorder.Eventf(object, nil, corev1.EventTypeWarning, v1alpha1.ReasonOtherOperator, "Write",
		"another operator has written this status: a second installation, an overlapping shard, or the one that led before; this one leaves it alone for %v", last.backOff())
	ctrl.LoggerFrom(ctx).Info("another operator writes the status", "kind", kind, "backOff", last.backOff().String(), "writes", last.foreign)
}
