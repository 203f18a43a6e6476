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
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Bounds of what is kept of an answer, as the API documents them. Bytes for
// long texts, since their size is what etcd and every watcher pay for.
const (
	maxText             = 4096
	maxWord             = 64
	maxName             = 256
	maxPath             = 1024
	maxColumns          = 256
	maxConditionMessage = 1024
)

// terminalOutcomes maps the final states of a job to how it ended.
var terminalOutcomes = map[dli.State]v1alpha1.Outcome{
	dli.StateFinished:  v1alpha1.OutcomeSucceeded,
	dli.StateFailed:    v1alpha1.OutcomeFailed,
	dli.StateCancelled: v1alpha1.OutcomeCancelled,
}

// record copies an answer into the status of a job, at now, and sets Synced.
// What the answer leaves out stays as it was known.
//
// An outcome is kept whatever the answer says; only NotFound is lifted by an
// answer that has the job.
func record(job *v1alpha1.DLIJob, answer *dli.JobStatus, now time.Time) {
	status := &job.Status
	outcome := terminalOutcomes[answer.State]
	status.LastPollTime = seconds(now)

	switch status.Outcome {
	case "", outcome:
	case v1alpha1.OutcomeNotFound:
		status.Outcome, status.CompletionTime = "", nil
	default:
		setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionTrue, v1alpha1.ReasonOutcomeContradicted,
			fmt.Sprintf("DLI now reports %s; the outcome that was recorded stands", clip(printable(answer.Status), maxWord)), now)
		return
	}
	setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionTrue, v1alpha1.ReasonPollSucceeded, "DLI answered the last poll", now)

	status.JobStatus = clip(answer.Status, maxWord)
	keep(&status.JobType, answer.JobType, maxWord)
	keep(&status.JobMode, answer.JobMode, maxWord)
	keep(&status.QueueName, answer.QueueName, maxName)
	keep(&status.Owner, answer.Owner, maxName)
	keep(&status.DatabaseName, answer.DatabaseName, maxName)
	keep(&status.TableName, answer.TableName, maxName)
	keep(&status.ResultPath, answer.ResultPath, maxPath)
	recordFigures(status, answer, now)
	recordColumns(status, answer.Columns)
	if answer.Statement != "" {
		status.Statement = clip(answer.Statement, maxText)
		status.StatementTruncated = len(status.Statement) < len(answer.Statement)
	}
	status.Message = clip(printable(answer.Message), maxText)

	if outcome == "" {
		return
	}
	if status.CompletionTime == nil || answer.Duration != nil {
		status.CompletionTime = completion(answer, now)
	}
	status.Outcome = outcome
	status.Error = nil
	if outcome != v1alpha1.OutcomeSucceeded {
		status.Error = &v1alpha1.JobError{
			Code:    clip(dli.ErrorCode(answer.Message), maxWord),
			Message: status.Message,
		}
	}
}

func recordFigures(status *v1alpha1.DLIJobStatus, answer *dli.JobStatus, now time.Time) {
	if start := answer.StartTime; !start.IsZero() {
		status.StartTime = seconds(earlier(start, now))
	}
	if answer.Duration != nil {
		milliseconds := answer.Duration.Milliseconds()
		status.DurationMilliseconds = &milliseconds
		status.Duration = humanDuration(*answer.Duration)
	}
	keepCount(&status.InputRowCount, answer.InputRowCount)
	keepCount(&status.BadRowCount, answer.BadRowCount)
	keepCount(&status.ResultCount, answer.ResultCount)
	keepCount(&status.InputBytes, answer.InputBytes)
}

func recordColumns(status *v1alpha1.DLIJobStatus, columns []dli.Column) {
	if columns == nil {
		return
	}
	listed := columns[:min(len(columns), maxColumns)]
	status.ColumnsOmitted = int32(min(len(columns)-len(listed), math.MaxInt32))
	status.Columns = make([]v1alpha1.Column, len(listed))
	for i, column := range listed {
		status.Columns[i] = v1alpha1.Column{
			Name:     clip(column.Name, maxName),
			Type:     clip(column.Type, maxPath),
			Nullable: column.Nullable,
		}
	}
}

// completion is when a job that has ended did so. A clock of DLI's that runs
// ahead must not put the end into the future.
func completion(answer *dli.JobStatus, now time.Time) *metav1.Time {
	if answer.StartTime.IsZero() || answer.Duration == nil {
		return seconds(now)
	}
	return seconds(earlier(answer.StartTime.Add(*answer.Duration), now))
}

