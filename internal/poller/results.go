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
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/text"
)

// Latest returns what is known of a job, with the latest result that was not stored yet.
func (p *Poller) Latest(key types.NamespacedName) Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil {
		return Snapshot{}
	}
	return Snapshot{Result: j.result, Times: j.progress, Failures: j.progress.Failures, Progress: j.progress.Progress}
}

// Stored drops a result that was stored, unless there is a newer one.
func (p *Poller) Stored(key types.NamespacedName, result *Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[key]; j != nil && j.result == result {
		j.result = nil
	}
}

// deliver keeps a result until it is stored, and calls Deliver.
func (p *Poller) deliver(j *job, r Result) {
	if p.keep(j, r) {
		p.config.Deliver(j.target.Key)
	}
}

// keep keeps a result until it is stored, and replaces an older one. A failure does
// not replace the end of a job. It reports whether the result was kept.
func (p *Poller) keep(j *job, r Result) bool {
	r.JobTimes = j.progress
	if j.hasUnstoredEnd() {
		if r.Status == nil {
			return false
		}
		r.Ended = j.result.Ended
	}
	if r.Status != nil {
		r.Status = compact(r.Status)
	}
	j.result = &r
	return true
}

// hasUnstoredEnd reports whether the job is known to have ended, but that was not
// stored yet.
func (j *job) hasUnstoredEnd() bool {
	return j.result != nil && j.result.Status != nil && hasEnded(j.result.Status.State)
}

const (
	// MaxText is how many bytes of a job's statement and message are stored. Until
	// then, one more is kept to show that the text was longer.
	MaxText = 4096
	maxKept = MaxText + 1
	// MaxColumns is how many columns are stored; of the others, only the number is.
	MaxColumns = 256
)

// compact returns a status with its texts truncated to what is stored: they can be
// megabytes long, and may have to wait for as long as the API server is unavailable.
func compact(a *dli.JobStatus) *dli.JobStatus {
	short := *a
	if len(a.Statement) > maxKept {
		short.Statement = strings.Clone(a.Statement[:maxKept])
	}
	if len(a.Message) > maxKept {
		short.Message = strings.Clone(text.Truncate(text.Printable(a.Message), maxKept))
		if code := dli.ErrorCode(a.Message); code != dli.ErrorCode(short.Message) {
			short.Message += " " + code
		}
	}
	if len(a.Columns) > MaxColumns {
		short.Columns = make([]dli.Column, len(a.Columns))
		copy(short.Columns, a.Columns[:MaxColumns])
	}
	return &short
}

// answered handles a status that arrived at now.
func (p *Poller) answered(j *job, a *dli.JobStatus, now time.Time) {
	failed := j.progress.Failures
	wasActive := j.active
	ended := hasEnded(a.State)
	p.compare(j, a.State, now)
	j.progress.Failures = FailureStreak{}
	j.state, j.active = a.State, !ended
	if !j.isRunning() {
		j.progress.Progress = nil
	}
	if running, known := runningAt(a, now); known {
		j.progress.Started = now.Add(-running)
	}
	if j.told.answered(a, now, p.config.Schedule.StatusRefreshInterval) || j.requested != "" {
		p.deliver(j, Result{Status: a, ArrivedAt: now, PollRequest: j.requested, Ended: ended && wasActive})
	}
	if failed.Count > 0 {
		p.callOthers(j.queue, failed.Reason, now)
	}
	switch {
	case j.wantsPoll():
		p.schedule(j, now)
	case !ended && !j.target.Completed:
		p.schedule(j, onTick(now, p.interval(j, now)))
	}
}

