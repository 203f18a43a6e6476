// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
)

// shared is what the queues of a poller share.
type shared struct {
	config Config
	// mu guards the state of the poller, its queues and its jobs. It is never held during
	// a request.
	mu       sync.Mutex
	requests sync.WaitGroup
	// inFlight counts the requests in flight, and inNamespace those by the namespace of
	// their connection.
	inFlight    int
	inNamespace map[string]int
	// wakeAt is when the loop runs next, unless wake wakes it.
	wakeAt time.Time
	wake   chan struct{}
	// lastPanic is the latest panic that was logged.
	lastPanic string
}

// deliverIf calls Deliver for a job if its result is news.
func (s *shared) deliverIf(isNews bool, j *job) {
	if isNews {
		s.config.Deliver(j.target.Key, j.result == nil || j.result.isRefresh)
	}
}

// queue is the jobs of a connection: who is next, what is in flight, and what holds the
// others back.
type queue struct {
	*shared
	key types.NamespacedName
	// jobs are all jobs of the connection, by lower-case ID.
	jobs map[string][]*job
	// later are the jobs that are not due. The others wait for their turn: those whose last
	// poll succeeded, those that were never polled, and those whose last poll failed.
	later, healthy, untried, failing jobHeap
	// Namespaces take turns: turn is that of the latest job that was polled, and lastTurn
	// that of the last waiting job of a namespace.
	turn     int
	lastTurn map[string]int
	// inFlight counts the requests in flight, failingInFlight those for failing jobs, and
	// sent all of them so far.
	inFlight, failingInFlight, sent int
	// recheckAt is when to serve the queue again; zero if nothing is due by time alone.
	recheckAt time.Time
	// heldSince is since when a failure has held jobs back; zero if none did when the queue was
	// last served. It is reported for waiting jobs from reportAt. heldUntil is when an earlier
	// one ended.
	heldSince, reportAt, heldUntil time.Time
	// overloadedAt is when a job that does not fail was last polled later than its interval.
	overloadedAt time.Time
	// health is the last known health of the connection, and revision its last known
	// revision.
	health   connection.Health
	revision int
	lists    lists
}

// failingShare is the fraction of the requests in flight that failing jobs leave for the
// others.
const failingShare = 4

// overloadFor is how long a connection is called overloaded after a job was polled too late.
const overloadFor = time.Minute

// addJob adds a job, which is polled when it is due.
func (q *queue) addJob(j *job) {
	j.queue = q
	q.jobs[j.id()] = append(q.jobs[j.id()], j)
}

// removeJob removes a job.
func (q *queue) removeJob(j *job) {
	j.leaveHeap()
	j.queue, j.isExpected, j.isSpotCheck, j.shownAt = nil, j.active, false, time.Time{}
	remaining := slices.DeleteFunc(q.jobs[j.id()], func(other *job) bool { return other == j })
	if q.jobs[j.id()] = remaining; len(remaining) == 0 {
		delete(q.jobs, j.id())
	}
}

// waitingJobs returns the number of jobs that wait for their turn.
func (q *queue) waitingJobs() int { return len(q.healthy) + len(q.untried) + len(q.failing) }

// waitingHeaps returns the jobs that wait, in the order in which they probe a failing connection.
func (q *queue) waitingHeaps() [3]jobHeap { return [...]jobHeap{q.healthy, q.untried, q.failing} }

func (q *queue) isWaiting(j *job) bool { return j.heap != nil && j.heap != &q.later }

// pollAt polls a job at a time.
func (q *queue) pollAt(j *job, due time.Time) {
	j.dueAt = due
	j.enterHeap(&q.later, 0)
	q.wakeBefore(due)
}

