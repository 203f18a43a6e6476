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

package poller

import (
	"hash/maphash"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// told is what was last delivered for a job: enough to decide whether the next
// result is news, and smaller than the result.
type told struct {
	// any is set if anything was delivered.
	any bool
	// reason and message are those of a failure; "" after a status.
	reason, message string
	// facts and figures are the digests of a status, duration is its duration, -1 for
	// none, and at is when it was delivered.
	facts, figures uint64
	// row is the digest of the figures of the latest row of a list; 0 for none. Rows
	// and status responses may have different figures.
	row      uint64
	duration time.Duration
	at       time.Time
}

// answered reports whether a status that arrived at now is news, and remembers it if
// it is. While a job runs, changes of figures are news at most once per refresh
// interval, and a duration only after it grew by a quarter.
func (t *told) answered(a *dli.JobStatus, now time.Time, refresh time.Duration) bool {
	next := told{any: true, facts: factsOf(a), figures: figuresOf(a), row: t.row, duration: -1, at: now}
	if a.Duration != nil {
		next.duration = *a.Duration
	}
	moved := next.figures != t.figures || !nearly(t.duration, next.duration)
	if t.any && t.reason == "" && t.facts == next.facts && (!moved || now.Sub(t.at) < refresh) {
		return false
	}
	*t = next
	return true
}

// listed reports whether a row of a list is news, as answered does, and remembers it
// if it is.
func (t *told) listed(row *dli.JobRow, now time.Time, refresh time.Duration) bool {
	figures, duration := digest(row.InputRowCount, row.BadRowCount, row.ResultCount, row.InputBytes), t.duration
	if row.Duration != nil {
		duration = *row.Duration
	}
	if t.row == 0 {
		// Differences between rows and status responses are not news.
		t.row = figures
	}
	moved := figures != t.row || !nearly(t.duration, duration)
	if !moved || now.Sub(t.at) < refresh {
		return false
	}
	t.row, t.duration, t.at = figures, duration, now
	return true
}

// failed reports whether a failure is news, and remembers it if it is. A single
// temporary failure after a successful poll is not.
func (t *told) failed(f *connection.Failure, run Run, wasWell bool) bool {
	passing := !f.NeedsAction() && f.Reason != v1alpha1.ReasonJobNotFound
	if passing && wasWell && run.Failures == 1 {
		return false
	}
	return t.held(f) || f.Reason == v1alpha1.ReasonJobNotFound
}

// held is failed for a job that was not polled.
func (t *told) held(f *connection.Failure) bool {
	if t.any && t.reason == f.Reason && t.message == f.Message {
		return false
	}
	*t = told{any: true, reason: f.Reason, message: f.Message}
	return true
}

// nearly is Nearly for durations, where -1 means none.
func nearly(was, is time.Duration) bool {
	if was < 0 || is < 0 {
		return was == is
	}
	return Nearly(was, is)
}

// Nearly reports whether a duration, in any unit, is within a quarter of its previous
// value: such a change alone is not news.
func Nearly[T ~int64](was, is T) bool {
	difference := is - was
	return max(difference, -difference) <= was/4
}

var seed = maphash.MakeSeed()

// factsOf is the digest of everything except the figures.
func factsOf(a *dli.JobStatus) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, text := range []string{
		a.Status, a.JobType, a.JobMode, a.QueueName, a.Owner, a.DatabaseName, a.TableName, a.ResultPath, a.Statement,
	} {
		_, _ = h.WriteString(text)
		_ = h.WriteByte(0)
	}
	maphash.WriteComparable(&h, a.StartTime.UnixMilli())
	for _, column := range a.Columns {
		maphash.WriteComparable(&h, column)
	}
	return h.Sum64()
}

// figuresOf is the digest of the figures that change while a job runs, except for its
// duration, which always changes.
func figuresOf(a *dli.JobStatus) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(a.Message)
	maphash.WriteComparable(&h, digest(a.InputRowCount, a.BadRowCount, a.ResultCount, a.InputBytes))
	return h.Sum64()
}

func digest(counts ...*int64) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, n := range counts {
		if n != nil {
			maphash.WriteComparable(&h, *n)
		}
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}
