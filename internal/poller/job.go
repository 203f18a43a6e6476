// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"cmp"
	"container/heap"
	"hash/maphash"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Target is a job to be polled.
type Target struct {
	// Key and UID identify the DLIJob, and JobID and Type the job in DLI.
	Key   types.NamespacedName
	UID   types.UID
	JobID string
	Type  dli.JobType
	// Connection is the key of the connection to use. If there is none, Failure says why.
	Connection types.NamespacedName
	Failure    *connection.Failure
	// Interval is a fixed time between two polls; 0 for the adaptive one.
	Interval time.Duration
	// PollRequest identifies a request for one immediate poll; "" if there is none.
	// Completed is set if nothing else makes the job due, because it has ended.
	PollRequest string
	Completed   bool
	// ReportProgress is set if the percentage is wanted, and ReportCost if the cost of a job
	// is wanted that has ended and is not polled any more.
	ReportProgress, ReportCost bool
	// Known is what is known about a job that the poller has not seen before; nil for
	// nothing.
	Known *Known
}

// Known is what the status of a DLIJob says about earlier polls.
type Known struct {
	// State is the last known state of the job, and LastPoll when it was polled; zero
	// before the first poll.
	State    dli.State
	LastPoll time.Time
	// Status is DLI's word for it if the last poll succeeded; "" if it did not. The same word,
	// with whatever else, is no news.
	Status string
	// Age is how long the DLIJob has existed, and Running how long the job has been
	// running; 0 if unknown.
	Age, Running time.Duration
	// Failures is the current streak of failed polls.
	Failures FailureStreak
	// Progress is how much of the job is done; nil if unknown.
	Progress *int32
}

// Snapshot is what is known about a job, whether there is a new result or not.
type Snapshot struct {
	// Result is the latest result that was not stored yet; nil if there is none.
	Result   *Result
	Failures FailureStreak
	// Started is when the job started to run, zero if unknown, and FirstSeen when the DLIJob
	// was created, zero if the poller does not know the job: by the monotonic clock of this
	// process.
	Started, FirstSeen time.Time
	// Progress is how much of the job is done, in percent; nil unless it runs and that is
	// known and wanted.
	Progress *int32
	// Cost is the cost of a job that has ended; nil unless it is known and wanted.
	Cost *dli.Cost
}

// Result is a result for a job that is to be stored.
type Result struct {
	// Status is DLI's response. If it is nil, the result is the Failure, or the figures
	// that a list shows of the job in its known state.
	Status  *dli.JobStatus
	Failure *connection.Failure
	Listed  *dli.Figures
	// SentAt is when the request was sent, and ArrivedAt when the response arrived.
	SentAt, ArrivedAt time.Time
	// PollRequest is the Target.PollRequest that caused the poll; "" if none did, or if
	// the job was not polled.
	PollRequest string
	// Failures is the streak of failed polls when it arrived.
	Failures FailureStreak
	// Ended is set if the job was seen active before, and has now ended.
	Ended bool
	// isRefresh is set if nothing but figures and texts has changed.
	isRefresh bool
}

// FailureStreak describes the consecutive failed polls of one job; the zero value is none.
type FailureStreak struct {
	// Count counts the failed polls, and Reason is that of the latest failure.
	Count  int
	Reason string
	// NotFound counts the responses that DLI has no such job since the last one that had
	// it. NotFoundSince is when the request for the first was sent, and NotFoundAt that for
	// the latest; zero before the first of this process.
	NotFound                  int
	NotFoundSince, NotFoundAt time.Time
	// UnreadableSince is since when user action has been required; zero if it is not.
	UnreadableSince time.Time
}

// afterFailure returns the streak with one more failed poll, for which the request was sent at
// sentAt. Failures other than NotFound say nothing about whether the job exists.
func (s FailureStreak) afterFailure(f *connection.Failure, sentAt, now time.Time) FailureStreak {
	s.Count++
	if f.Reason == v1alpha1.ReasonJobNotFound {
		if s.NotFound == 0 {
			s.NotFoundSince = sentAt
		}
		s.NotFound++
		s.NotFoundAt = sentAt
	}
	return s.heldBack(f, now)
}

// heldBack returns the streak with a failure without a poll of this job: it counts
// towards UnreadableSince, but not as a failed poll.
func (s FailureStreak) heldBack(f *connection.Failure, now time.Time) FailureStreak {
	s.Reason = f.Reason
	switch {
	case !f.NeedsAction():
		s.UnreadableSince = time.Time{}
	case s.UnreadableSince.IsZero():
		s.UnreadableSince = now
	}
	return s
}

// ConfirmsNotFound reports whether NotFound is confirmed by a response that arrived at
// now: a job that was just submitted may not be readable yet, so one response is not
// enough. What counts is when the requests were sent: a response may arrive late.
func (s FailureStreak) ConfirmsNotFound(now time.Time, after time.Duration) bool {
	now = connection.Sooner(now, s.NotFoundAt)
	return s.NotFound >= 3 && now.Sub(s.NotFoundSince) >= after
}

// lastDelivered is what was delivered last for a job: enough to decide whether the next
// result is news, and smaller than the result.
type lastDelivered struct {
	// time is when it was delivered; zero if nothing was.
	time time.Time
	// headline is DLI's word for the job's status, or the reason of a failure. rest is
	// the digest of everything but the headline and the figures; 0 if an earlier process
	// delivered it.
	headline string
	rest     uint64
	figures  dli.Figures
	failed   bool
	// settledAt is when the job's changes of headline will have been rare enough, if
	// there are no more.
	settledAt time.Time
}

