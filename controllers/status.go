// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
	"github.com/dli-operator/dli-operator/internal/text"
)

const (
	// maxConditionMessage limits the message of a condition, and maxRequestID how much of
	// it an ID of a request may take.
	maxConditionMessage = 1024
	maxRequestID        = 128
	// maxPollRequest limits how much of the annotation counts.
	maxPollRequest = 256
)

// outcomes maps the final states of a job to how it ended.
var outcomes = map[dli.State]v1alpha1.Outcome{
	dli.StateFinished:  v1alpha1.OutcomeSucceeded,
	dli.StateFailed:    v1alpha1.OutcomeFailed,
	dli.StateCancelled: v1alpha1.OutcomeCancelled,
}

// recordSnapshot copies what the poller knows of a job into its status.
func recordSnapshot(job *v1alpha1.DLIJob, latest poller.Snapshot, now time.Time, notFoundAfter time.Duration) {
	if latest.Result != nil {
		recordResult(job, latest.Result, notFoundAfter)
	}
	if job.Spec.Suspend && !job.IsCompleted() {
		recordSuspended(job, now)
	}
	job.Status.Progress = copyOf(latest.Progress)
	if latest.Cost != nil {
		recordCost(&job.Status, latest.Cost)
	}
}

// recordResult copies a result into the status of a job, as of when it arrived: that may
// be long ago if writes failed, and responses that arrived close together must not look
// as if they were spread over that time.
func recordResult(job *v1alpha1.DLIJob, result *poller.Result, notFoundAfter time.Duration) {
	switch {
	case result.Listed != nil && job.IsCompleted():
		return // lists do not decide outcomes
	case result.Listed != nil:
		job.Status.LastPollTime = wholeSeconds(result.ArrivedAt)
		recordFigures(&job.Status, result.Listed)
	case result.Status != nil:
		recordStatus(job, result.Status, result.ArrivedAt)
	default:
		recordFailure(job, result.Failure, result.Failures, result.ArrivedAt, notFoundAfter)
	}
	// If the job has ended, "no such job" is a response, too.
	isHandled := result.Status != nil || job.IsCompleted() && hasSynced(job)
	if isHandled && result.PollRequest != "" {
		job.Status.LastHandledPollRequest = result.PollRequest
	}
}

// clearDerived removes from a status what is derived from results, so that the next one
// decides alone.
func clearDerived(status *v1alpha1.DLIJobStatus) {
	status.JobStatus, status.Outcome, status.CompletionTime, status.Error = "", "", nil, nil
	status.Conditions, status.NotFoundSince, status.UnreadableSince = nil, nil, nil
}

// essentialsOf is a stored status with what must reach it of one that the API server
// refuses as invalid.
func essentialsOf(stored, refused *v1alpha1.DLIJobStatus) v1alpha1.DLIJobStatus {
	essentials := *stored.DeepCopy()
	essentials.Outcome, essentials.Phase = refused.Outcome, refused.Phase
	essentials.Conditions, essentials.ObservedGeneration = refused.Conditions, refused.ObservedGeneration
	essentials.LastHandledPollRequest = refused.LastHandledPollRequest
	return essentials
}

