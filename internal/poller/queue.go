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
	// their connection; starved are the queues that could not send one because of the
	// others'.
	inFlight    int
	inNamespace map[string]int
	starved     map[*queue]struct{}
	// wakeAt is when the loop runs next, unless wake wakes it.
	wakeAt time.Time
	wake   chan struct{}
	// lastPanic is the latest panic that was logged.
	lastPanic string
}

// queue is the jobs of a connection: who is next, what is in flight, and what holds the
// others back.
type queue struct {
	*shared
	key types.NamespacedName
	// jobs are all jobs of the connection, by lower-case ID.
	jobs map[string][]*job
	// later are the jobs that are not due. The others wait for their turn, by namespace and
	// kind: they are in waiting, where namespaces take turns in the order of turnOrder.
	later     jobHeap
	waiting   map[string]*[jobKinds]jobHeap
	turnOrder []string
	// arrived are the jobs that have become due since the queue was last served.
	arrived []*job
	// inFlight counts the requests in flight, failingInFlight those for failing jobs, and
	// turns all of them so far.
	inFlight, failingInFlight, turns int
	// recheckAt is when to serve the queue again; zero if nothing is due by time alone.
	recheckAt time.Time
	// isHeldBack is set if a failure held jobs back when the queue was last served, and
	// heldUntil is when an earlier hold ended. reason is reported for waiting jobs,
	// since when it has applied; isReported is set once it was reported for all of them,
	// also healthy ones.
	isHeldBack, isReported bool
	heldUntil, reasonSince time.Time
	reason                 *connection.Failure
	// health is the last known health of the connection, and revision its last known
	// revision.
	health   connection.Health
	revision int
	lists    lists
}

// The kinds of waiting jobs, in the order in which they probe a failing connection: last
// poll succeeded, never polled, last poll failed.
const (
	healthy = iota
	untried
	failing
	jobKinds
)

// failingShare is the fraction of the requests in flight that failing jobs leave for the
// others.
const failingShare = 4

// addJob adds a job, which is polled when it is due.
func (q *queue) addJob(j *job) {
	j.queue = q
	q.jobs[j.id] = append(q.jobs[j.id], j)
}

// removeJob removes a job.
func (q *queue) removeJob(j *job) {
	j.leaveHeap()
	if namespace := j.target.Key.Namespace; q.waitingIn(namespace) == 0 {
		q.passTurn(namespace)
	}
	j.queue, j.isShown, j.isSpotCheck, j.isFollowUp, j.expectedIn = nil, false, false, false, time.Time{}
	remaining := slices.DeleteFunc(q.jobs[j.id], func(other *job) bool { return other == j })
	if q.jobs[j.id] = remaining; len(remaining) == 0 {
		delete(q.jobs, j.id)
	}
}

// isUnused reports whether there is neither a job nor a request.
func (q *queue) isUnused() bool { return len(q.jobs) == 0 && q.inFlight == 0 }

// waitingJobs returns the number of jobs that wait for their turn.
func (q *queue) waitingJobs() (n int) {
	for namespace := range q.waiting {
		n += q.waitingIn(namespace)
	}
	return n
}

func (q *queue) waitingIn(namespace string) int {
	heaps := q.waiting[namespace]
	if heaps == nil {
		return 0
	}
	return len(heaps[healthy]) + len(heaps[untried]) + len(heaps[failing])
}

func (q *queue) isWaiting(j *job) bool { return j.heap != nil && j.heap != &q.later }

// isOverloaded reports whether a job that could be read has waited longer for its turn than
// its poll interval.
func (q *queue) isOverloaded(now time.Time) bool {
	return !q.isHeldBack && slices.ContainsFunc(q.turnOrder, func(namespace string) bool {
		j := q.waiting[namespace][healthy].firstDue()
		return j != nil && now.Sub(later(j.dueAt, q.heldUntil)) > q.config.Schedule.pollInterval(j.target.Interval, j.state, j.runningFor(now), 0)
	})
}