// recordFailure notes at now that a job could not be read. Everything known is
// kept. A NotFound that the streak confirms is an outcome; of a job with an
// outcome it changes nothing.
func recordFailure(job *v1alpha1.DLIJob, f *failure, run streak, now time.Time, notFoundAfter time.Duration) {
	if f.Reason == v1alpha1.ReasonJobNotFound {
		switch {
		case job.IsCompleted():
			setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionTrue, syncedReason(job), "DLI answered the last poll: it no longer has the job", now)
			return
		case run.confirmedNotFound(now, notFoundAfter):
			job.Status.Outcome = v1alpha1.OutcomeNotFound
			job.Status.CompletionTime = seconds(now)
			setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionTrue, f.Reason, messageOf(job, f), now)
			return
		}
	}
	setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionFalse, f.Reason, messageOf(job, f), now)
}

func syncedReason(job *v1alpha1.DLIJob) string {
	if job.Status.Outcome == v1alpha1.OutcomeNotFound {
		return v1alpha1.ReasonJobNotFound
	}
	return v1alpha1.ReasonPollSucceeded
}

// messageOf adds the request id to a failure's message. While the rest stays
// the same the id of its first occurrence stays too: a new id alone is no news.
func messageOf(job *v1alpha1.DLIJob, f *failure) string {
	if f.RequestID == "" {
		return f.Message
	}
	prefix := clip(f.Message, maxConditionMessage-maxWord) + " (request "
	synced := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.SyncedCondition)
	if synced != nil && synced.Reason == f.Reason && strings.HasPrefix(synced.Message, prefix) {
		return synced.Message
	}
	return prefix + f.RequestID + ")"
}

// suspended notes that nothing is read while the job is suspended.
func suspended(job *v1alpha1.DLIJob, now time.Time) {
	setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionUnknown, v1alpha1.ReasonSuspended, "spec.suspend is true, so DLI is not asked", now)
}

// verdict is what a job comes to: the conditions Ready and Succeeded and, at
// most one of them, Reconciling or Stalled.
type verdict struct {
	ready     metav1.ConditionStatus
	succeeded metav1.ConditionStatus
	reason    string
	message   string
	// reconciling or stalled says which of the two is present.
	reconciling, stalled bool
}

// summarize derives every condition but Synced from what is known at now, and
// notes the generation that they describe.
func summarize(job *v1alpha1.DLIJob, run streak, now time.Time, stallAfter time.Duration) {
	synced := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.SyncedCondition)
	if synced == nil || (synced.Reason == v1alpha1.ReasonSuspended && !job.Spec.Suspend) {
		setCondition(job, v1alpha1.SyncedCondition, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waiting for the first poll", now)
	}
	v := judge(job, run, now, stallAfter)

	completed, end := metav1.ConditionFalse, "the job has not ended, as far as is known"
	if job.IsCompleted() {
		completed, end = metav1.ConditionTrue, "the end of the job has been recorded"
	}
	setCondition(job, v1alpha1.ReadyCondition, v.ready, v.reason, v.message, now)
	setCondition(job, v1alpha1.SucceededCondition, v.succeeded, v.reason, v.message, now)
	setCondition(job, v1alpha1.CompletedCondition, completed, v.reason, end, now)
	present(job, v1alpha1.ReconcilingCondition, v.reconciling, v, now)
	present(job, v1alpha1.StalledCondition, v.stalled, v, now)
	slices.SortFunc(job.Status.Conditions, func(a, b metav1.Condition) int {
		return slices.Index(conditionOrder, a.Type) - slices.Index(conditionOrder, b.Type)
	})
	for i := range job.Status.Conditions {
		job.Status.Conditions[i].ObservedGeneration = job.Generation
	}
	job.Status.ObservedGeneration = job.Generation
}

// conditionOrder is the order in which people read the conditions.
var conditionOrder = []string{
	v1alpha1.ReadyCondition, v1alpha1.SucceededCondition, v1alpha1.CompletedCondition,
	v1alpha1.SyncedCondition, v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition,
}