// updateJob polls a job according to its changed target. isMoved is set if it may have waited
// because of another connection.
func (q *queue) updateJob(j *job, before Target, isMoved bool, now time.Time) {
	due := j.dueAt
	switch {
	case j.inFlight: // the change takes effect when the response arrives
		return
	case j.wantsPoll():
		due = connection.Sooner(due, now)
	case j.wantsCost(): // at once, or again as scheduled
	case j.target.Completed:
		if !j.isFailing() {
			j.leaveHeap()
		}
		return
	case j.heap == nil && j.hasUnstoredEnd(): // no more polls until that is stored
		return
	case isMoved:
		due = now
	case j.target.Interval != before.Interval && !j.sentAt.IsZero() && !j.isFailing():
		due = q.config.Schedule.nextPoll(j, j.sentAt, q.config.Jitter())
	}
	if j.heap == nil || !due.Equal(j.dueAt) {
		q.pollAt(j, due)
	}
}

// runDue polls the jobs that are due and admitted, and returns when to run again.
func (q *queue) runDue(ctx context.Context, now time.Time) time.Time {
	var ended []*job
	for j := q.later.firstDue(); j != nil && !j.dueAt.After(now); j = q.later.firstDue() {
		if j.wantsCost() {
			j.leaveHeap()
			ended = append(ended, j)
			continue
		}
		q.startWaiting(j)
	}
	if conn := q.currentConnection(); conn != nil {
		stats := conn.Stats(now)
		q.noteRevision(stats.Revision, now)
		q.startLists(stats.Rate, now)
		q.sendWaiting(ctx, conn, stats.MaxInFlight, now)
		if conn.Note(q.lists.note, len(q.jobs) > 0 && now.Sub(q.overloadedAt) < overloadFor) {
			q.noteHealth(conn, nil, now)
		}
	}
	for _, j := range ended {
		q.readCost(ctx, j, now)
	}
	return q.nextRun(now)
}

// noteRevision polls failing jobs at once if the connection has changed: they may be
// readable now.
func (q *queue) noteRevision(revision int, now time.Time) {
	if q.revision == revision {
		return
	}
	q.revision, q.lists = revision, lists{}
	for _, j := range slices.Clone(q.later) {
		if j.isFailing() {
			j.dueAt = now
			q.startWaiting(j)
		}
	}
}

// startLists starts lists if they are due, and polls jobs that are due with them. perSecond
// is the connection's rate.
func (q *queue) startLists(perSecond float64, now time.Time) {
	if q.config.Schedule.ListInterval == 0 || len(q.lists.rounds) > 0 || now.Before(q.lists.nextAt) {
		return
	}
	for _, j := range q.lists.startRounds(q.jobs, q.config.Schedule, perSecond, now) {
		due := now
		if !j.isSpotCheck {
			due = connection.Later(now, j.sentAt.Add(q.config.Schedule.ListInterval))
		}
		if !j.inFlight && !q.isWaiting(j) && due.Before(j.dueAt) {
			q.pollAt(j, due)
		}
	}
}

// startWaiting makes a job wait for its turn, which comes after one of each namespace.
func (q *queue) startWaiting(j *job) {
	turn, waiting := max(q.turn, q.lastTurn[j.target.Key.Namespace])+1, &q.healthy
	switch {
	case j.isFailing():
		waiting = &q.failing
	case j.sentAt.IsZero():
		waiting = &q.untried
	}
	q.lastTurn[j.target.Key.Namespace] = turn
	j.enterHeap(waiting, turn)
}

// nextRun returns when to run again.
func (q *queue) nextRun(now time.Time) time.Time {
	next := connection.Sooner(now.Add(heartbeat), q.recheckAt)
	if j := q.later.firstDue(); j != nil {
		next = connection.Sooner(next, j.dueAt)
	}
	if len(q.lists.rounds) == 0 && q.config.Schedule.ListInterval > 0 && len(q.jobs) > 0 {
		next = connection.Sooner(next, q.lists.nextAt)
	}
	return connection.Later(next, now)
}

