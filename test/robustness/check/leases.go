// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"slices"
	"time"
)

// leases are the times in which each replica held the lease.
type leases struct {
	held []held
	// unknown is the time in which the holder was last not known.
	unknown held
	// pending are requests whose lease may not be known yet.
	pending []Request
}

type held struct {
	replica     string
	from, until time.Time
}

func (s held) covers(at time.Time) bool {
	return !at.Before(s.from.Add(-inFlight)) && !at.After(s.until.Add(inFlight))
}

const (
	// inFlight is how long after the end of a lease a request may arrive that was sent
	// before, and how long before its begin.
	inFlight = time.Second
	// patience is how long after a request versions of the lease may become known.
	patience = 10 * time.Second
)

// Leased records a version of the lease: who holds it, "" for nobody, and since when
// without a renewal.
func (h *History) Leased(replica string, renewed time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leases.take(held{replica, renewed, renewed.Add(h.budget.Lease)})
}

func (l *leases) take(next held) {
	if n := len(l.held); n > 0 {
		last := &l.held[n-1]
		if last.replica == next.replica {
			last.until = next.until
			return
		}
		if next.from.Before(last.until) {
			last.until = next.from
		}
	}
	l.held = append(l.held, next)
}

// restored records that the lease became an earlier version again in the time from began
// until at. Both its holders may believe in it for as long as it lasts.
func (l *leases) restored(began, at time.Time, lasts time.Duration) {
	l.unknown = held{from: began.Add(-lasts), until: at.Add(lasts)}
}

// leased checks the requests whose lease must be known by now.
func (h *History) leased(now time.Time) {
	l := &h.leases
	for len(l.pending) > 0 && now.Sub(l.pending[0].At) > patience {
		r := l.pending[0]
		l.pending = l.pending[1:]
		ok := l.unknown.covers(r.At) || slices.ContainsFunc(l.held, func(s held) bool { return s.replica == r.Replica && s.covers(r.At) })
		h.hold(ok, r.At, Lease, r.Process, "sent a request without the lease")
	}
	// Older ones are no longer asked for.
	l.held = slices.DeleteFunc(l.held, func(s held) bool { return now.Sub(s.until) > time.Minute })
}
