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

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
)

// queue is the queue of a connection: the jobs that are due and wait until it admits
// them. The poller's lock guards it.
type queue struct {
	// key is that of the connection, and revision the latest one that jobs were polled
	// for; 0 before it is configured.
	key      types.NamespacedName
	revision int
	// The jobs that are due: never polled; last poll succeeded, or likely to succeed
	// again; last poll failed.
	fresh, well, failing jobHeap
	// backingOff are the failed jobs that are not due yet, by reason.
	backingOff map[string]*alike
	// inFlight counts the requests in flight, failingInFlight those for jobs that had
	// failed before.
	inFlight, failingInFlight int
	// turns counts the jobs that were served, to share turns between failing jobs
	// and the others.
	turns int
	// wakeAt is when to check again; zero if nothing is due by time alone.
	wakeAt time.Time
	// hold is what holds the jobs back.
	hold hold
	// arrived are the jobs that arrived since the queue was last served, and changed
	// is set if the connection has changed since.
	arrived []*job
	changed bool
	// health is the last known health of the connection.
	health connection.Health
	// jobs are all jobs of the connection, whether they wait or not.
	jobs  map[*job]struct{}
	sweep sweep
}

// hold is what holds the jobs of a queue back.
type hold struct {
	// on is set if the connection held jobs back when the queue was last served, and
	// endedAt is when the hold before that ended.
	on      bool
	endedAt time.Time
	// why is the failure reported for waiting jobs, and since when it has applied; nil
	// if there is none.
	why   *connection.Failure
	since time.Time
	// toldAll is set once it was reported for all jobs, also those whose last poll
	// succeeded.
	toldAll bool
}

// alike are jobs that fail for the same reason.
type alike struct {
	jobs map[*job]struct{}
	// called is when they were last polled early because one of them could be read
	// again, and scoutAt when one of them is polled to check that.
	called, scoutAt time.Time
}

// backOff records that a job failed and is not due yet.
func (l *queue) backOff(j *job) {
	reason := j.progress.Failures.Reason
	if l.backingOff[reason] == nil {
		l.backingOff[reason] = &alike{jobs: map[*job]struct{}{}}
	}
	l.backingOff[reason].jobs[j] = struct{}{}
}

// resume records that a job no longer backs off.
func (l *queue) resume(j *job) {
	if same := l.backingOff[j.progress.Failures.Reason]; same != nil {
		delete(same.jobs, j)
	}
}

// failingShare is the fraction of turns that failing jobs get while others wait, and
// the fraction of places that they leave for the others: a quarter.
const failingShare = 4

func (l *queue) heapOf(j *job) *jobHeap {
	switch {
	case j.isFailing() && !j.called:
		return &l.failing
	case j.isFresh():
		return &l.fresh
	}
	return &l.well
}

// pick returns the job whose turn it is; nil if no waiting job may be polled. Failing
// jobs never take all of limit, the places for requests in flight, so that jobs that hang leave some for the others.
func (l *queue) pick(admit connection.Admit, limit int) *job {
	first := firstDue(l.fresh.top(), l.well.top())
	failing := l.failing.top()
	switch admit {
	case connection.AdmitProbe:
		// A job whose last poll succeeded is the best indicator.
		if well := l.well.top(); well != nil {
			return well
		}
		if first != nil {
			return first
		}
		return failing
	case connection.AdmitAll:
		if l.failingInFlight >= limit-limit/failingShare {
			return first
		}
		if first == nil || failing != nil && l.turns%failingShare == 0 {
			return failing
		}
		return first
	case connection.AdmitNone:
	}
	return nil
}

func firstDue(a, b *job) *job {
	if a == nil || b != nil && b.due.Before(a.due) {
		return b
	}
	return a
}

func (l *queue) isEmpty() bool { return l.size() == 0 }

// size is the number of waiting jobs.
func (l *queue) size() int { return len(l.fresh) + len(l.well) + len(l.failing) }

// waiting calls f for every waiting job.
func (l *queue) waiting(f func(*job)) {
	for _, h := range []jobHeap{l.fresh, l.well, l.failing} {
		for _, j := range h {
			f(j)
		}
	}
}

// tells reports whether to report the reason for a job that waits at now. If user
// action is required, it is reported immediately. A temporary failure is reported for
// jobs that could not be read anyway, and for the others only if it lasts: a blip is
// not news.
func (l *queue) tells(j *job, now time.Time, patience time.Duration) bool {
	switch {
	case l.hold.why == nil:
		return false
	case l.hold.why.NeedsAction(), !now.Before(l.hold.since.Add(patience)):
		return true
	}
	return !j.wasWell() && l.hold.why.Reason != v1alpha1.ReasonRateLimited
}
