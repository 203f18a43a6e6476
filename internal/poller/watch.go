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
)

// Watch starts polling a job, or changes how it is polled, and returns its progress.
// It takes effect immediately, and is cheap if nothing changed.
func (p *Poller) Watch(t Target) JobTimes {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.config.Clock.Now()
	j := p.jobs[t.Key]
	if j != nil && j.target.UID != t.UID {
		p.forget(j)
		j = nil
	}
	if j == nil {
		j = p.meet(t, now)
	}
	was := j.target
	j.target = t.watched()
	if !j.target.Percent {
		j.progress.Progress = nil
	}
	switch {
	case t.Connection == types.NamespacedName{}:
		p.disconnect(j, now)
	case j.asking && j.queue != nil && j.queue.key == t.Connection:
		// The change takes effect when the response arrives.
	default:
		p.reschedule(j, was, now)
	}
	return j.progress
}

// meet starts watching a job.
func (p *Poller) meet(t Target, now time.Time) *job {
	j := &job{target: t.watched(), state: t.Known.State, active: !t.Known.LastPoll.IsZero()}
	j.lastAsked = t.Known.LastPoll
	j.progress = JobTimes{Failures: t.Known.Failures, FirstSeen: now.Add(-max(t.Known.Age, 0)), Progress: t.Known.Progress}
	if t.Known.Running > 0 {
		j.progress.Started = now.Add(-t.Known.Running)
	}
	j.due = onTick(now, p.config.Schedule.firstPoll(t.Known.LastPoll, p.interval(j, now), now))
	p.jobs[t.Key] = j
	return j
}

// disconnect records that a job has no connection, and why.
func (p *Poller) disconnect(j *job, now time.Time) {
	p.leaveLine(j)
	j.progress.Failures = j.progress.Failures.held(j.target.Failure, now)
	if j.told.held(j.target.Failure) {
		p.deliver(j, Result{Failure: j.target.Failure, ArrivedAt: now})
	}
}

// reschedule polls a job according to its current target.
func (p *Poller) reschedule(j *job, was watched, now time.Time) {
	due := j.due
	if j.queue == nil || j.queue.key != j.target.Connection {
		held := j.queue != nil && p.isWaiting(j) || was.Connection == types.NamespacedName{}
		p.leaveLine(j)
		p.joinLine(j)
		// It may have waited because of the other connection.
		if held || j.isFailing() {
			due = now
		}
	}
	if j.asking {
		return
	}
	switch {
	case j.wantsPoll():
		due = earlier(due, now)
	case j.target.Completed:
		if !j.isFailing() {
			j.leave()
		}
		return
	case j.target.Interval != was.Interval && !j.lastAsked.IsZero() && !j.isFailing():
		due = j.lastAsked.Add(p.interval(j, now))
	}
	if j.heap == nil && j.hasUnstoredEnd() && !j.wantsPoll() {
		return // no more polls until that is stored
	}
	if j.heap == nil || !due.Equal(j.due) {
		p.schedule(j, due)
	}
}

// wantsPoll reports whether there is a requested poll that has not started yet.
func (j *job) wantsPoll() bool {
	return j.target.PollRequest != "" && j.target.PollRequest != j.requested
}

// PollNow polls a job immediately and delivers the result, whether it is news or
// not, because something else has changed the stored status.
func (p *Poller) PollNow(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil {
		return
	}
	j.told = told{}
	if !j.asking && j.queue != nil {
		p.schedule(j, p.config.Clock.Now())
	}
}

// Forget stops watching a job.
func (p *Poller) Forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[key]; j != nil {
		p.forget(j)
	}
}

func (p *Poller) forget(j *job) {
	p.leaveLine(j)
	delete(p.jobs, j.target.Key)
}

// WakeConnection checks whether the jobs of a connection may be polled after it has
// changed, for example because its credentials were fetched. After a new revision, jobs
// that fail are polled immediately: it may be what they waited for.
func (p *Poller) WakeConnection(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.queues[key]
	if l == nil {
		return
	}
	now := p.config.Clock.Now()
	if conn := p.connectionOf(l); conn != nil && conn.Revision() != l.revision {
		hadOne := l.revision > 0
		l.revision, l.sweep = conn.Revision(), sweep{}
		for j := range l.jobs {
			if hadOne && j.isFailing() && !j.asking {
				p.schedule(j, now)
			}
		}
	}
	l.changed = true
	p.wakeBefore(now)
}

// schedule schedules the next poll of a job, which is not being polled, for due.
func (p *Poller) schedule(j *job, due time.Time) {
	if j.queue == nil {
		return
	}
	j.leave()
	j.queue.resume(j)
	j.due = due
	j.enter(&p.later)
	p.wakeBefore(due)
}

func (p *Poller) joinLine(j *job) {
	l := p.queues[j.target.Connection]
	if l == nil {
		l = &queue{key: j.target.Connection, backingOff: map[string]*alike{}, jobs: map[*job]struct{}{}}
		if conn := p.connectionOf(l); conn != nil {
			l.revision = conn.Revision()
		}
		p.queues[l.key] = l
	}
	j.queue = l
	l.jobs[j] = struct{}{}
}

func (p *Poller) leaveLine(j *job) {
	l := j.queue
	if l == nil {
		return
	}
	j.leave()
	l.resume(j)
	j.queue = nil
	delete(l.jobs, j)
	j.listing = listing{}
	p.drop(l)
}

// drop removes an unused queue.
func (p *Poller) drop(l *queue) {
	if len(l.jobs) == 0 && l.inFlight == 0 {
		delete(p.queues, l.key)
		delete(p.starved, l)
	}
}
