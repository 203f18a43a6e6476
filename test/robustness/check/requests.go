// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"slices"
	"time"
)

// Request is a request that reached DLI.
type Request struct {
	At time.Time
	// Process sent it. Replica is the name under which it takes part in the leader
	// election; "" if it does not.
	Process, Replica string
	// Connection is the connection whose rate limit applies, and Key the access key.
	Connection, Key string
	// Rejected is set if the key was not accepted.
	Rejected bool
}

// Rating is a connection's rate limit.
type Rating struct{ PerSecond, Burst float64 }

// callers are the processes that send requests.
type callers struct {
	// newest is when the newest process sent its first request.
	newest time.Time
	// processes has when each process sent its first request.
	processes map[string]time.Time
	buckets   map[[2]string]*bucket
	// probes are the requests of a process for a dead connection since its grace.
	probes map[[2]string]*outage
	// dead is when the outage began; zero for none.
	dead  time.Time
	grace time.Duration
	// rejected are the attempts with each key.
	rejected map[string][]time.Time
}

// bucket is what a process may still send for a connection.
type bucket struct {
	tokens float64
	at     time.Time
}

// outage is what a process sent for a connection during an outage.
type outage struct {
	first  time.Time
	probes int
}

func newCallers() callers {
	return callers{processes: map[string]time.Time{}, buckets: map[[2]string]*bucket{}, rejected: map[string][]time.Time{}}
}

// Requested checks a request.
func (h *History) Requested(r Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.callers.processes[r.Process].IsZero() {
		h.callers.processes[r.Process] = r.At
		h.callers.newest = r.At
	}
	h.rate(r)
	h.breaker(r)
	if r.Rejected {
		h.lockout(r)
	}
	if r.Replica != "" {
		h.leases.pending = append(h.leases.pending, r)
		h.leased(r.At)
	}
}

// rate checks that a process stays within the limit of a connection. Each process starts
// with a full burst.
func (h *History) rate(r Request) {
	limit, ok := h.budget.Rates[r.Connection]
	if !ok {
		return
	}
	key := [2]string{r.Connection, r.Process}
	b := h.callers.buckets[key]
	if b == nil {
		b = &bucket{tokens: limit.Burst, at: r.At}
		h.callers.buckets[key] = b
	}
	b.tokens = min(limit.Burst, b.tokens+max(0, r.At.Sub(b.at).Seconds())*limit.PerSecond) - 1
	b.at = r.At
	h.hold(b.tokens >= -h.budget.Slack, r.At, Rate, r.Connection, "%s sent %.1f requests more than %v per second with a burst of %v allow",
		r.Process, -b.tokens, limit.PerSecond, limit.Burst)
	if b.tokens < -h.budget.Slack {
		b.tokens = 0
	}
}

// Recreated records that a connection is deleted and created again, which renews its burst.
func (h *History) Recreated(connection string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, b := range h.callers.buckets {
		if key[0] == connection {
			b.tokens += h.budget.Rates[connection].Burst
		}
	}
}

// Dead records that every request fails from now on, which a process can detect within the
// grace period; a zero time ends that.
func (h *History) Dead(from time.Time, grace time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.callers.dead, h.callers.grace = from, grace
	h.callers.probes = map[[2]string]*outage{}
}

// probeInterval is the least time between two probes: while a single job may be the cause,
// another one is polled each second.
const probeInterval = 900 * time.Millisecond

// breaker checks that after the grace period only probes are sent to a dead endpoint.
func (h *History) breaker(r Request) {
	if h.callers.dead.IsZero() || r.At.Before(h.callers.dead) {
		return
	}
	key := [2]string{r.Connection, r.Process}
	o := h.callers.probes[key]
	if o == nil {
		o = &outage{first: r.At}
		h.callers.probes[key] = o
	}
	since := r.At.Sub(o.first) - h.callers.grace
	if since < 0 {
		return
	}
	o.probes++
	allowed := 3 + int(since/probeInterval)
	// Reported once, not for each further request.
	h.hold(o.probes != allowed+1, r.At, Breaker, r.Connection, "%s polls a dead endpoint for the %dth time, %v after the grace period",
		r.Process, o.probes, since.Round(time.Millisecond))
}

// The limits of attempts with a rejected key, over all processes. Requests that arrive
// within a second of an attempt were in flight with it.
const (
	attempts       = 5
	attemptsWindow = 5 * time.Minute
	sameAttempt    = time.Second
)

// lockout checks that a rejected key is not tried too often.
func (h *History) lockout(r Request) {
	times := h.callers.rejected[r.Key]
	if n := len(times); n > 0 && r.At.Sub(times[n-1]) <= sameAttempt {
		return
	}
	times = append(slices.DeleteFunc(times, func(t time.Time) bool { return r.At.Sub(t) >= attemptsWindow }), r.At)
	h.callers.rejected[r.Key] = times
	h.hold(len(times) <= attempts, r.At, Lockout, r.Key, "rejected %d times within %v", len(times), r.At.Sub(times[0]).Round(time.Second))
}
