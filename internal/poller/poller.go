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
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
)

// Recorder measures the polls.
type Recorder interface {
	// PollLateness records the time from when a poll was due until it started.
	PollLateness(late time.Duration)
	// ListDiffered counts a job that a list showed in the wrong state.
	ListDiffered()
}

// Config configures a Poller.
type Config struct {
	Schedule Schedule
	// Connections has the connections that targets refer to by their keys.
	Connections *connection.Registry
	// MaxRequests limits the requests in flight of all connections together; 0 for no
	// limit. A connection takes no more of them than it leaves free, so one that hangs
	// takes half, two take a third each, and some are always left for the others.
	MaxRequests int
	// Patience is how long a temporary failure may hold back a job whose last poll
	// succeeded before it is reported for that job.
	Patience time.Duration
	// Deliver is called when there is a new result for a job, and Changed when the
	// health of a connection has changed. Neither may block.
	Deliver, Changed func(key types.NamespacedName)
	Recorder         Recorder
	Clock            clock.Clock
	// Jitter returns a random number in [-1, 1).
	Jitter func() float64
}

// Poller polls the jobs that it is told to watch. It is a runnable of the manager
// that works only while its replica leads. One lock guards its state and is never
// held during a request.
type Poller struct {
	config Config

	mu     sync.Mutex
	jobs   map[types.NamespacedName]*job
	queues map[types.NamespacedName]*queue
	// later are the jobs that are not due yet.
	later jobHeap
	// inFlight counts the requests in flight; starved are the queues that could not
	// send one because of those of other queues.
	inFlight int
	starved  map[*queue]struct{}
	// wakeAt is when the loop runs next, and beat when it last ran.
	wakeAt, beat time.Time

	wake     chan struct{}
	requests sync.WaitGroup
}

// New returns a poller that watches nothing yet.
func New(config Config) *Poller {
	if config.MaxRequests <= 0 {
		config.MaxRequests = math.MaxInt
	}
	return &Poller{
		config:  config,
		jobs:    map[types.NamespacedName]*job{},
		queues:  map[types.NamespacedName]*queue{},
		starved: map[*queue]struct{}{},
		wake:    make(chan struct{}, 1),
	}
}

// heartbeat is the maximum time between two runs of the loop.
const heartbeat = 5 * time.Second

// Start polls until ctx is done, and returns when no requests are in flight.
func (p *Poller) Start(ctx context.Context) error {
	timer := p.config.Clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			p.requests.Wait()
			return nil
		case <-p.wake:
		case <-timer.C():
		}
		now := p.config.Clock.Now()
		p.mu.Lock()
		p.beat = now
		p.wakeAt = p.serveDue(ctx, now)
		wait := p.wakeAt.Sub(now)
		p.mu.Unlock()
		timer.Reset(max(wait, 0))
	}
}

// Healthy returns an error if the loop appears to have stopped at now; nil before it
// has started.
func (p *Poller) Healthy(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if late := now.Sub(p.beat); !p.beat.IsZero() && late > 4*heartbeat {
		return fmt.Errorf("the poller has not checked for due jobs for %v", late.Round(time.Second))
	}
	return nil
}

// Waiting returns how many jobs are due and wait for their turn at a connection.
func (p *Poller) Waiting(connection types.NamespacedName) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.queues[connection]; l != nil {
		return l.size()
	}
	return 0
}

// serveDue moves the jobs that are due at now into their queues, polls those that are
// admitted, and returns when to run again.
func (p *Poller) serveDue(ctx context.Context, now time.Time) time.Time {
	for top := p.later.top(); top != nil && !top.due.After(now); top = p.later.top() {
		top.queue.resume(top)
		top.enter(top.queue.heapOf(top))
		top.queue.arrived = append(top.queue.arrived, top)
	}
	next := now.Add(heartbeat)
	if top := p.later.top(); top != nil {
		next = earlier(next, top.due)
	}
	for _, l := range p.queues {
		begun := p.beginRound(l, now)
		if begun || len(l.arrived) > 0 || l.changed || !l.wakeAt.IsZero() && !l.wakeAt.After(now) {
			p.serve(ctx, l, now)
		}
		for _, at := range []time.Time{l.wakeAt, l.sweep.wakeAt()} {
			if !at.IsZero() {
				next = earlier(next, at)
			}
		}
	}
	return next
}

// serve polls the waiting jobs of a queue that are admitted at now.
func (p *Poller) serve(ctx context.Context, l *queue, now time.Time) {
	if l.hold.on {
		l.hold.on, l.hold.endedAt = false, connection.Sooner(l.wakeAt, now)
	}
	l.wakeAt, l.changed = time.Time{}, false
	conn := p.connectionOf(l)
	if conn == nil {
		l.hold.on = true // until WakeConnection
		return
	}
	limit := conn.MaxInFlight()
	for !l.isEmpty() || l.wantsPage(limit) {
		if l.inFlight >= p.config.MaxRequests-p.inFlight {
			// Arrived jobs are informed the next time that the queue is served.
			p.starved[l] = struct{}{}
			return
		}
		decision := conn.Decide(now)
		if decision.Reason == nil {
			l.hold.why = nil
		}
		j := l.pick(decision.Admit, limit)
		switch {
		case decision.Admit == connection.AdmitAll && l.wantsPage(limit) && (j == nil || l.turns%pageTurns == 1):
			p.askPage(ctx, l, conn, now)
			continue
		case j != nil:
			p.ask(ctx, l, j, conn, now)
			continue
		}
		p.holdBack(l, decision, now)
		break
	}
	clear(l.arrived)
	l.arrived = l.arrived[:0]
}

