// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"math"
	"time"
)

const (
	// How long to wait if DLI throttles without saying for how long, and the maximum
	// if it does.
	defaultPause = 5 * time.Second
	maxPause     = 10 * time.Minute
)

// throttle is the rate limit of a connection, adapted to what DLI accepts. A throttled request
// pauses the connection and cuts its rate; the rate then quickly returns to just
// below the one that was too high, stays there for a while, and grows again, faster
// and faster, until DLI throttles again or the configured rate is reached. Most of
// the time is spent just below what DLI accepts.
type throttle struct {
	// configured and burst are those of the connection's spec, in requests per second
	// and requests.
	configured, burst float64
	// tokens are how many requests the rate allowed at countedAt; burst while that is zero.
	tokens    float64
	countedAt time.Time
	// limit is the rate that was too high; 0 while the configured one applies.
	limit       float64
	pausedUntil time.Time
	// refused is set while nothing was accepted since the last pause. Further
	// throttled requests then say nothing about the rate.
	refused bool
	failure *Failure
}

// Fractions of the rate that was too high, and how long they apply.
const (
	cutShare, safeShare = 0.7, 0.95
	cutFor, safeFor     = 10.0, 45.0 // seconds
)

// decisionAt implements policy.
func (t *throttle) decisionAt(now time.Time) (decision Decision) {
	if now.Before(t.pausedUntil) {
		return waitUntil(t.pausedUntil, t.failure)
	}
	if missing := 1 - t.tokensAt(now); missing > 0 {
		wait := time.Duration(missing / t.currentRate(now) * float64(time.Second))
		decision = waitUntil(now.Add(max(wait, time.Millisecond)), nil)
	}
	if t.isAdapted(now) {
		decision.health = t.failure
	}
	return decision
}

// tokensAt returns how many requests the rate allows right now. While it is not the
// configured one, bursts are not allowed: they would exceed the limit that is being approached.
func (t *throttle) tokensAt(now time.Time) float64 {
	perSecond, burst := t.currentRate(now), t.burst
	if perSecond < t.configured {
		burst = min(max(1, math.Floor(perSecond/50)), t.burst)
	}
	return min(t.tokens+perSecond*now.Sub(t.countedAt).Seconds(), burst)
}

// requestSent records that a request is sent.
func (t *throttle) requestSent(now time.Time) {
	t.tokens, t.countedAt = t.tokensAt(now)-1, now
}

// currentRate is the current rate.
func (t *throttle) currentRate(now time.Time) float64 {
	if t.limit == 0 {
		return t.configured
	}
	seconds := max(0, now.Sub(t.pausedUntil).Seconds())
	recovered := min(seconds/cutFor, 1)
	beyond := max(0, seconds-cutFor-safeFor)
	share := cutShare + (safeShare-cutShare)*recovered + 0.005*beyond + 0.0005*beyond*beyond
	return min(max(share*t.limit, minRate), t.configured)
}

// minRate is the lowest rate under throttling, in requests per second.
const minRate = 0.2

// isAdapted reports whether the current rate is below the configured one.
func (t *throttle) isAdapted(now time.Time) bool { return t.currentRate(now) < t.configured }

// requestAccepted records that a request was not throttled.
func (t *throttle) requestAccepted(sentAt time.Time) {
	if !sentAt.Before(t.pausedUntil) {
		t.refused = false
	}
}

// slowDown records that a request was throttled. again is set if the last
// poll of the same job was throttled, too: while others are accepted, only that job
// is affected.
func (t *throttle) slowDown(failure *Failure, again bool, now time.Time) {
	if again && !t.refused {
		return
	}
	pause := failure.RetryAfter
	if pause <= 0 {
		pause = defaultPause
	}
	if !t.refused {
		t.limit = t.currentRate(now)
	}
	t.refused, t.failure = true, failure
	t.pausedUntil = Later(t.pausedUntil, now.Add(min(pause, maxPause)))
}
