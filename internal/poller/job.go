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

	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Target is a job that is to be polled.
type Target struct {
	// Key and UID name the DLIJob, and JobID the job in DLI.
	Key   types.NamespacedName
	UID   types.UID
	JobID string
	// Connection is what to ask through. Where it is nil, Why says why there is
	// none.
	Connection *connection.Connection
	Why        *connection.Failure
	// Interval is a fixed time between two polls; 0 for the adaptive one.
	Interval time.Duration
	// ReportProgress says that the percentage is wanted.
	ReportProgress bool
	// Request is what asks for one poll now, and differs for each; "" when nothing
	// does. Once says that nothing else makes the job due: it has ended.
	Request string
	Once    bool
	// Known is what is known of a job that the poller has not seen before.
	Known Known
}

// Known is what the status of a DLIJob tells of earlier polls.
type Known struct {
	// State is what the job did, and LastPoll when it said so; zero before the
	// first poll.
	State    dli.State
	LastPoll time.Time
	// Age is for how long the DLIJob exists, and Running for how long the job has
	// been running; 0 when that is not known.
	Age, Running time.Duration
	// Run is the current run of failed polls.
	Run Run
	// Percent is how much of the job is done; nil when that is not known.
	Percent *int32
}

// Progress is what the poller knows of a job between two results.
type Progress struct {
	// Run is the current run of failed polls.
	Run Run
	// Began is when the job began to run, and Seen when the DLIJob was created, by
	// the monotonic clock of this process, whatever other clocks say. Began is zero
	// when it is not known.
	Began, Seen time.Time
	// Percent is how much of the job is done; nil unless it runs, that is known, and
	// wanted.
	Percent *int32
}

// Result is what there is to be stored of a job.
type Result struct {
	// Status is DLI's answer; nil when there is none, and Failure says why. Listed
	// says that it comes from a list, which has no more than names and figures.
	Status  *dli.JobStatus
	Listed  bool
	Failure *connection.Failure
	// At is when it came.
	At time.Time
	// Request is what had asked for the poll; "" when nothing had, or when the job
	// was not asked for.
	Request string
	Progress
	// Ended says that the job was seen active before, and has now ended.
	Ended bool
}

// watched is what stays of a target: what is known of it counts only at first.
type watched struct {
	Key        types.NamespacedName
	UID        types.UID
	JobID      string
	Connection *connection.Connection
	Why        *connection.Failure
	Interval   time.Duration
	Percent    bool
	Request    string
	Once       bool
}

func (t Target) watched() watched {
	return watched{t.Key, t.UID, t.JobID, t.Connection, t.Why, t.Interval, t.ReportProgress, t.Request, t.Once}
}

// job is a target and what becomes of it. The poller's lock guards it.
type job struct {
	target   watched
	progress Progress
	line     *line // of its connection; nil while it has none

	// due is when it is to be polled next.
	due time.Time
	// heap is where it waits, at index: until it is due, or in its line after that;
	// nil while it is asked for, or is not to be polled.
	heap  *jobHeap
	index int
	// percentDue is when to ask again how far it has come.
	percentDue time.Time
	request
	calls
	listing listing
	// state is what the job last did, and active says that it was seen doing so.
	state  dli.State
	active bool
	// told is what was last delivered.
	told told
	// result is the newest that was not stored yet; nil for none.
	result *Result
}

// request is the latest poll of a job.
type request struct {
	// asking says that it is on its way, and requested what had asked for it.
	asking    bool
	requested string
	// lastAsked is when it left, also before a restart.
	lastAsked time.Time
}

// calls are about a job that is asked for because another one that had failed alike
// could be read again.
type calls struct {
	// lastCalled is when that last was, and called says that it has not been asked
	// for since.
	lastCalled time.Time
	called     bool
}

// listing is what lists tell of a job.
type listing struct {
	// askBy is when it is to be asked for whatever lists say.
	askBy time.Time
	// shown says that a list has shown the job as it is, and missed that it is asked
	// for since the latest did not.
	shown, missed bool
	// misses counts the lists in a row that did not although it was active. After
	// some, until hiddenUntil, nothing is concluded from that.
	misses      int
	hiddenUntil time.Time
}

// wasWell reports whether the job was active when it was last asked for.
func (j *job) wasWell() bool { return j.active && j.progress.Run.Reason == "" }

// isFresh reports whether the job was never asked for, also not before a restart.
func (j *job) isFresh() bool { return !j.isFailing() && j.lastAsked.IsZero() }

// isFailing reports whether the last poll of the job failed.
func (j *job) isFailing() bool { return j.progress.Run.Failures > 0 }

// failedFor is the reason why the last poll of the job failed; "" if it did not.
func (j *job) failedFor() string {
	if !j.isFailing() {
		return ""
	}
	return j.progress.Run.Reason
}

// jobHeap holds jobs, the one that is due first at its top.
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

// leave takes the job out of the heap in which it waits, if it does.
func (j *job) leave() {
	if j.heap != nil {
		heap.Remove(j.heap, j.index)
	}
}

// enter puts the job into a heap, out of any other one.
func (j *job) enter(h *jobHeap) {
	j.leave()
	heap.Push(h, j)
}
