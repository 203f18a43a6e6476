// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

const (
	// A job whose headline changes more than flapChanges times within flapWindow is
	// delivered like one whose figures change, until it settles.
	flapChanges = 4
	flapWindow  = time.Minute
	// A duration alone is delivered after this many refresh intervals at the soonest: most
	// jobs end before that, and the end has it.
	durationIntervals = 5
)

// isNews is the one rule of news: it reports whether the next result is to be delivered,
// and remembers it if it is. A changed headline is delivered at once, everything else at
// most once per refresh interval, and a duration alone once it doubled, after some of them.
func (d *lastDelivered) isNews(next lastDelivered, now time.Time, refresh time.Duration) bool {
	next.time, next.settledAt = now, d.settledAt
	elapsed := now.Sub(d.time)
	switch {
	case d.time.IsZero():
	case d.headline != next.headline || d.failed != next.failed:
		d.settledAt = connection.Later(d.settledAt, now).Add(flapWindow / flapChanges)
		if d.settledAt.Sub(now) > flapWindow && elapsed < refresh {
			return false
		}
		next.settledAt = connection.Sooner(d.settledAt, now.Add(2*flapWindow))
	case d.rest == 0: // what an earlier process has stored is no news
		d.rest, d.figures = next.rest, next.figures
		return false
	case elapsed < refresh:
		return false
	case d.rest == next.rest && d.figures.EqualCounts(&next.figures) &&
		(elapsed < durationIntervals*refresh || !hasDoubled(d.figures.Duration, next.figures.Duration)):
		return false
	}
	*d = next
	return true
}

// hasDoubled reports whether a duration is at least twice the one before, or has become
// known or unknown.
func hasDoubled(before, after *time.Duration) bool {
	if before == nil || after == nil {
		return before != after
	}
	return *after >= 2**before && *after > 0 || *after < *before/2
}

// recordStatus records a status for which the request was sent at sentAt, and reports
// whether it is news.
func (j *job) recordStatus(status *dli.JobStatus, sentAt, now time.Time, refresh time.Duration) bool {
	ended := status.State.HasEnded()
	result := Result{Status: status, SentAt: sentAt, ArrivedAt: now, PollRequest: j.pollRequest, Ended: ended && j.active,
		isRefresh: status.Status == j.lastDelivered.headline && j.pollRequest == ""}
	j.failures = noFailures
	if status.State != j.state || j.lastDelivered.time.IsZero() {
		j.isExpected = true // lists should show it in its new state
	}
	j.state, j.active = status.State, !ended
	if !j.isRunning() {
		j.progress = nil
	}
	if running, isKnown := status.RunningTime(now); isKnown {
		j.started = now.Add(-running)
	}
	next := deliveredStatus(status)
	// An outcome is delivered whatever came before.
	if ended && j.lastDelivered.headline != next.headline {
		j.lastDelivered.time = time.Time{}
	}
	isNews := j.lastDelivered.isNews(next, now, refresh)
	return (isNews || j.pollRequest != "") && j.keepResult(result)
}

// recordRow records the row of a list that shows the job in its known state, and reports
// whether it is news. Neither the start of the job nor its duration is taken from it:
// lists may count differently.
func (j *job) recordRow(row *dli.JobRow, sentAt, now time.Time, refresh time.Duration) bool {
	figures := j.lastDelivered.figures
	figures.Update(&row.Figures)
	next := j.lastDelivered
	next.figures = figures
	// A result that is not stored yet has more than a row, so it is kept, and so has the next
	// poll of a job that nothing was delivered of.
	if j.result != nil || j.lastDelivered.time.IsZero() || !j.lastDelivered.isNews(next, now, refresh) {
		return false
	}
	if figures.Duration != nil && !j.started.IsZero() {
		figures.Duration = new(now.Sub(j.started).Truncate(time.Millisecond))
	}
	return j.keepResult(Result{Listed: &figures, SentAt: sentAt, ArrivedAt: now, isRefresh: true})
}

// recordFailure records a failed poll for which the request was sent at sentAt, and
// reports whether it is news. A single temporary failure after a successful poll is not;
// responses that may confirm that the job does not exist always are.
func (j *job) recordFailure(f *connection.Failure, sentAt, now time.Time, refresh time.Duration) bool {
	notFound := f.Reason == v1alpha1.ReasonJobNotFound
	isBlip := j.isHealthy() && !f.NeedsAction() && !notFound
	j.failures = new(j.failures.afterFailure(f, sentAt, now))
	if isBlip {
		return false
	}
	isNews := j.lastDelivered.isNews(deliveredFailure(f), now, refresh) || notFound
	return isNews && j.keepResult(Result{Failure: f, SentAt: sentAt, ArrivedAt: now, PollRequest: j.pollRequest})
}

// recordHeldBack records why a job is not polled, and reports whether that is news.
func (j *job) recordHeldBack(f *connection.Failure, now time.Time, refresh time.Duration) bool {
	j.failures = new(j.failures.heldBack(f, now))
	return j.lastDelivered.isNews(deliveredFailure(f), now, refresh) && j.keepResult(Result{Failure: f, SentAt: now, ArrivedAt: now})
}

// keepResult keeps a result until it is stored, and replaces an older one. A failure does not
// replace the end of a job. It reports whether the result was kept.
func (j *job) keepResult(r Result) bool {
	if j.hasUnstoredEnd() {
		if r.Status == nil {
			return false
		}
		r.Ended = r.Ended || j.result.Ended
	}
	r.Failures = *j.failures
	j.result = new(r)
	return true
}