var seed = maphash.MakeSeed()

func deliveredStatus(status *dli.JobStatus) lastDelivered {
	return lastDelivered{headline: status.Status, rest: status.Digest(), figures: status.Figures}
}

func deliveredFailure(f *connection.Failure) lastDelivered {
	return lastDelivered{headline: f.Reason, failed: true, rest: maphash.String(seed, f.Message)}
}

// job is a target and its state. There are tens of thousands, so it is small.
type job struct {
	target Target // without Known
	// started and firstSeen are as in Snapshot.
	started, firstSeen time.Time
	// failures is the current streak of failed polls, which is replaced and never changed.
	failures *FailureStreak
	// queue is that of its connection; nil while it has none.
	queue *queue

	// dueAt is when it is to be polled next.
	dueAt time.Time
	// heap is where it waits, at index: among the jobs that are not due, or for its turn;
	// nil while it is being polled, or is not to be polled.
	heap        *jobHeap
	index, turn int

	// sentAt is when the latest poll was sent, also before a restart, and pollRequest is the
	// latest PollRequest that was polled for.
	sentAt      time.Time
	pollRequest string

	// state is the last known state of the job, and active is set if it was seen in an
	// active one. inFlight is set while a poll is in flight.
	state            dli.State
	active, inFlight bool

	// isExpected is set if the next list should show the job in its known state, and
	// isSpotCheck if the next poll checks a list that shows the job.
	isExpected, isSpotCheck bool
	// shownAt is when the latest page that showed the job was requested; zero if none did, or
	// a poll has shown since that lists are wrong about the job.
	shownAt time.Time

	// progress is the last known percentage, and progressDueAt when to read it again.
	progress      *int32
	progressDueAt time.Time
	// cost is the cost of a job that has ended; nil while it is unknown.
	cost *dli.Cost

	lastDelivered lastDelivered
	// result is the latest one that was not stored yet; nil for none.
	result *Result
}

// noFailures is the streak of a job whose last poll succeeded.
var noFailures = &FailureStreak{}

// newJob returns a job that has not been polled by this process.
func newJob(t Target, now time.Time) *job {
	earlier := cmp.Or(t.Known, &Known{})
	t.Known = nil
	j := &job{
		target: t, state: earlier.State, sentAt: earlier.LastPoll, failures: noFailures, progress: earlier.Progress,
		firstSeen: now.Add(-max(earlier.Age, 0)),
	}
	if earlier.Failures != *noFailures {
		j.failures = new(earlier.Failures)
	}
	if earlier.Running > 0 {
		j.started = now.Add(-earlier.Running)
	}
	j.active = !earlier.LastPoll.IsZero() && !earlier.State.HasEnded()
	j.isExpected = j.active
	if earlier.Status != "" {
		j.lastDelivered.headline, j.lastDelivered.time = earlier.Status, earlier.LastPoll
	}
	return j
}

// id is the job's ID in lower case, as DLI compares it.
func (j *job) id() string { return strings.ToLower(j.target.JobID) }

// isHealthy reports whether the last poll of the job succeeded and showed it active.
func (j *job) isHealthy() bool { return j.active && j.failures.Reason == "" }

// isFailing reports whether the last poll of the job failed.
func (j *job) isFailing() bool { return j.failures.Count > 0 }

// isRunning reports whether a job is in a state for which DLI reports progress.
func (j *job) isRunning() bool {
	return j.state == dli.StateRunning || j.state == dli.StateScaling
}

// wantsPoll reports whether there is a requested poll that has not started yet.
func (j *job) wantsPoll() bool {
	return j.target.PollRequest != "" && j.target.PollRequest != j.pollRequest
}

// hasUnstoredEnd reports whether the job is known to have ended, but that was not
// stored yet.
func (j *job) hasUnstoredEnd() bool {
	return j.result != nil && j.result.Status != nil && j.result.Status.State.HasEnded()
}

// runningFor is how long a job has been running; if that is unknown or it does not run
// yet, the time since it was first seen.
func (j *job) runningFor(now time.Time) time.Duration {
	since := j.started
	if since.IsZero() || j.state == dli.StateLaunching {
		since = j.firstSeen
	}
	return now.Sub(since)
}

// isBefore reports whether the turn of the job comes before that of another one: of the same
// namespace or of jobs that do not wait for a turn, the one that is due first.
func (j *job) isBefore(other *job) bool {
	return j.turn < other.turn || j.turn == other.turn && j.dueAt.Before(other.dueAt)
}

// jobHeap is a heap of jobs, with the one that comes first at the top.
type jobHeap []*job

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, k int) bool { return h[i].isBefore(h[k]) }
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

// firstDue returns the job that is due first; nil if there is none.
func (h jobHeap) firstDue() *job {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

// leaveHeap removes the job from the heap in which it waits, if any.
func (j *job) leaveHeap() {
	if j.heap != nil {
		heap.Remove(j.heap, j.index)
	}
}

// enterHeap moves the job into a heap; turn is 0 unless it waits for its turn there.
func (j *job) enterHeap(h *jobHeap, turn int) {
	j.leaveHeap()
	j.turn = turn
	heap.Push(h, j)
}