// judge is the table of the API's documentation, one case a row.
func judge(job *v1alpha1.DLIJob, run streak, now time.Time, stallAfter time.Duration) verdict {
	synced := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.SyncedCondition)
	switch {
	case job.Status.Outcome == v1alpha1.OutcomeSucceeded:
		return verdict{ready: metav1.ConditionTrue, succeeded: metav1.ConditionTrue, reason: v1alpha1.ReasonJobFinished, message: finishedMessage(job)}
	case job.Status.Outcome == v1alpha1.OutcomeFailed:
		return ended(v1alpha1.ReasonJobFailed, "the job failed", job)
	case job.Status.Outcome == v1alpha1.OutcomeCancelled:
		return ended(v1alpha1.ReasonJobCancelled, "the job was cancelled", job)
	case job.Status.Outcome == v1alpha1.OutcomeNotFound:
		return verdict{ready: metav1.ConditionFalse, succeeded: metav1.ConditionFalse, reason: v1alpha1.ReasonJobNotFound, message: synced.Message, stalled: true}
	case job.Spec.Suspend:
		return verdict{ready: metav1.ConditionUnknown, succeeded: metav1.ConditionUnknown, reason: v1alpha1.ReasonSuspended, message: "set spec.suspend to false to resume polling"}
	case !now.Before(deadline(job)):
		return verdict{ready: metav1.ConditionFalse, succeeded: metav1.ConditionUnknown, reason: v1alpha1.ReasonDeadlineExceeded, message: deadlineMessage(job), stalled: true}
	case synced.Status == metav1.ConditionFalse && needsAction(synced.Reason) && graceOver(job, run, now, stallAfter):
		return verdict{ready: metav1.ConditionFalse, succeeded: metav1.ConditionUnknown, reason: synced.Reason, message: synced.Message, stalled: true}
	case synced.Status == metav1.ConditionFalse:
		return waiting(synced.Reason, synced.Message)
	case synced.Status == metav1.ConditionUnknown:
		return waiting(v1alpha1.ReasonPending, "waiting for the first poll of job "+job.Spec.JobID)
	}
	switch dli.ParseState(job.Status.JobStatus) {
	case dli.StateLaunching:
		return waiting(v1alpha1.ReasonJobLaunching, "the job is being launched"+onQueue(job))
	case dli.StateRunning:
		return waiting(v1alpha1.ReasonJobRunning, "the job is running"+onQueue(job))
	case dli.StateScaling:
		return waiting(v1alpha1.ReasonJobScaling, "the job is being scaled"+onQueue(job))
	default:
		return waiting(v1alpha1.ReasonJobStatusUnrecognized, fmt.Sprintf("DLI reports %q, which this version does not know; the job is taken to be active", job.Status.JobStatus))
	}
}

func waiting(reason, message string) verdict {
	return verdict{ready: metav1.ConditionUnknown, succeeded: metav1.ConditionUnknown, reason: reason, message: message, reconciling: true}
}

// ended is the verdict on a job that DLI says has ended without success.
func ended(reason, what string, job *v1alpha1.DLIJob) verdict {
	message := what + " and DLI gives no reason"
	if job.Status.Error != nil && job.Status.Error.Message != "" {
		message = what + ": " + job.Status.Error.Message
	}
	return verdict{ready: metav1.ConditionFalse, succeeded: metav1.ConditionFalse, reason: reason, message: message, stalled: true}
}

// graceOver tells whether a failure that needs somebody to act has lasted for
// long enough to say so. Once said it stays said while the failure lasts, also
// over a restart of the operator, which forgets the streak.
func graceOver(job *v1alpha1.DLIJob, run streak, now time.Time, stallAfter time.Duration) bool {
	ready := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ReadyCondition)
	if ready != nil && needsAction(ready.Reason) && meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.StalledCondition) {
		return true
	}
	return !run.BlockedSince.IsZero() && now.Sub(run.BlockedSince) >= stallAfter
}

// deadline is when the job must have ended; far in the future without one.
func deadline(job *v1alpha1.DLIJob) time.Time {
	if job.Spec.ActiveDeadlineSeconds == nil {
		return farFuture
	}
	from := job.CreationTimestamp.Time
	if job.Status.StartTime != nil {
		from = job.Status.StartTime.Time
	}
	// A time.Duration ends at 292 years; a deadline beyond that is none.
	if *job.Spec.ActiveDeadlineSeconds > int64(math.MaxInt64/time.Second) {
		return farFuture
	}
	return from.Add(time.Duration(*job.Spec.ActiveDeadlineSeconds) * time.Second)
}

var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func finishedMessage(job *v1alpha1.DLIJob) string {
	var b strings.Builder
	b.WriteString("the job finished")
	if job.Status.Duration != "" {
		b.WriteString(" in " + job.Status.Duration)
	}
	if rows := job.Status.ResultCount; rows != nil {
		fmt.Fprintf(&b, " with %d %s", *rows, plural(*rows, "row"))
	}
	if bad := job.Status.BadRowCount; bad != nil && *bad > 0 {
		fmt.Fprintf(&b, " and %d bad %s", *bad, plural(*bad, "row"))
	}
	return b.String()
}

func deadlineMessage(job *v1alpha1.DLIJob) string {
	return fmt.Sprintf("the job did not end within activeDeadlineSeconds (%d); it is still polled, cancel it in DLI or raise the deadline", *job.Spec.ActiveDeadlineSeconds)
}

func onQueue(job *v1alpha1.DLIJob) string {
	if job.Status.QueueName == "" {
		return ""
	}
	return " on queue " + job.Status.QueueName
}

