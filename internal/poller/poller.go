// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

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
	Schedule    Schedule
	Connections *connection.Registry
	// MaxRequests limits the requests in flight of all connections together; 0 for no
	// limit. The connections of a namespace take no more of them than they leave free, so
	// those of one that hangs take half at most, and some are always left for the others.
	MaxRequests int
	// Patience is how long a temporary failure may hold back a job whose last poll
	// succeeded before it is reported for that job.
	Patience time.Duration
	// MayPoll reports whether this process may poll, which is checked right before each
	// request; nil if it always may.
	MayPoll func(now time.Time) bool
	// Deliver is called when Latest has something new for a job, which is a mere refresh of
	// figures and texts or more, and Changed when the health of a connection has changed.
	// Neither may block.
	Deliver  func(key types.NamespacedName, isRefresh bool)
	Changed  func(key types.NamespacedName)
	Recorder Recorder
	Log      logr.Logger
	Clock    clock.Clock
	// Jitter returns a random number in [-1, 1).
	Jitter func() float64
}

// Poller polls the jobs that it is told to watch. It is a runnable of the manager
// that works only while its replica leads.
type Poller struct {
	shared
	jobs   map[types.NamespacedName]*job
	queues map[types.NamespacedName]*queue
	// lastRun is when the loop last ran; nil before it has started.
	lastRun atomic.Pointer[time.Time]
}

// New returns a poller that watches nothing yet.
func New(config Config) *Poller {
	if config.MaxRequests <= 0 {
		config.MaxRequests = math.MaxInt
	}
	return &Poller{
		shared: shared{config: config, inNamespace: map[string]int{}, wake: make(chan struct{}, 1)},
		jobs:   map[types.NamespacedName]*job{},
		queues: map[types.NamespacedName]*queue{},
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
		timer.Reset(max(p.runQueues(ctx, now).Sub(now), 0))
		p.lastRun.Store(&now)
	}
}

// runQueues runs every queue, and returns when to run again.
func (p *Poller) runQueues(ctx context.Context, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := now.Add(heartbeat)
	for key, q := range p.queues {
		next = connection.Sooner(next, q.runDue(ctx, now))
		if len(q.jobs) == 0 && q.inFlight == 0 {
			delete(p.queues, key)
		}
	}
	p.wakeAt = next
	return next
}

// Healthy returns an error if the loop appears to have stopped; nil before it has
// started. It does not wait for anything.
func (p *Poller) Healthy(now time.Time) error {
	last := p.lastRun.Load()
	if last == nil {
		return nil
	}
	if late := now.Sub(*last); late > 4*heartbeat {
		return fmt.Errorf("the poller has not checked for due jobs for %v", late.Round(time.Second))
	}
	return nil
}

// Waiting returns how many jobs are due and wait for their turn at a connection.
func (p *Poller) Waiting(connection types.NamespacedName) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.queues[connection]; q != nil {
		return q.waitingJobs()
	}
	return 0
}

// Watch starts polling a job, or changes how it is polled. It takes effect immediately,
// and is cheap if nothing changed.
func (p *Poller) Watch(t Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.config.Clock.Now()
	j := p.jobs[t.Key]
	if j != nil && j.target.UID != t.UID {
		p.forgetJob(j)
		j = nil
	}
	isNew := j == nil
	if isNew {
		j = newJob(t, now)
		j.dueAt = onTick(now, p.config.Schedule.firstPoll(j, now, p.config.Jitter()))
		p.jobs[t.Key] = j
	}
	before := j.target
	j.target, j.target.Known = t, nil
	if !t.ReportProgress {
		j.progress = nil
	}
	if t.Failure != nil {
		j.leaveQueue()
		p.deliverIf(j.recordHeldBack(t.Failure, now, p.config.Schedule.StatusRefreshInterval), j)
		return
	}
	q := p.queueOf(t.Connection)
	isMoved := false
	if j.queue != q {
		isMoved = !isNew && (j.queue == nil || j.isFailing() || j.queue.isWaiting(j))
		j.leaveQueue()
		q.addJob(j)
	}
	q.updateJob(j, before, isMoved, now)
}

// leaveQueue removes the job from its queue, if it has one.
func (j *job) leaveQueue() {
	if j.queue != nil {
		j.queue.removeJob(j)
	}
}

// queueOf returns the queue of a connection.
func (p *Poller) queueOf(connection types.NamespacedName) *queue {
	q := p.queues[connection]
	if q == nil {
		q = &queue{shared: &p.shared, key: connection, jobs: map[string][]*job{}, lastTurn: map[string]int{}}
		p.queues[connection] = q
	}
	return q
}

// Latest returns what is known about a job; nothing if it is not watched.
func (p *Poller) Latest(key types.NamespacedName) Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil {
		return Snapshot{}
	}
	return Snapshot{Result: j.result, Started: j.started, FirstSeen: j.firstSeen, Failures: *j.failures, Progress: j.progress, Cost: j.cost}
}

// Stored drops a result that was stored, unless there is a newer one.
func (p *Poller) Stored(key types.NamespacedName, result *Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[key]; j != nil && j.result == result {
		j.result = nil
	}
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
	j.lastDelivered = lastDelivered{settledAt: j.lastDelivered.settledAt}
	j.target.ReportCost = false // the job may not have ended
	if !j.inFlight && j.queue != nil {
		j.queue.pollAt(j, p.config.Clock.Now())
	}
}

// Forget stops watching a job.
func (p *Poller) Forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[key]; j != nil {
		p.forgetJob(j)
	}
}

func (p *Poller) forgetJob(j *job) {
	j.leaveQueue()
	delete(p.jobs, j.target.Key)
}

// WakeConnection checks whether the jobs of a connection may be polled after it has
// changed, for example because its credentials were fetched.
func (p *Poller) WakeConnection(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queues[key] != nil {
		p.wakeBefore(p.config.Clock.Now())
	}
}
