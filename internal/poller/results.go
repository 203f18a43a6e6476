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
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Newest returns the newest result of a job that was not stored yet; nil if there
// is none.
func (p *Poller) Newest(key types.NamespacedName) *Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[key]; j != nil {
		return j.result
	}
	return nil
}

// Stored drops a result that was stored, unless there is a newer one.
func (p *Poller) Stored(key types.NamespacedName, result *Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[key]; j != nil && j.result == result {
		j.result = nil
	}
}

// answered takes an answer that has brought a status, at now.
func (p *Poller) answered(j *job, a *dli.JobStatus, now time.Time) {
	failed := j.progress.Run
	wasActive := j.active
	ended := hasEnded(a.State)
	j.progress.Run = Run{}
	j.state, j.active = a.State, !ended
	if running, known := runningAt(a, now); known {
		j.progress.Began = now.Add(-running)
	}
	if j.told.answered(a, now, p.config.Schedule.StatusRefreshInterval) || j.requested != "" {
		p.deliver(j, Result{Status: a, At: now, Request: j.requested, Ended: ended && wasActive})
	}
	if failed.Failures > 0 {
		p.callOthers(j.line, failed.Reason, now)
	}
	switch {
	case j.wantsPoll():
		p.schedule(j, now)
	case !ended && !j.target.Once:
		p.schedule(j, onTick(now, p.interval(j, now)))
	}
}

// failed takes an answer that is none, at now.
func (p *Poller) failed(j *job, f *connection.Failure, now time.Time) {
	wasWell := j.wasWell()
	run := j.progress.Run.after(f, now)
	j.progress.Run = run
	if j.told.failed(f, run, wasWell) {
		p.deliver(j, Result{Failure: f, At: now, Request: j.requested})
	}
	if j.target.Once && f.Reason == v1alpha1.ReasonJobNotFound {
		return // DLI no longer has what has ended
	}
	p.schedule(j, onTick(now, p.config.Schedule.retry(f, run, now, p.config.Jitter())))
	if j.line != nil {
		j.line.backingOff[j] = struct{}{}
	}
}

// callAgain is the least time between two calls of one job.
const callAgain = 30 * time.Second

// callOthers has those polled at once that back off for a reason which has just
// ended for another job: so an outage that was told in the service's own words is
// over for all of them when it is for one.
func (p *Poller) callOthers(l *line, reason string, now time.Time) {
	if l == nil {
		return
	}
	for j := range l.backingOff {
		if j.progress.Run.Reason == reason && (j.lastCalled.IsZero() || now.Sub(j.lastCalled) >= callAgain) {
			j.lastCalled = now
			p.schedule(j, now)
		}
	}
}

// interval returns the time until the next poll of a job that was read at now.
func (p *Poller) interval(j *job, now time.Time) time.Duration {
	since := j.progress.Began
	if since.IsZero() || j.state == dli.StateLaunching {
		since = j.progress.Seen
	}
	return p.config.Schedule.interval(j.target.Interval, j.state, now.Sub(since), p.config.Jitter())
}

// runningAt is for how long a job had been running when DLI answered, at now: by
// DLI's clock alone if it can be told so. known is false where the answer does
// not tell.
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
