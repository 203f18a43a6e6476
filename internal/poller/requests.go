// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// pollJob sends the status call for a job.
func (q *queue) pollJob(ctx context.Context, conn *connection.Connection, j *job, now time.Time) {
	request := conn.Begin(now, connection.CallStatus, j.target.Type, j.target.JobID, j.failures.Reason)
	if request == nil {
		return // Decide now says why
	}
	// Waiting for a turn counts as lateness, a failure of the connection does not.
	late := max(0, min(now.Sub(j.dueAt), now.Sub(q.heldUntil)))
	q.config.Recorder.PollLateness(late)
	if !j.isFailing() && late > q.config.Schedule.pollInterval(j, now, 0) {
		q.overloadedAt = now
	}
	q.turn = max(q.turn, j.turn)
	j.leaveHeap()
	j.inFlight, j.pollRequest, j.sentAt = true, j.target.PollRequest, now
	sendRequest(ctx, q, request, j.isFailing(), (*connection.Request).SendStatus, func(status *dli.JobStatus, err error, arrivedAt time.Time) {
		q.handleStatus(ctx, j, status, err, arrivedAt)
	})
}

// handleStatus handles the response to a status call.
func (q *queue) handleStatus(ctx context.Context, j *job, status *dli.JobStatus, err error, now time.Time) {
	j.inFlight = false
	failure, isFailure := connection.AsFailure(err)
	switch {
	case j.queue == nil: // the job is no longer watched, or has no connection
		return
	case j.queue != q || errors.Is(err, connection.ErrOutdated): // it says nothing about this job
		j.queue.pollAt(j, now)
		return
	case err != nil && !isFailure: // not sent
		q.pollAt(j, now.Add(time.Second))
		return
	}
	q.logPoll(j, status, failure, now)
	dueAt, schedule := time.Time{}, q.config.Schedule // zero means never
	j.isSpotCheck = false
	if isFailure {
		q.deliverIf(j.recordFailure(failure, j.sentAt, now, schedule.StatusRefreshInterval), j)
		// DLI may no longer have a job that has ended.
		if !j.target.Completed || failure.Reason != v1alpha1.ReasonJobNotFound {
			dueAt = onTick(now, schedule.retryWait(failure, *j.failures, now, q.config.Jitter()))
		}
	} else {
		if q.lists.compareStatus(j, status.State, now) {
			q.config.Recorder.ListDiffered()
		}
		q.deliverIf(j.recordStatus(status, j.sentAt, now, schedule.StatusRefreshInterval), j)
		if j.active && !j.target.Completed {
			dueAt = schedule.nextPoll(j, now, q.config.Jitter())
		}
		q.readProgress(ctx, j, now)
	}
	if j.wantsPoll() {
		dueAt = now
	}
	if !dueAt.IsZero() {
		q.pollAt(j, dueAt)
	}
}

func (q *queue) logPoll(j *job, status *dli.JobStatus, failure *connection.Failure, now time.Time) {
	log := q.config.Log.V(1)
	if !log.Enabled() {
		return
	}
	log = log.WithValues("dlijob", j.target.Key, "jobID", j.target.JobID, "took", now.Sub(j.sentAt))
	if failure != nil {
		log.Info("Polled DLI job", "reason", failure.Reason, "message", failure.Message)
	} else {
		log.Info("Polled DLI job", "status", status.Status)
	}
}

// costInterval is the time between two requests for the cost of a job.
const costInterval = 30 * time.Second

// readProgress reads the progress of a job if wanted.
func (q *queue) readProgress(ctx context.Context, j *job, now time.Time) {
	if j.wantsProgress(now) && readDetail(ctx, q, j, connection.CallProgress, now, (*connection.Request).SendProgress, j.recordProgress) {
		j.progressDueAt = now.Add(q.config.Schedule.StatusRefreshInterval)
	}
}

// readCost reads the cost of a job, and tries again while it is wanted: DLI may not know it
// at once.
func (q *queue) readCost(ctx context.Context, j *job, now time.Time) {
	options := dli.ListOptions{JobID: j.target.JobID, PageSize: 1}
	wait := time.Second
	if readDetail(ctx, q, j, connection.CallList, now, sendList(options), j.recordCost) {
		wait = costInterval
	}
	q.pollAt(j, now.Add(wait))
}

// readDetail sends a call for a detail of a job, but only while no poll waits: it is
// informational, so it must not delay polls, and its failure has no effect. record records the
// response, and reports whether it is news. It reports whether the call was sent.
func readDetail[T any](
	ctx context.Context, q *queue, j *job, call string, now time.Time,
	send func(*connection.Request, context.Context, func() time.Time) (*T, error), record func(*T) bool,
) bool {
	conn := q.currentConnection()
	if conn == nil || q.waitingJobs() > 0 || !q.maySend() || conn.Decide(now).Admit != connection.AdmitAll {
		return false
	}
	request := conn.Begin(now, call, j.target.Type, j.target.JobID, "")
	if request == nil {
		return false
	}
	sendRequest(ctx, q, request, false, send, func(detail *T, err error, _ time.Time) {
		q.deliverIf(err == nil && j.queue == q && record(detail), j)
	})
	return true
}

// sendList returns the call for a list.
func sendList(options dli.ListOptions) func(*connection.Request, context.Context, func() time.Time) (*dli.JobList, error) {
	return func(r *connection.Request, ctx context.Context, clock func() time.Time) (*dli.JobList, error) {
		return r.SendList(ctx, clock, options)
	}
}