// sendWaiting sends the requests of a queue that are admitted, at most limit at a time.
func (q *queue) sendWaiting(ctx context.Context, conn *connection.Connection, limit int, now time.Time) {
	if !q.heldSince.IsZero() {
		q.heldUntil = connection.Sooner(q.recheckAt, now)
	}
	q.recheckAt = time.Time{}
	for round := q.lists.wantsPage(limit); q.waitingJobs() > 0 || round != nil; round = q.lists.wantsPage(limit) {
		decision := conn.Decide(now)
		if decision.Reason == nil {
			q.heldSince = time.Time{}
		}
		j := q.pickJob(decision.Admit, limit)
		isPage := decision.Admit == connection.AdmitAll && round != nil && (j == nil || q.sent%pageTurns == 1)
		switch {
		case j == nil && !isPage:
			q.recheckAt = decision.RecheckAt
			q.holdBack(decision.Reason, now)
			return
		case !q.maySend(): // until the loop runs again, which is soon if there are so many jobs
			q.holdBack(decision.Reason, now)
			return
		case isPage:
			q.sendPage(ctx, conn, round, now)
		default:
			q.pollJob(ctx, conn, j, now)
		}
	}
	clear(q.lastTurn)
}

// maySend reports whether the limit of all requests in flight leaves one for the queue. The
// connections of a namespace take no more than they leave free, and each of them, after its
// first, no more than its namespace leaves.
func (q *queue) maySend() bool {
	free, taken := q.config.MaxRequests-q.shared.inFlight, q.inNamespace[q.key.Namespace]
	return q.inFlight < free-taken || q.inFlight == 0 && taken <= free && free > 0
}

// countInFlight adds n requests in flight, which are for a failing job or not.
func (q *queue) countInFlight(n int, isFailing bool) {
	if isFailing {
		q.failingInFlight += n
	}
	q.inFlight += n
	q.shared.inFlight += n
	q.inNamespace[q.key.Namespace] += n
	if q.inNamespace[q.key.Namespace] == 0 {
		delete(q.inNamespace, q.key.Namespace)
	}
}

// pickJob returns the job whose turn it is; nil if no waiting job may be polled. Failing jobs
// never take all requests in flight, so that those that hang leave some for the others.
func (q *queue) pickJob(admit connection.Admit, limit int) (picked *job) {
	isFull := q.failingInFlight >= limit-limit/failingShare
	for _, h := range q.waitingHeaps() {
		j := h.firstDue()
		switch {
		case j == nil || admit == connection.AdmitNone:
		case admit == connection.AdmitProbe:
			return j
		case j.isFailing() && isFull:
		case picked == nil || j.isBefore(picked):
			picked = j
		}
	}
	return picked
}

// reportInterval is the least time between two reports of why jobs wait: there may be many.
const reportInterval = time.Second

// holdBack reports for the waiting jobs that a failure of the connection holds them back. One
// that requires user action is reported at once. A temporary one is reported for jobs that
// could not be read anyway, and for the others if it lasts.
func (q *queue) holdBack(reason *connection.Failure, now time.Time) {
	if reason == nil {
		return
	}
	q.heldSince = connection.Sooner(q.heldSince, now)
	if now.Before(q.reportAt) {
		return
	}
	q.reportAt = now.Add(reportInterval)
	isForAll := reason.NeedsAction() || now.Sub(q.heldSince) >= q.config.Patience
	heaps := q.waitingHeaps()
	for _, j := range slices.Concat(heaps[:]...) {
		isUnread := !j.isHealthy() && reason.Reason != v1alpha1.ReasonRateLimited
		if (isForAll || isUnread) && j.lastDelivered.headline != reason.Reason {
			q.deliverIf(j.recordHeldBack(reason, now, q.config.Schedule.StatusRefreshInterval), j)
		}
	}
}

// wakeBefore makes the loop run at a time if it would run later.
func (s *shared) wakeBefore(due time.Time) {
	if !due.Before(s.wakeAt) {
		return
	}
	s.wakeAt = due
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