// recordStatus copies a response into the status of a job, and sets Synced.
// Fields that the response omits keep their last known value.
//
// An outcome is kept no matter what the response says; only NotFound is cleared by
// a response that has the job.
func recordStatus(job *v1alpha1.DLIJob, response *dli.JobStatus, now time.Time) {
	status := &job.Status
	outcome := outcomes[response.State]
	status.LastPollTime = wholeSeconds(now)
	status.NotFoundSince = nil

	switch status.Outcome {
	case "", outcome:
	case v1alpha1.OutcomeNotFound:
		status.Outcome, status.CompletionTime = "", nil
	default:
		setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionTrue, v1alpha1.ReasonOutcomeContradicted,
			fmt.Sprintf("DLI now reports %s; the recorded outcome is kept", response.Status), now)
		return
	}
	setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionTrue, v1alpha1.ReasonPollSucceeded, "the last poll succeeded", now)

	status.JobStatus = response.Status
	status.JobType = cmp.Or(response.JobType, status.JobType)
	status.JobMode = cmp.Or(response.JobMode, status.JobMode)
	status.ApplicationID = cmp.Or(response.ApplicationID, status.ApplicationID)
	status.JobName = cmp.Or(response.Name, status.JobName)
	status.Image = cmp.Or(response.Image, status.Image)
	status.QueueName = cmp.Or(response.QueueName, status.QueueName)
	status.Owner = cmp.Or(response.Owner, status.Owner)
	status.DatabaseName = cmp.Or(response.DatabaseName, status.DatabaseName)
	status.TableName = cmp.Or(response.TableName, status.TableName)
	status.ResultPath = cmp.Or(response.ResultPath, status.ResultPath)
	if !response.StartTime.IsZero() {
		status.StartTime = wholeSeconds(response.StartTime)
	}
	recordFigures(status, &response.Figures)
	recordLists(status, response)
	defer dropColumns(status, maxStatusBytes)
	if response.Statement != "" {
		status.Statement, status.StatementTruncated = response.Statement, response.StatementTruncated
	}
	status.Message = response.Message

	if outcome == "" {
		return
	}
	if status.CompletionTime == nil || response.Duration != nil {
		status.CompletionTime = completionTime(response, now)
	}
	status.Outcome = outcome
	status.Error = nil
	if outcome != v1alpha1.OutcomeSucceeded {
		status.Error = &v1alpha1.JobError{
			Code:    dli.ErrorCode(response.Message),
			Message: status.Message,
		}
	}
}

func recordFigures(status *v1alpha1.DLIJobStatus, response *dli.Figures) {
	if response.Duration != nil {
		milliseconds := response.Duration.Milliseconds()
		status.DurationMilliseconds = &milliseconds
		status.Duration = humanDuration(*response.Duration)
	}
	status.InputRowCount = copyOf(cmp.Or(response.InputRowCount, status.InputRowCount))
	status.BadRowCount = copyOf(cmp.Or(response.BadRowCount, status.BadRowCount))
	status.ResultCount = copyOf(cmp.Or(response.ResultCount, status.ResultCount))
	status.InputBytes = copyOf(cmp.Or(response.InputBytes, status.InputBytes))
}

func recordCost(status *v1alpha1.DLIJobStatus, cost *dli.Cost) {
	status.Cost = &v1alpha1.JobCost{CPUCost: copyOf(cost.CPUCost), OutputBytes: copyOf(cost.OutputBytes)}
	if !cost.EndTime.IsZero() {
		status.Cost.EndTime = wholeSeconds(cost.EndTime)
	}
}

// recordLists copies the columns and tags of a response, if it has any.
func recordLists(status *v1alpha1.DLIJobStatus, response *dli.JobStatus) {
	if response.Columns != nil {
		status.ColumnsOmitted = int32(min(response.ColumnsOmitted, math.MaxInt32))
		status.Columns = make([]v1alpha1.Column, len(response.Columns))
	}
	for i, column := range response.Columns {
		status.Columns[i] = v1alpha1.Column(column)
	}
	if response.Tags != nil {
		status.Tags = make([]v1alpha1.Tag, len(response.Tags))
	}
	for i, tag := range response.Tags {
		status.Tags[i] = v1alpha1.Tag(tag)
	}
}

// completionTime is when a job ended, by the service's clock; if DLI does not report
// that, when the operator saw the end.
func completionTime(response *dli.JobStatus, now time.Time) *metav1.Time {
	end := now
	if !response.StartTime.IsZero() && response.Duration != nil {
		end = response.StartTime.Add(*response.Duration)
	}
	if end.Year() > 9999 || end.Year() < 1 { // not a time that the API server can store
		end = now
	}
	return wholeSeconds(end)
}