func plural(n int64, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// setCondition sets one condition. Its transition time moves, in whole seconds,
// only with its status.
func setCondition(job *v1alpha1.DLIJob, kind string, status metav1.ConditionStatus, reason, message string, now time.Time) {
	meta.SetStatusCondition(&job.Status.Conditions, metav1.Condition{
		Type:               kind,
		Status:             status,
		Reason:             reason,
		Message:            clip(oneLine(message), maxConditionMessage),
		ObservedGeneration: job.Generation,
		LastTransitionTime: *seconds(now),
	})
}

// present keeps a condition that exists only while it is True.
func present(job *v1alpha1.DLIJob, kind string, is bool, v verdict, now time.Time) {
	if !is {
		meta.RemoveStatusCondition(&job.Status.Conditions, kind)
		return
	}
	setCondition(job, kind, metav1.ConditionTrue, v.reason, v.message, now)
}

// worthWriting tells whether a reader cares about what changed since the
// stored status. While a job runs, figures that merely move are written at most
// once in every refresh, and a duration not before it grew by a quarter: a write
// per poll would cost the API server far more than the poll costs. That DLI was
// asked again is no news by itself.
func worthWriting(stored, current *v1alpha1.DLIJob, now time.Time, refresh time.Duration) bool {
	was, is := &stored.Status, &current.Status
	if !sameFacts(was, is) {
		return true
	}
	if is.Outcome != "" {
		return !sameFigures(was, is) || was.Duration != is.Duration
	}
	moved := !sameFigures(was, is) || !nearly(was.DurationMilliseconds, is.DurationMilliseconds)
	return moved && (was.LastPollTime == nil || now.Sub(was.LastPollTime.Time) >= refresh)
}

// sameFacts compares all that does not merely move. It is written out because
// reflection costs ten times as much, at every poll; a test knows if a field is
// forgotten.
func sameFacts(a, b *v1alpha1.DLIJobStatus) bool {
	return a.ObservedGeneration == b.ObservedGeneration &&
		a.JobStatus == b.JobStatus &&
		a.Outcome == b.Outcome &&
		a.JobType == b.JobType &&
		a.JobMode == b.JobMode &&
		a.QueueName == b.QueueName &&
		a.Owner == b.Owner &&
		a.DatabaseName == b.DatabaseName &&
		a.TableName == b.TableName &&
		a.ResultPath == b.ResultPath &&
		a.StartTime.Equal(b.StartTime) &&
		a.CompletionTime.Equal(b.CompletionTime) &&
		slices.Equal(a.Columns, b.Columns) &&
		a.ColumnsOmitted == b.ColumnsOmitted &&
		a.Statement == b.Statement &&
		a.StatementTruncated == b.StatementTruncated &&
		ptr.Equal(a.Error, b.Error) &&
		a.LastHandledPollRequest == b.LastHandledPollRequest &&
		slices.EqualFunc(a.Conditions, b.Conditions, sameCondition)
}

func sameCondition(a, b metav1.Condition) bool {
	return a.Type == b.Type && a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message &&
		a.ObservedGeneration == b.ObservedGeneration && a.LastTransitionTime.Equal(&b.LastTransitionTime)
}

// sameFigures compares what moves while a job runs, but for its duration, which
// always does.
func sameFigures(a, b *v1alpha1.DLIJobStatus) bool {
	return ptr.Equal(a.InputRowCount, b.InputRowCount) &&
		ptr.Equal(a.BadRowCount, b.BadRowCount) &&
		ptr.Equal(a.ResultCount, b.ResultCount) &&
		ptr.Equal(a.InputBytes, b.InputBytes) &&
		a.Message == b.Message
}

// nearly tells whether a duration is within a quarter of what it was.
func nearly(was, is *int64) bool {
	if was == nil || is == nil {
		return was == is
	}
	difference := *is - *was
	return max(difference, -difference) <= *was/4
}

// humanDuration writes a duration as people do: 2.523s, 1m33s, 30h30m.
func humanDuration(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// keep replaces what was known by what an answer says, if it says anything.
func keep(known *string, said string, limit int) {
	if said != "" {
		*known = clip(printable(said), limit)
	}
}

func keepCount(known **int64, said *int64) {
	if said != nil {
		*known = said
	}
}

// seconds is a time as the API stores it. Finer than that it would differ from
// what is read back, and be written again for ever.
func seconds(t time.Time) *metav1.Time {
	return &metav1.Time{Time: t.Truncate(time.Second)}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// clip cuts a text at the last rune that fits into limit bytes.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// printable removes control characters but for line ends and tabs, and what is
// not UTF-8.
func printable(text string) string {
	clean := func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) && r != '\n' && r != '\t' }
	if !strings.ContainsFunc(text, clean) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if clean(r) {
			return -1
		}
		return r
	}, text)
}

// oneLine is a text as tables and conditions show it.
func oneLine(text string) string {
	if !strings.ContainsAny(text, "\n\t") {
		return text
	}
	return strings.Join(strings.Fields(text), " ")
}
