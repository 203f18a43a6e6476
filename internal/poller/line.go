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
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
)

// line is the jobs of one connection that are due, and wait until it admits them.
// The poller's lock guards it.
type line struct {
	conn *connection.Connection
	// Those that are due: that were never asked for, that were well when last asked
	// for or may well be so again, and that failed.
	fresh, well, failing jobHeap
	// backingOff are the jobs that failed and are not due yet, by the reason.
	backingOff map[string]*alike
	// inFlight counts the requests on their way, failingInFlight those for jobs
	// that had failed before.
	inFlight, failingInFlight int
	// turns counts the jobs that were served, to share turns between those that
	// fail and the others.
	turns int
	// wakeAt is when to look again; zero when nothing comes by time alone.
	wakeAt time.Time
	// hold is what keeps those waiting.
	hold hold
	// arrived are those that came since the line was last looked at, and changed
	// says that the connection has changed since.
	arrived []*job
	changed bool
	// health is what the connection last told of itself.
	health connection.Health
	// jobs are those of the connection, whether they wait or not.
	jobs  map[*job]struct{}
	sweep sweep
}

// hold is what keeps the jobs of a line waiting.
type hold struct {
	// on says that the connection did so when the line was last looked at, and
	// endedAt until when it did before that.
	on      bool
	endedAt time.Time
	// why is what those are told who wait, and since when; nil when nothing is.
	why   *connection.Failure
	since time.Time
	// toldAll says that all were told, also those that were well.
	toldAll bool
}

// alike are jobs that fail for the same reason.
type alike struct {
	jobs map[*job]struct{}
	// called is when they were last called because one of them could be read again,
	// and scoutAt when one of them is asked for to see whether it can.
	called, scoutAt time.Time
}

// backOff notes that a job failed and is not due yet.
func (l *line) backOff(j *job) {
	reason := j.progress.Run.Reason
	if l.backingOff[reason] == nil {
		l.backingOff[reason] = &alike{jobs: map[*job]struct{}{}}
	}
	l.backingOff[reason].jobs[j] = struct{}{}
}

// resume notes that a job does not back off any more, if it did.
func (l *line) resume(j *job) {
	if same := l.backingOff[j.progress.Run.Reason]; same != nil {
		delete(same.jobs, j)
	}
}

// failingShare is the share of turns that jobs get which fail while others
// wait, and that of places which they leave to the others: a quarter.
const failingShare = 4

func (l *line) heapOf(j *job) *jobHeap {
	switch {
	case j.isFailing() && !j.called:
		return &l.failing
	case j.isFresh():
		return &l.fresh
	}
	return &l.well
}

// pick returns the job whose turn it is; nil if there is none among those that
// may be asked for. Those that fail never take all of the places, so that jobs
// that hang leave some to the others.
func (l *line) pick(who connection.Who) *job {
	first := firstDue(l.fresh.top(), l.well.top())
	failing := l.failing.top()
	switch who {
	case connection.Look:
		return first
	case connection.FirstLook:
		return l.fresh.top()
	case connection.Probe:
		// One that was well tells most.
		if well := l.well.top(); well != nil {
			return well
		}
		if first != nil {
			return first
		}
		return failing
	case connection.Anyone:
		if limit := l.conn.Limit(); l.failingInFlight >= limit-limit/failingShare {
			return first
		}
		if first == nil || failing != nil && l.turns%failingShare == 0 {
			return failing
		}
		return first
	case connection.Nobody:
	}
	return nil
}

func firstDue(a, b *job) *job {
	if a == nil || b != nil && b.due.Before(a.due) {
		return b
	}
	return a
}

func (l *line) isEmpty() bool { return l.size() == 0 }

// size is how many wait.
func (l *line) size() int { return len(l.fresh) + len(l.well) + len(l.failing) }

// waiting calls f for every job that waits in line.
func (l *line) waiting(f func(*job)) {
	for _, h := range []jobHeap{l.fresh, l.well, l.failing} {
		for _, j := range h {
			f(j)
		}
	}
}

// tells reports whether a job that waits at now is to be told why. What needs
// somebody to act is told at once. What passes by itself is told to those that
// could not be read anyway, and to the others only when it lasts: one blip is no
// news.
func (l *line) tells(j *job, now time.Time, patience time.Duration) bool {
	switch {
	case l.hold.why == nil:
		return false
	case l.hold.why.NeedsAction(), !now.Before(l.hold.since.Add(patience)):
		return true
	}
	return !j.wasWell() && l.hold.why.Reason != v1alpha1.ReasonRateLimited
}
