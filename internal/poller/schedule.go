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
	// PollIntervalMin and PollIntervalMax bound the adaptive interval, and
	// PollIntervalFactor is its share of the time that the job has been running:
	// the end of a job is seen at most that share late.
	PollIntervalMin, PollIntervalMax time.Duration
	PollIntervalFactor               float64

	// ListInterval is the time from one list of a connection's active jobs to the
	// next, where lists pay; 0 for no lists. ListTrust is how long a job may go
	// without being asked for itself.
	ListInterval, ListTrust time.Duration

	// StatusRefreshInterval is the least time between two writes while only the
	// figures of a running job move.
	StatusRefreshInterval time.Duration

	// StallAfter is how long a job may be unreadable for a cause that somebody
	// must act upon before its DLIJob is Stalled.
	StallAfter time.Duration

	// NotFoundAfter is how long DLI must answer that it has no such job, at least
	// three times, before that is believed.
	NotFoundAfter time.Duration
}

// DefaultSchedule is the schedule of an operator without flags.
func DefaultSchedule() Schedule {
	return Schedule{
		PollIntervalMin:       5 * time.Second,
		PollIntervalMax:       time.Minute,
		PollIntervalFactor:    0.1,
		ListInterval:          5 * time.Second,
		ListTrust:             30 * time.Minute,
		StatusRefreshInterval: time.Minute,
		StallAfter:            2 * time.Minute,
		NotFoundAfter:         2 * time.Minute,
	}
}

// Validate returns an error that names every setting that cannot be.
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

// Backoff of a job that cannot be read.
const (
	// A retry that may succeed at any time.
	retryMin = time.Second
	// A retry of what DLI says will take a while.
	slowMin  = 30 * time.Second
	retryMax = 5 * time.Minute
	// A cause that somebody must act upon, or that is the endpoint's, is seen to be
	// gone within 30 s: this, its jitter, and the time of a poll.
	healMax = 24 * time.Second
)

// interval returns the time until the next poll of a job that was read. fixed is
// its pollIntervalSeconds, 0 for none, and running for how long it has been
// running. jitter in [-1, 1] moves an adaptive interval by a tenth either way, so
// that jobs that started together do not stay together.
func (s Schedule) interval(fixed time.Duration, state dli.State, running time.Duration, jitter float64) time.Duration {
	if fixed > 0 {
		return fixed
	}
	adaptive := time.Duration(s.PollIntervalFactor * float64(running))
	if state == dli.StateUnrecognized {
		adaptive = s.PollIntervalMax
	}
	return spread(min(max(adaptive, s.PollIntervalMin), s.PollIntervalMax), jitter)
}

// adaptive is the interval of a job that has been read, without jitter.
func (s Schedule) adaptive(j *job, now time.Time) time.Duration {
	return s.interval(0, j.state, j.running(now), 0)
}

// retry returns the time until a job that could not be read is polled again.
func (s Schedule) retry(f *connection.Failure, run Run, now time.Time, jitter float64) time.Duration {
	var wait time.Duration
	switch {
	case f.Reason == v1alpha1.ReasonJobNotFound:
		return s.confirmation(run, now)
	case f.NeedsAction():
		wait = healMax
	case f.Endpoint:
		wait = exponential(retryMin, healMax, run.Failures)
	case f.Kind == dli.KindSlow:
		wait = exponential(slowMin, retryMax, run.Failures)
	default:
		wait = exponential(retryMin, retryMax, run.Failures)
	}
	return max(spread(wait, jitter), f.RetryAfter)
}

// confirmation returns the time until the next answer that can confirm that a
// job does not exist: several on the way, the last not before its time.
func (s Schedule) confirmation(run Run, now time.Time) time.Duration {
	step := max(s.NotFoundAfter/4, time.Second)
	left := s.NotFoundAfter - now.Sub(run.NotFoundSince)
	if run.NotFound >= 2 && left > 0 {
		return min(step, left)
	}
	return step
}

// firstPoll returns how long after now a job is polled that this process sees
// for the first time. A new job is polled at once. Of those that were polled
// before a restart, last time at last, each waits until it would have been due;
// the overdue follow within a second, the most overdue first.
func (s Schedule) firstPoll(last time.Time, interval time.Duration, now time.Time) time.Duration {
	if last.IsZero() {
		return 0
	}
	due := last.Add(interval)
	if wait := due.Sub(now); wait > 0 {
		// lastPollTime lags by up to a refresh, so a job is never later than that.
		return min(wait, s.PollIntervalMax)
	}
	overdue := now.Sub(due)
	return time.Duration(float64(restartSpread) * float64(time.Minute) / float64(time.Minute+overdue))
}

// restartSpread is the time within which the polls that a restart has missed
// are put in order.
const restartSpread = time.Second

// tick is what waits of a second and more are rounded up to, so that jobs which
// are due at about the same time are polled in one go: on a core that is idle
// between polls, waking up costs more than polling. A longer tick would make the
// bursts larger, and with them the number of TCP connections.
const tick = 20 * time.Millisecond

// onTick returns when a wait ends that ends on a tick.
func onTick(now time.Time, wait time.Duration) time.Time {
	if wait < time.Second {
		return now.Add(wait)
	}
	end := now.Add(wait + tick - 1)
	// Not Truncate, which would drop the monotonic reading.
	return end.Add(-time.Duration(end.UnixNano() % int64(tick)))
}

// exponential doubles from first with every failure after the first, to limit.
func exponential(first, limit time.Duration, failures int) time.Duration {
	wait := first
	for i := 1; i < failures && wait < limit; i++ {
		wait *= 2
	}
	return min(wait, limit)
}

// spread moves d by jitter tenths of itself.
func spread(d time.Duration, jitter float64) time.Duration {
	return d + time.Duration(jitter*float64(d)/10)
}