// holdBack reports for the waiting jobs of a queue why they wait, where it should be
// reported, and sets when to check again.
func (p *Poller) holdBack(l *queue, decision connection.Decision, now time.Time) {
	l.hold.on, l.wakeAt = true, decision.RecheckAt
	toAll := false
	switch {
	case decision.Reason == nil:
		return
	case l.hold.why == nil:
		l.hold.since, l.hold.toldAll, toAll = now, false, true
	case l.hold.why.Reason != decision.Reason.Reason:
		toAll = true
	}
	l.hold.why = decision.Reason
	patient := l.hold.since.Add(p.config.Patience)
	switch {
	case l.hold.toldAll:
	case now.Before(patient):
		l.wakeAt = connection.Sooner(l.wakeAt, patient)
	default:
		l.hold.toldAll, toAll = true, true
	}
	tell := func(j *job) {
		if l.tells(j, now, p.config.Patience) {
			p.hold(j, l.hold.why, now)
		}
	}
	if toAll {
		l.waiting(tell)
		return
	}
	for _, j := range l.arrived {
		if j.queue == l && p.isWaiting(j) {
			tell(j)
		}
	}
}

// hold records why a job is not polled.
func (p *Poller) hold(j *job, why *connection.Failure, now time.Time) {
	j.progress.Failures = j.progress.Failures.held(why, now)
	if j.told.held(why) {
		p.deliver(j, Result{Failure: why, ArrivedAt: now})
	}
}

// isWaiting reports whether a job is due and waits in its queue.
func (p *Poller) isWaiting(j *job) bool { return j.heap != nil && j.heap != &p.later }

// ask sends the request for a job that its connection has just admitted.
func (p *Poller) ask(ctx context.Context, l *queue, j *job, conn *connection.Connection, now time.Time) {
	request := conn.Begin(now, connection.CallStatus, j.target.JobID, j.failedFor())
	if request == nil {
		return // Decide now says why
	}
	// Waiting for the connection does not count as lateness.
	p.config.Recorder.PollLateness(max(0, min(now.Sub(j.due), now.Sub(l.hold.endedAt))))
	j.leave()
	j.asking, j.called, j.requested, j.lastAsked = true, false, j.target.PollRequest, now
	j.listing.askBy = now.Add(spread(p.config.Schedule.ListTrust*10/11, p.config.Jitter()))
	failing := j.isFailing()
	p.count(l, failing, 1)
	l.turns++
	p.requests.Go(func() { p.await(ctx, l, j, request, failing) })
}

func (p *Poller) count(l *queue, failing bool, n int) {
	p.inFlight += n
	l.inFlight += n
	if failing {
		l.failingInFlight += n
	}
}

// await waits for the response to a request, and then serves other jobs.
func (p *Poller) await(ctx context.Context, l *queue, j *job, request *connection.Request, failing bool) {
	answer, err := request.SendStatus(ctx, p.config.Clock.Now)
	failure, _ := connection.AsFailure(err)
	now := p.config.Clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(l, failing, -1)
	if p.jobs[j.target.Key] == j {
		j.asking = false
		switch {
		case j.queue == nil: // the job no longer has a connection
		case j.queue != l || errors.Is(err, connection.ErrOutdated):
			// The job now uses another connection, or the connection has changed: the
			// response says nothing about it.
			p.schedule(j, now)
		case failure != nil:
			p.failed(j, failure, now)
		case err != nil: // the operator is stopping
		default:
			p.answered(j, answer, now)
			p.askPercent(ctx, j, now)
		}
	}
	p.cameBack(ctx, l, failure, now)
}

// cameBack serves other jobs after a request has returned.
func (p *Poller) cameBack(ctx context.Context, l *queue, failure *connection.Failure, now time.Time) {
	p.noteHealth(l, failure, now)
	if ctx.Err() != nil {
		return
	}
	p.serve(ctx, l, now)
	for other := range p.starved {
		delete(p.starved, other)
		p.serve(ctx, other, now)
		p.wakeBefore(other.wakeAt)
	}
	p.drop(l)
	p.wakeBefore(l.wakeAt)
}

// noteHealth calls Changed if the health of the connection has changed.
func (p *Poller) noteHealth(l *queue, failure *connection.Failure, now time.Time) {
	conn := p.connectionOf(l)
	if conn == nil {
		return
	}
	health := conn.Health(now)
	// Rejections are recorded even while the health stays the same.
	rejected := failure != nil && failure.Reason == v1alpha1.ReasonCredentialsRejected
	if health != l.health || rejected {
		l.health = health
		p.config.Changed(l.key)
	}
}

// connectionOf returns the connection of a queue; nil while it is not configured.
func (p *Poller) connectionOf(l *queue) *connection.Connection {
	return p.config.Connections.Get(l.key)
}

// wakeBefore makes the loop run at a time if it would run later; the zero time means
// never.
func (p *Poller) wakeBefore(at time.Time) {
	if at.IsZero() || !at.Before(p.wakeAt) {
		return
	}
	p.wakeAt = at
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
