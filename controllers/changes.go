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
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// worthWriting reports whether the changes since the stored status are relevant to
// readers. While a job runs, figures are written at most once per refresh interval,
// and the duration only after it grew by a quarter: a write per poll would cost the
// API server far more than the poll itself. Another poll alone is not news.
func worthWriting(stored, current *v1alpha1.DLIJob, now time.Time, refresh time.Duration) bool {
	was, is := &stored.Status, &current.Status
	if !sameFacts(was, is) {
		return true
	}
	if is.Outcome != "" {
		return !sameFigures(was, is) || was.Duration != is.Duration
	}
	moved := !sameFigures(was, is) || !nearly(was.DurationMilliseconds, is.DurationMilliseconds)
	if !moved || was.LastPollTime == nil {
		return moved
	}
	// Figures that could not be stored at once are as old as their poll.
	asOf := now
	if !is.LastPollTime.Equal(was.LastPollTime) {
		asOf = is.LastPollTime.Time
	}
	// A clock that was set back must not prevent writes of figures.
	return asOf.Sub(was.LastPollTime.Time).Abs() >= refresh
}

// sameFacts compares everything except the figures. It lists the fields because
// reflection costs ten times as much; a test fails if a field is missing.
func sameFacts(a, b *v1alpha1.DLIJobStatus) bool {
	return a.ObservedGeneration == b.ObservedGeneration &&
		a.JobStatus == b.JobStatus &&
		a.Outcome == b.Outcome &&
		a.Phase == b.Phase &&
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
		(a.Progress == nil) == (b.Progress == nil) &&
		a.LastHandledPollRequest == b.LastHandledPollRequest &&
		a.UnreadableSince.Equal(b.UnreadableSince) &&
		sameNotFound(a.NotFound, b.NotFound) &&
		slices.EqualFunc(a.Conditions, b.Conditions, sameCondition)
}

func sameNotFound(a, b *v1alpha1.NotFoundAnswers) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Count == b.Count && a.Since.Equal(&b.Since)
}

func sameCondition(a, b metav1.Condition) bool {
	return a.Type == b.Type && a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message &&
		a.ObservedGeneration == b.ObservedGeneration && a.LastTransitionTime.Equal(&b.LastTransitionTime)
}

// sameFigures compares the figures that change while a job runs, except for its
// duration, which always changes.
func sameFigures(a, b *v1alpha1.DLIJobStatus) bool {
	return ptr.Equal(a.InputRowCount, b.InputRowCount) &&
		ptr.Equal(a.BadRowCount, b.BadRowCount) &&
		ptr.Equal(a.ResultCount, b.ResultCount) &&
		ptr.Equal(a.InputBytes, b.InputBytes) &&
		ptr.Equal(a.Progress, b.Progress) &&
		a.Message == b.Message
}

// nearly is poller.Nearly for durations that may be nil.
func nearly(was, is *int64) bool {
	if was == nil || is == nil {
		return was == is
	}
	return poller.Nearly(*was, *is)
}
