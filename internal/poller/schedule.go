// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"errors"
	"fmt"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Schedule says when jobs are polled and when their status is written. The
// zero value is not useful; start from DefaultSchedule.
type Schedule struct {
	// PollIntervalMin and PollIntervalMax limit the adaptive interval, and
	// PollIntervalFactor is the interval as a fraction of the time that the job has
	// been running: the end of a job is seen at most that fraction late.
	PollIntervalMin, PollIntervalMax time.Duration
	PollIntervalFactor               float64

	// ListInterval is the time between two lists of a connection's active jobs, where
	// they cost little; 0 for no lists. ListTrust is the maximum time without an
	// individual poll of a job.
	ListInterval, ListTrust time.Duration

	// StatusRefreshInterval is the minimum time between two writes while only the
	// figures of a running job change.
	StatusRefreshInterval time.Duration

	// StallAfter is how long a job may be unreadable for a cause that requires user
	// action before its DLIJob is Stalled.
	StallAfter time.Duration

	// NotFoundAfter is how long DLI must report that it has no such job, at least
	// three times, before that is confirmed.
	NotFoundAfter time.Duration
}

// DefaultSchedule is the schedule of an operator without flags.
func DefaultSchedule() Schedule {
	return Schedule{
		PollIntervalMin:       5 * time.Second,
		PollIntervalMax:       time.Minute,
		PollIntervalFactor:    0.1,
		ListInterval:          5 * time.Second,
		ListTrust:             15 * time.Minute,
		StatusRefreshInterval: time.Minute,
		StallAfter:            2 * time.Minute,
		NotFoundAfter:         2 * time.Minute,
	}
}

// Validate returns an error that names every invalid setting.
func (s Schedule) Validate() error {
	var errs []error
	if s.PollIntervalMin <= 0 || s.PollIntervalMax < s.PollIntervalMin {
		errs = append(errs, fmt.Errorf("poll interval: the minimum (%v) must be positive and at most the maximum (%v)", s.PollIntervalMin, s.PollIntervalMax))
	}
	if inRange := s.PollIntervalFactor > 0 && s.PollIntervalFactor <= 1; !inRange {
		errs = append(errs, fmt.Errorf("poll interval: the factor (%v) must be above 0 and at most 1", s.PollIntervalFactor))
	}
	if s.StatusRefreshInterval < 0 || s.StallAfter < 0 || s.NotFoundAfter < 0 {
		errs = append(errs, errors.New("status refresh interval, stall after and not found after must not be negative"))
	}
	if s.ListInterval != 0 && (s.ListInterval < time.Second || s.ListTrust < s.ListInterval) {
		errs = append(errs, fmt.Errorf("list interval (%v) must be 0 or at least 1s, and at most the list trust (%v)", s.ListInterval, s.ListTrust))
	}
	return errors.Join(errs...)
}

// Backoff of a job that cannot be read. It waits no longer than a healthy one, so every
// failure of its own ends within a minute of its cause.
const (
	// For failures that may end at any time.
	retryMin = time.Second
	// For failures that take a while according to DLI.
	slowMin  = 30 * time.Second
	retryMax = time.Minute
	// The end of a failure that requires user action, or of the endpoint, is noticed
	// within 30 s: this, its jitter, and the time of a poll.
	healMax = 24 * time.Second
)

// pollInterval returns the time until the next poll of a job that was read. jitter in
// [-1, 1] changes an adaptive interval by up to ±10 %, so that jobs that started together
// drift apart.
func (s Schedule) pollInterval(j *job, now time.Time, jitter float64) time.Duration {
	if fixed := j.target.Interval; fixed > 0 {
		return fixed
	}
	adaptive := time.Duration(s.PollIntervalFactor * float64(j.runningFor(now)))
	if j.state == dli.StateUnrecognized {
		adaptive = s.PollIntervalMax
	}
	return withJitter(min(max(adaptive, s.PollIntervalMin), s.PollIntervalMax), jitter)
}

// nextPoll returns when a job that was read is due again.
func (s Schedule) nextPoll(j *job, now time.Time, jitter float64) time.Time {
	return onTick(now, s.pollInterval(j, now, jitter))
}

// retryWait returns the time until a job that could not be read is polled again. The hint of
// a response is a lower bound.
func (s Schedule) retryWait(f *connection.Failure, streak FailureStreak, now time.Time, jitter float64) time.Duration {
	first, limit := retryMin, retryMax
	switch {
	case f.Reason == v1alpha1.ReasonJobNotFound:
		return s.confirmationWait(streak, now)
	case f.NeedsAction():
		first, limit = healMax, healMax
	case f.Endpoint:
		limit = healMax
	case f.Kind == dli.KindSlow:
		first = slowMin
	}
	return max(withJitter(exponential(first, limit, streak.Count), jitter), f.RetryAfter)
}

// confirmationWait returns the time until the next poll that may confirm that a job does
// not exist: several polls in between, and the last one not before NotFoundAfter.
func (s Schedule) confirmationWait(streak FailureStreak, now time.Time) time.Duration {
	step := max(s.NotFoundAfter/4, time.Second)
	remaining := s.NotFoundAfter - now.Sub(streak.NotFoundSince)
	if streak.NotFound >= 2 && remaining > 0 {
		return min(step, remaining)
	}
	return step
}

// firstPoll returns how long to wait with the first poll of a job by this process. A new
// job is polled at once. One that was last polled before a restart waits until it would
// have been due; overdue ones follow within a second, the most overdue first, or, with a
// fixed interval, spread over it: they stay as far apart as they start.
func (s Schedule) firstPoll(j *job, now time.Time, jitter float64) time.Duration {
	if j.sentAt.IsZero() {
		return 0
	}
	due := j.sentAt.Add(s.pollInterval(j, now, jitter))
	if wait := due.Sub(now); wait > 0 {
		// lastPollTime lags by up to a refresh interval, so a job is never later.
		return min(wait, s.PollIntervalMax)
	}
	if fixed := j.target.Interval; fixed > 0 {
		return time.Duration((1 + jitter) / 2 * float64(min(fixed, s.PollIntervalMax)))
	}
	overdue := now.Sub(due)
	return time.Duration(float64(restartSpread) * float64(time.Minute) / float64(time.Minute+overdue))
}

// restartSpread is the time over which overdue polls are spread after a restart.
const restartSpread = time.Second

// tick is the granularity to which waits of a second or more are rounded up, so that
// jobs that are due at about the same time are polled together: on a core that is
// idle between polls, waking up costs more than polling. A longer tick would make the
// bursts larger, and so the number of TCP connections.
const tick = 20 * time.Millisecond

// onTick returns when a wait ends, rounded up to a tick.
func onTick(now time.Time, wait time.Duration) time.Time {
	if wait < time.Second {
		return now.Add(wait)
	}
	end := now.Add(wait + tick - 1)
	// Not Truncate, which would drop the monotonic reading.
	return end.Add(-time.Duration(end.UnixNano() % int64(tick)))
}

// exponential starts with first and doubles with every further failure, up to limit.
func exponential(first, limit time.Duration, failures int) time.Duration {
	wait := first
	for i := 1; i < failures && wait < limit; i++ {
		wait *= 2
	}
	return min(wait, limit)
}

// withJitter changes d by jitter tenths of itself.
func withJitter(d time.Duration, jitter float64) time.Duration {
	return d + time.Duration(jitter*float64(d)/10)
}