// failed handles a failed poll at now.
func (p *Poller) failed(j *job, f *connection.Failure, now time.Time) {
	wasWell := j.wasWell()
	j.listing.missed = false
	run := j.progress.Failures.after(f, now)
	j.progress.Failures = run
	if j.told.failed(f, run, wasWell) {
		p.deliver(j, Result{Failure: f, ArrivedAt: now, PollRequest: j.requested})
	}
	if j.target.Completed && f.Reason == v1alpha1.ReasonJobNotFound {
		return // DLI no longer has the ended job
	}
	if j.wantsPoll() {
		p.schedule(j, now)
		return
	}
	wait := p.config.Schedule.retry(f, run, now, p.config.Jitter())
	p.schedule(j, onTick(now, wait))
	j.queue.backOff(j)
	if wait > healMax && f.RetryAfter <= healMax {
		p.sendScout(j.queue.backingOff[run.Reason], now)
	}
}

// sendScout polls one of several jobs that fail for the same reason early. They all
// failed at about the same time, so if each backed off alone, it would take minutes
// to notice that the failure is over.
func (p *Poller) sendScout(same *alike, now time.Time) {
	if len(same.jobs) < 2 || same.scoutAt.After(now) {
		return
	}
	same.scoutAt = onTick(now, healMax)
	for j := range same.jobs {
		if j.due.After(same.scoutAt) {
			p.schedule(j, same.scoutAt)
			j.queue.backOff(j)
		}
		return
	}
}

const (
	// callAgain is the minimum time between two early polls of a job.
	callAgain = 30 * time.Second
	// callNext is the minimum time between two rounds of early polls of jobs that fail
	// for the same reason: all of them may succeed again within a moment.
	callNext = time.Second
)

// callOthers immediately polls the jobs that back off for a reason that has just
// ended for another job: so an outage reported by the service's own errors ends for
// all of them when it ends for one.
func (p *Poller) callOthers(l *queue, reason string, now time.Time) {
	same := l.backingOff[reason]
	if same == nil || !same.called.IsZero() && now.Sub(same.called) < callNext {
		return
	}
	same.called = now
	mayCall := func(j *job) bool { return j.lastCalled.IsZero() || now.Sub(j.lastCalled) >= callAgain }
	for j := range same.jobs {
		if mayCall(j) {
			j.lastCalled, j.called = now, true
			p.schedule(j, now)
		}
	}
	// Jobs that wait in queue no longer wait as failing ones.
	for _, j := range slices.Clone(l.failing) {
		if j.progress.Failures.Reason == reason && mayCall(j) {
			j.lastCalled, j.called = now, true
			j.enter(l.heapOf(j))
		}
	}
}

// interval returns the time until the next poll of a job that was read at now.
func (p *Poller) interval(j *job, now time.Time) time.Duration {
	return p.config.Schedule.interval(j.target.Interval, j.state, j.running(now), p.config.Jitter())
}

// running is how long a job has been running at now; if that is unknown or it does
// not run yet, the time since it was first seen.
func (j *job) running(now time.Time) time.Duration {
	since := j.progress.Started
	if since.IsZero() || j.state == dli.StateLaunching {
		since = j.progress.FirstSeen
	}
	return now.Sub(since)
}

// runningAt is how long a job had been running when DLI answered, at now: by DLI's
// clock alone if possible. known is false if the response does not say.
func runningAt(a *dli.JobStatus, now time.Time) (running time.Duration, known bool) {
	if a.Duration != nil {
		running, known = *a.Duration, true
	}
	switch {
	case a.StartTime.IsZero():
	case !a.Date.IsZero():
		running, known = max(running, a.Date.Sub(a.StartTime)), true
	case !known:
		running, known = max(0, now.Sub(a.StartTime)), true
	}
	return running, known
}

func hasEnded(s dli.State) bool {
	return s == dli.StateFinished || s == dli.StateFailed || s == dli.StateCancelled
}

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
func (t *told) failed(f *connection.Failure, run FailureStreak, wasWell bool) bool {
	passing := !f.NeedsAction() && f.Reason != v1alpha1.ReasonJobNotFound
	if passing && wasWell && run.Count == 1 {
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