// sendPage requests a page of a list.
func (q *queue) sendPage(ctx context.Context, conn *connection.Connection, round *listRound, now time.Time) {
	request := conn.Begin(now, connection.CallList, round.jobType, "", "")
	if request == nil {
		return // Decide now says why
	}
	options := dli.ListOptions{
		Status: dli.ListFilter(round.jobType, round.state), Page: round.takePage(), PageSize: cmp.Or(q.lists.pageSize, dli.MaxPageSize),
	}
	sendRequest(ctx, q, request, false, sendList(options), func(list *dli.JobList, err error, arrivedAt time.Time) {
		if !slices.Contains(q.lists.rounds, round) {
			return // it has ended
		}
		switch failure, isFailure := connection.AsFailure(err); {
		case isFailure:
			q.lists.handleFailure(failure, q.config.Schedule, arrivedAt)
		case err != nil:
			q.lists.rounds = nil
		default:
			q.handlePage(ctx, round, options, list, now, arrivedAt)
		}
	})
}

// handlePage handles a page that was requested at sentAt.
func (q *queue) handlePage(ctx context.Context, r *listRound, options dli.ListOptions, list *dli.JobList, sentAt, now time.Time) {
	if !q.lists.addPage(r, options.Page, options.PageSize, list, now) {
		return
	}
	for i := range list.Jobs {
		row := &list.Jobs[i]
		if !q.lists.addRow(r, row, sentAt, now) {
			return
		}
		for _, j := range q.jobs[strings.ToLower(row.JobID)] {
			if row.State == r.state && r.showsJob(j, sentAt) {
				q.handleRow(ctx, j, row, sentAt, now)
			}
		}
	}
	if !r.isDone() {
		return
	}
	for _, j := range q.lists.finishRound(r, q.jobs, q.config.Schedule, now) {
		if !q.isWaiting(j) {
			q.pollAt(j, now)
		}
	}
}

// handleRow handles the row of a list that shows a job in its known state: its own poll
// can wait.
func (q *queue) handleRow(ctx context.Context, j *job, row *dli.JobRow, sentAt, now time.Time) {
	schedule := q.config.Schedule
	q.deliverIf(j.recordRow(row, sentAt, now, schedule.StatusRefreshInterval), j)
	if !j.wantsPoll() && !j.isSpotCheck {
		q.pollAt(j, connection.Later(schedule.nextPoll(j, now, q.config.Jitter()), onTick(now, schedule.ListInterval*3/2)))
	}
	q.readProgress(ctx, j, now)
}

// sendRequest makes the API call of a request, which its connection has admitted, and handles
// the response with the lock held; then others have their turn.
func sendRequest[T any](ctx context.Context, q *queue, request *connection.Request, isFailing bool, call func(*connection.Request, context.Context, func() time.Time) (T, error), handle func(response T, err error, now time.Time)) {
	q.countInFlight(1, isFailing)
	q.sent++
	q.requests.Go(func() {
		var response T
		var err error
		callCtx := ctx
		if mayPoll := q.config.MayPoll; mayPoll != nil && !mayPoll(q.config.Clock.Now()) {
			cancelled, cancel := context.WithCancel(ctx)
			cancel() // only what was reserved is released
			callCtx = cancelled
		}
		if failure := q.recoverPanic(func() { response, err = call(request, callCtx, q.config.Clock.Now) }); failure != nil {
			err = failure
		}
		now := q.config.Clock.Now()
		q.mu.Lock()
		defer q.mu.Unlock()
		q.countInFlight(-1, isFailing)
		if failure := q.recoverPanic(func() { handle(response, err, now) }); failure != nil {
			var none T
			_ = q.recoverPanic(func() { handle(none, failure, now) })
		}
		q.requestDone(ctx, err, now)
	})
}

// requestDone serves the queue after a request has returned.
func (q *queue) requestDone(ctx context.Context, err error, now time.Time) {
	if conn := q.currentConnection(); conn != nil {
		q.noteHealth(conn, err, now)
	}
	if ctx.Err() != nil {
		return
	}
	q.wakeBefore(q.runDue(ctx, now))
}

func (q *queue) currentConnection() *connection.Connection { return q.config.Connections.Get(q.key) }

// noteHealth calls Changed if the health of the connection has changed.
func (q *queue) noteHealth(conn *connection.Connection, err error, now time.Time) {
	health := conn.Health(now)
	// Rejections are recorded even while the health stays the same.
	failure, isFailure := connection.AsFailure(err)
	if health != q.health || isFailure && failure.Reason == v1alpha1.ReasonCredentialsRejected {
		q.health = health
		q.config.Changed(q.key)
	}
}

// recoverPanic calls f. If it panics, it logs the stack, once for the same panic in a row, and
// returns a failure: the others must go on.
func (s *shared) recoverPanic(f func()) (failure *connection.Failure) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		failure = connection.Failf(v1alpha1.ReasonInvalidResponse, "the operator could not handle the response because of an internal error, see its log; it retries")
		if text := fmt.Sprint(value); text != s.lastPanic {
			s.lastPanic = text
			s.config.Log.Error(fmt.Errorf("panic: %s", text), "Handling a response from DLI failed", "stack", string(debug.Stack()))
		}
	}()
	f()
	return nil
}
