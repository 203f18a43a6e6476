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
	"container/heap"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"

	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Target is a job to be polled.
type Target struct {
	// Key and UID identify the DLIJob, and JobID the job in DLI.
	Key   types.NamespacedName
	UID   types.UID
	JobID string
	// Connection is the key of the connection to use. If it is empty, Failure says why there is none.
	Connection types.NamespacedName
	Failure    *connection.Failure
	// Interval is a fixed time between two polls; 0 for the adaptive one.
	Interval time.Duration
	// ReportProgress is set if the percentage is wanted.
	ReportProgress bool
	// PollRequest identifies a request for one immediate poll; "" if there is none. Completed
	// is set if nothing else makes the job due, because it has ended.
	PollRequest string
	Completed   bool
	// Known is what is known about a job that the poller has not seen before.
	Known Known
}

// Known is what the status of a DLIJob says about earlier polls.
type Known struct {
	// State is the last known state of the job, and LastPoll when it was polled; zero
	// before the first poll.
	State    dli.State
	LastPoll time.Time
	// Age is how long the DLIJob has existed, and Running how long the job has been
	// running; 0 if unknown.
	Age, Running time.Duration
	// Failures is the current streak of failed polls.
	Failures FailureStreak
	// Progress is how much of the job is done; nil if unknown.
	Progress *int32
}

// JobTimes is what the poller knows about a job between two results.
type JobTimes struct {
	// Failures is the current streak of failed polls.
	Failures FailureStreak
	// Started is when the job started to run, and FirstSeen when the DLIJob was created, by
	// the monotonic clock of this process. Started is zero if unknown.
	Started, FirstSeen time.Time
	// Progress is how much of the job is done; nil unless it runs and that is known and
	// wanted.
	Progress *int32
}

// Snapshot is what a job's status is derived from; it is zero for a job that is not
// watched.
type Snapshot struct {
	// Result is the latest result that was not stored yet; nil if there is none.
	Result *Result
	Times  JobTimes
	// Failures is the current streak of failed polls, and Progress how much of the job is
	// done; nil if unknown.
	Failures FailureStreak
	Progress *int32
}

// Result is a result for a job that is to be stored.
type Result struct {
	// Status is DLI's response; if it is nil, Failure says why. Listed is set if it
	// comes from a list, which only has names and figures.
	Status  *dli.JobStatus
	Listed  bool
	Failure *connection.Failure
	// ArrivedAt is when it arrived.
	ArrivedAt time.Time
	// PollRequest is the Target.PollRequest that caused the poll; "" if none did, or if the
	// job was not polled.
	PollRequest string
	JobTimes
	// Ended is set if the job was seen active before, and has now ended.
	Ended bool
}

// watched is the part of a target that is kept: Known only counts at first.
type watched struct {
	Key         types.NamespacedName
	UID         types.UID
	JobID       string
	Connection  types.NamespacedName
	Failure     *connection.Failure
	Interval    time.Duration
	Percent     bool
	PollRequest string
	Completed   bool
}

func (t Target) watched() watched {
	return watched{t.Key, t.UID, t.JobID, t.Connection, t.Failure, t.Interval, t.ReportProgress, t.PollRequest, t.Completed}
}

// job is a target and its state. The poller's lock guards it.
type job struct {
	target   watched
	progress JobTimes
	queue    *queue // of its connection; nil while it has none

	// due is when it is to be polled next.
	due time.Time
	// heap is where it waits, at index: in later until it is due, then in its queue;
	// nil while it is being polled, or is not to be polled.
	heap  *jobHeap
	index int
	// percentDue is when to read its progress again.
	percentDue time.Time
	request
	calls
	listing listing
	// state is the last known state of the job, and active is set if it was seen in
	// an active one.
	state  dli.State
	active bool
	// told is what was last delivered.
	told told
	// result is the latest one that was not stored yet; nil for none.
	result *Result
}

// request is the latest poll of a job.
type request struct {
	// asking is set while it is in flight, and requested is the last Request that was
	// polled for.
	asking    bool
	requested string
	// lastAsked is when it was sent, also before a restart.
	lastAsked time.Time
}