// pollAt polls a job at a time.
func (q *queue) pollAt(j *job, due time.Time) {
	j.dueAt = due
	j.enterHeap(&q.later)
	q.wakeBefore(due)
}

// updateJob polls a job according to its changed target. isMoved is set if it may have waited
// because of another connection.
func (q *queue) updateJob(j *job, before Target, isMoved bool, now time.Time) {
	due := j.dueAt
	if isMoved {
		due = now
	}
	switch {
	case j.inFlight: // the change takes effect when the response arrives
		return
	case j.wantsPoll():
		due = earlier(due, now)
	case j.target.Completed:
		if !j.isFailing() {
			j.leaveHeap()
		}
		return
	case j.heap == nil && j.hasUnstoredEnd(): // no more polls until that is stored
		return
	case j.target.Interval != before.Interval && !j.sentAt.IsZero() && !j.isFailing():
		due = q.config.Schedule.nextPoll(j, j.sentAt, q.config.Jitter())
	}
	if j.heap == nil || !due.Equal(j.dueAt) {
		q.pollAt(j, due)
	}
}

// runDue polls the jobs that are due and admitted, and returns when to run again.
func (q *queue) runDue(ctx context.Context, now time.Time) time.Time {
	for j := q.later.firstDue(); j != nil && !j.dueAt.After(now); j = q.later.firstDue() {
		q.startWaiting(j)
	}
	if conn := q.currentConnection(); conn != nil {
		q.noteRevision(conn.Stats(now).Revision, now)
		q.startLists(conn, now)
		q.sendWaiting(ctx, conn, now)
		if conn.NoteOverload(q.isOverloaded(now)) {
			q.noteHealth(conn, nil, now)
		}
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

// startLists starts lists if they are due, and polls jobs that are due with them.
func (q *queue) startLists(conn *connection.Connection, now time.Time) {
	if !q.lists.areDue(q.config.Schedule, now) {
		return
	}
	for _, j := range q.lists.startRounds(q.jobs, q.config.Schedule, conn.Stats(now).Rate, now) {
		due := now
		if !j.isSpotCheck {
			due = later(now, j.sentAt.Add(q.config.Schedule.ListInterval))
		}
		if !j.inFlight && !q.isWaiting(j) && due.Before(j.dueAt) {
			q.pollAt(j, due)
		}
	}
}

// startWaiting makes a job wait for its turn.
func (q *queue) startWaiting(j *job) {
	kind := healthy
	switch {
	case j.isFailing():
		kind = failing
	case j.isNew():
		kind = untried
	}
	namespace := j.target.Key.Namespace
	if q.waiting[namespace] == nil {
		q.waiting[namespace] = &[jobKinds]jobHeap{}
		q.turnOrder = append(q.turnOrder, namespace)
	}
	j.enterHeap(&q.waiting[namespace][kind])
	q.arrived = append(q.arrived, j)
}

// nextRun returns when to run again.
func (q *queue) nextRun(now time.Time) time.Time {
	next := now.Add(heartbeat)
	if j := q.later.firstDue(); j != nil {
		next = earlier(next, j.dueAt)
	}
	if !q.recheckAt.IsZero() {
		next = earlier(next, q.recheckAt)
	}
	if len(q.lists.rounds) == 0 && q.config.Schedule.ListInterval > 0 && len(q.jobs) > 0 {
		next = earlier(next, q.lists.nextAt)
	}
	return later(next, now)
}

// sendWaiting sends the requests of a queue that are admitted.
func (q *queue) sendWaiting(ctx context.Context, conn *connection.Connection, now time.Time) {
	if q.isHeldBack {
		q.isHeldBack, q.heldUntil = false, connection.Sooner(q.recheckAt, now)
	}
	q.recheckAt = time.Time{}
	for q.waitingJobs() > 0 || q.lists.wantsPage(conn.Stats(now).MaxInFlight) != nil {
		if !q.maySend() {
			q.starved[q] = struct{}{}
			return // arrived jobs are informed the next time
		}
		decision := conn.Decide(now)
		if decision.Reason == nil {
			q.reason = nil
		}
		j, round := q.pickJob(decision.Admit, conn.Stats(now).MaxInFlight), q.lists.wantsPage(conn.Stats(now).MaxInFlight)
		switch {
		case decision.Admit == connection.AdmitAll && round != nil && (j == nil || q.turns%pageTurns == 1):
			q.sendPage(ctx, conn, round, now)
			continue
		case j != nil:
			q.pollJob(ctx, conn, j, now)
			continue
		}
		q.holdBack(decision, now)
		break
	}
	clear(q.arrived)
	q.arrived = q.arrived[:0]
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

// pickJob returns the job whose turn it is, by namespace and then by the time that it is
// due; nil if no waiting job may be polled. Failing jobs
// never take all requests in flight, so that those that hang leave some for the others.
func (q *queue) pickJob(admit connection.Admit, limit int) *job {
	mayFail := q.failingInFlight < limit-limit/failingShare
	for kind := range jobKinds {
		for _, namespace := range q.turnOrder {
			heaps := q.waiting[namespace]
			j := heaps[kind].firstDue()
			if admit == connection.AdmitAll {
				j = firstOf(heaps[healthy].firstDue(), heaps[untried].firstDue())
				if mayFail {
					j = firstOf(j, heaps[failing].firstDue())
				}
			}
			if j != nil && admit != connection.AdmitNone {
				return j
			}
		}
	}
	return nil
}

// passTurn lets the other namespaces go first, and forgets those without waiting jobs.
func (q *queue) passTurn(namespace string) {
	q.turnOrder = slices.DeleteFunc(q.turnOrder, func(other string) bool { return other == namespace })
	if q.waitingIn(namespace) > 0 {
		q.turnOrder = append(q.turnOrder, namespace)
	} else {
		delete(q.waiting, namespace)
	}
}

// firstOf returns the job that is due first; either may be nil.
func firstOf(a, b *job) *job {
	if a == nil || b != nil && b.dueAt.Before(a.dueAt) {
		return b
	}
	return a
}

// holdBack reports for the waiting jobs why they wait, where it should be reported, and
// sets when to check again.
func (q *queue) holdBack(decision connection.Decision, now time.Time) {
	q.isHeldBack, q.recheckAt = decision.Reason != nil, decision.RecheckAt
	reportAll := false
	switch {
	case decision.Reason == nil:
		return
	case q.reason == nil:
		q.reasonSince, q.isReported, reportAll = now, false, true
	case q.reason.Reason != decision.Reason.Reason:
		reportAll = true
	}
	q.reason = decision.Reason
	patient := q.reasonSince.Add(q.config.Patience)
	switch {
	case q.isReported:
	case now.Before(patient):
		q.recheckAt = connection.Sooner(q.recheckAt, patient)
	default:
		q.isReported, reportAll = true, true
	}
	waiting := q.arrived
	if reportAll {
		waiting = nil
		for _, heaps := range q.waiting {
			waiting = slices.Concat(waiting, heaps[healthy], heaps[untried], heaps[failing])
		}
	}
	for _, j := range waiting {
		if j.queue == q && q.isWaiting(j) && q.shouldReport(j, now) {
			q.deliverIf(j.recordHeldBack(q.reason, now, q.config.Schedule.StatusRefreshInterval), j)
		}
	}
}

// shouldReport reports whether to report the reason for a job that waits. If user action
// is required, it is reported at once. A temporary failure is reported for jobs that could
// not be read anyway, and for the others only if it lasts.
func (q *queue) shouldReport(j *job, now time.Time) bool {
	if q.reason.NeedsAction() || !now.Before(q.reasonSince.Add(q.config.Patience)) {
		return true
	}
	return !j.isHealthy() && q.reason.Reason != v1alpha1.ReasonRateLimited
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