// recordFailure records that a job could not be read. Everything known is
// kept. A NotFound that the streak of failures confirms becomes the outcome; it does
// not change an existing outcome.
func recordFailure(job *v1alpha1.DLIJob, f *connection.Failure, streak poller.FailureStreak, now time.Time, notFoundAfter time.Duration) {
	recordNotFound(job, streak)
	if f.Reason == v1alpha1.ReasonJobNotFound {
		switch {
		case job.IsCompleted():
			setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionTrue, syncedReason(job), "the last poll succeeded: DLI no longer has the job", now)
			return
		case streak.ConfirmsNotFound(now, notFoundAfter):
			job.Status.Outcome = v1alpha1.OutcomeNotFound
			job.Status.CompletionTime = wholeSeconds(now)
			job.Status.NotFoundSince = nil
			setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionTrue, f.Reason, failureMessage(job, f), now)
			return
		}
	}
	setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionFalse, f.Reason, failureMessage(job, f), now)
}

// recordNotFound records since when DLI has reported that it has no such job, so that a
// restart does not begin anew. How often is not written: each time would be a change to
// those who watch.
func recordNotFound(job *v1alpha1.DLIJob, streak poller.FailureStreak) {
	job.Status.NotFoundSince = nil
	if streak.NotFound > 0 && !job.IsCompleted() {
		job.Status.NotFoundSince = wholeSeconds(streak.NotFoundSince)
	}
}

func syncedReason(job *v1alpha1.DLIJob) string {
	if job.Status.Outcome == v1alpha1.OutcomeNotFound {
		return v1alpha1.ReasonJobNotFound
	}
	return v1alpha1.ReasonPollSucceeded
}

// failureMessage adds the request ID to a failure's message. While the rest stays the
// same except for times and other numbers, the first message is kept: a new ID
// alone is not news.
func failureMessage(job *v1alpha1.DLIJob, f *connection.Failure) string {
	failure := *f
	failure.Message = text.Truncate(text.OneLine(f.Message), maxConditionMessage-maxRequestID)
	synced := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.SyncedCondition)
	if synced != nil && synced.Reason == f.Reason {
		before, _, _ := strings.Cut(synced.Message, connection.RequestMark)
		if text.WithoutNumbers(before) == text.WithoutNumbers(failure.Message) {
			return synced.Message
		}
	}
	return failure.Error()
}

// recordSuspended records that the job is not polled while it is suspended.
func recordSuspended(job *v1alpha1.DLIJob, now time.Time) {
	job.Status.NotFoundSince = nil
	setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionUnknown, v1alpha1.ReasonSuspended, "spec.suspend is true, so the job is not polled", now)
}

// setCondition sets one condition. Its transition time, in whole seconds, only
// changes with its status.
func setCondition(job *v1alpha1.DLIJob, conditionType string, status metav1.ConditionStatus, reason, message string, now time.Time) {
	meta.SetStatusCondition(&job.Status.Conditions, metav1.Condition{
		Type:               conditionType,
		Status:             status,
		Reason:             reason,
		Message:            text.Truncate(text.OneLine(message), maxConditionMessage),
		ObservedGeneration: job.Generation,
		LastTransitionTime: *wholeSeconds(now),
	})
}

// humanDuration formats a duration for humans: 2.523s, 1m33s, 30h30m.
func humanDuration(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// copyOf copies a value, so that nothing that a client decodes into is shared.
func copyOf[T any](value *T) *T {
	if value == nil {
		return nil
	}
	return new(*value)
}

// wholeSeconds is a time with the precision of the API. With a finer one it would differ
// from what is read back, and be written again and again.
func wholeSeconds(t time.Time) *metav1.Time {
	return &metav1.Time{Time: t.Truncate(time.Second)}
}