// calls describe when a job is polled early because another one that had failed in
// the same way could be read again.
type calls struct {
	// lastCalled is when that last happened, and called is set until the job is
	// polled.
	lastCalled time.Time
	called     bool
}

// listing is what lists show of a job.
type listing struct {
	// askBy is when it must be polled, no matter what lists show.
	askBy time.Time
	// shown is set if a list has shown the job in its known state, and missed if it
	// is polled because the latest list did not.
	shown, missed bool
	// misses counts the consecutive lists that did not although it was active. After
	// some, and until hiddenUntil, that has no consequences.
	misses      int
	hiddenUntil time.Time
}

// wasWell reports whether the last poll of the job succeeded and showed it active.
func (j *job) wasWell() bool { return j.active && j.progress.Failures.Reason == "" }

// isFresh reports whether the job was never polled, also not before a restart.
func (j *job) isFresh() bool { return !j.isFailing() && j.lastAsked.IsZero() }

// isFailing reports whether the last poll of the job failed.
func (j *job) isFailing() bool { return j.progress.Failures.Count > 0 }

// failedFor is the reason why the last poll of the job failed; "" if it did not.
func (j *job) failedFor() string {
	if !j.isFailing() {
		return ""
	}
	return j.progress.Failures.Reason
}

// jobHeap is a heap of jobs, with the one that is due first at the top.
type jobHeap []*job

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, k int) bool { return h[i].due.Before(h[k].due) }
func (h jobHeap) Swap(i, k int) {
	h[i], h[k] = h[k], h[i]
	h[i].index, h[k].index = i, k
}

// Push implements heap.Interface.
func (h *jobHeap) Push(x any) {
	j := x.(*job)
	j.heap, j.index = h, len(*h)
	*h = append(*h, j)
}

// Pop implements heap.Interface.
func (h *jobHeap) Pop() any {
	last := len(*h) - 1
	j := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	j.heap = nil
	return j
}

// top returns the job that is due first; nil if there is none.
func (h jobHeap) top() *job {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

// leave removes the job from the heap in which it waits, if any.
func (j *job) leave() {
	if j.heap != nil {
		heap.Remove(j.heap, j.index)
	}
}

// enter moves the job into a heap.
func (j *job) enter(h *jobHeap) {
	j.leave()
	heap.Push(h, j)
}

// FailureStreak describes the consecutive failed polls of one job; the zero value is none.
type FailureStreak struct {
	// Count counts the failed polls, and Reason is that of the latest failure.
	Count  int
	Reason string
	// NotFound counts the latest consecutive responses that DLI has no such job, and
	// NotFoundSince is the time of the first.
	NotFound      int
	NotFoundSince time.Time
	// UnreadableSince is since when user action has been required; zero if it is not.
	UnreadableSince time.Time
}

// after returns the run with one more failed poll, at now.
func (r FailureStreak) after(f *connection.Failure, now time.Time) FailureStreak {
	r.Count++
	if f.Reason == v1alpha1.ReasonJobNotFound {
		if r.NotFound == 0 {
			r.NotFoundSince = now
		}
		r.NotFound++
	} else {
		r.NotFound, r.NotFoundSince = 0, time.Time{}
	}
	return r.held(f, now)
}

// held returns the run with a failure without a poll of this job: it counts towards
// UnreadableSince, but not as a failed poll.
func (r FailureStreak) held(f *connection.Failure, now time.Time) FailureStreak {
	r.Reason = f.Reason
	switch {
	case !f.NeedsAction():
		r.UnreadableSince = time.Time{}
	case r.UnreadableSince.IsZero():
		r.UnreadableSince = now
	}
	return r
}

// ConfirmsNotFound reports whether NotFound is confirmed at now: a job that was just
// submitted may not be readable yet, so one response is not enough.
func (r FailureStreak) ConfirmsNotFound(now time.Time, after time.Duration) bool {
	return r.NotFound >= 3 && now.Sub(r.NotFoundSince) >= after
}
