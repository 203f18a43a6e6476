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

package controllers

import (
	"slices"
	"sync"
	"time"
)

// Bounds of what is tried with credentials that DLI has rejected. More than
// five signature failures in a row lock an access key for all its users.
const (
	gateWindow   = 5 * time.Minute
	gateFailures = 5
)

// gate guards one set of credentials at one endpoint. Credentials that were
// never accepted, or were rejected last, are tried by one request at a time;
// rejected ones once in a probe interval, and at most five times in any five
// minutes.
type gate struct {
	probe time.Duration

	mu       sync.Mutex
	proven   bool
	inFlight int
	// rejected holds the times of the latest rejections, at most gateFailures,
	// since the credentials were last accepted.
	rejected    []time.Time
	lockedUntil time.Time
	// touched is when the gate was last used.
	touched time.Time
}

// enter lets a request pass, or says when to try again. Each that passes must
// leave.
func (g *gate) enter(now time.Time) (passed bool, retryAt time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if retryAt := g.opensAt(now); now.Before(retryAt) {
		return false, retryAt
	}
	g.inFlight++
	g.touched = now
	return true, time.Time{}
}

// unprovenRetry is when a few try again that found another trying credentials
// for the first time; the rest is called when that went well.
const unprovenRetry = 100 * time.Millisecond

func (g *gate) opensAt(now time.Time) time.Time {
	opens := g.lockedUntil
	if n := len(g.rejected); n > 0 {
		opens = later(opens, g.rejected[n-1].Add(g.probe))
		if n == gateFailures {
			opens = later(opens, g.rejected[0].Add(gateWindow+time.Second))
		}
	}
	if !g.proven && g.inFlight > 0 {
		opens = later(opens, now.Add(unprovenRetry))
	}
	return opens
}

// opens is when the next request may pass; in the past when one may at now.
func (g *gate) opens(now time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opensAt(now)
}

// leave reports what became of a request that had entered and came back at now.
func (g *gate) leave(v verification, entered, now time.Time, locked time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	g.touched = now
	// What was sent before the last rejection came back proves nothing: the
	// credentials may have been revoked in between.
	last, closed := g.lastRejection()
	stale := closed && !entered.After(last)
	switch {
	case v == accepted && !stale:
		g.proven, g.rejected, g.lockedUntil = true, nil, time.Time{}
	case v == rejected:
		g.proven = false
		g.lockedUntil = later(g.lockedUntil, now.Add(locked))
		g.reject(now)
	case v == unverified && closed && !stale:
		// The service may have counted it, too.
		g.reject(now)
	}
}

func (g *gate) reject(now time.Time) {
	g.rejected = append(g.rejected, now)
	if surplus := len(g.rejected) - gateFailures; surplus > 0 {
		g.rejected = slices.Delete(g.rejected, 0, surplus)
	}
}

func (g *gate) lastRejection() (at time.Time, ok bool) {
	if len(g.rejected) == 0 {
		return time.Time{}, false
	}
	return g.rejected[len(g.rejected)-1], true
}

// closed tells whether the credentials were rejected last.
func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.rejected) > 0
}

// touch notes that the gate is in use at now.
func (g *gate) touch(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.touched = later(g.touched, now)
}

// forgettable tells whether a gate has nothing to remember that matters at now.
func (g *gate) forgettable(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inFlight == 0 && now.Sub(g.touched) > gateWindow && now.After(g.lockedUntil)
}

// verification is what an answer says of the credentials.
type verification int

const (
	// unverified: no answer came, or one that does not tell.
	unverified verification = iota
	accepted
	rejected
)

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
