// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"cmp"
	"time"
)

// Admit says which jobs may be polled.
type Admit int

// The values of Admit, each more restrictive than the one before.
const (
	// AdmitAll: every job may be polled.
	AdmitAll Admit = iota
	// AdmitProbe: one job, to check whether a failure persists: another one each time,
	// jobs that are healthy or new before those that fail.
	AdmitProbe
	// AdmitNone: no job.
	AdmitNone
)

// Decision says which jobs may be polled.
type Decision struct {
	Admit Admit
	// RecheckAt is when more jobs may be polled than Admit says; zero if only a
	// response or a change of the connection changes that.
	RecheckAt time.Time
	// Reason is the failure reported for waiting jobs; nil if they merely wait. health
	// is what the connection reports of itself; for a single policy, nil means Reason.
	Reason, health *Failure
}

// policy is one rule that limits a connection. It has no clock, lock or goroutine
// of its own.
type policy interface {
	decisionAt(now time.Time) Decision
}

// allPolicies returns all policies, in the order in which they are reported.
func (c *Connection) allPolicies() [4]policy {
	return [...]policy{&c.credentials, &c.circuit, &c.throttle, &c.inFlight}
}

// Decide says which jobs may be polled.
func (c *Connection) Decide(now time.Time) Decision {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		return Decision{Admit: AdmitNone, Reason: c.misconfigured}
	}
	c.credentials.isWanted = true
	return c.decisionAt(now)
}

// decisionAt is what all policies together say.
func (c *Connection) decisionAt(now time.Time) (all Decision) {
	for _, p := range c.allPolicies() {
		one := p.decisionAt(now)
		all.Admit, all.RecheckAt = max(all.Admit, one.Admit), Sooner(all.RecheckAt, one.RecheckAt)
		all.Reason, all.health = cmp.Or(all.Reason, one.Reason), cmp.Or(all.health, one.health, one.Reason)
	}
	return all
}

// waitUntil is the decision to admit no job before a time.
func waitUntil(recheckAt time.Time, reason *Failure) Decision {
	return Decision{Admit: AdmitNone, RecheckAt: recheckAt, Reason: reason}
}

// Sooner is the earlier of two times, where zero means never, as in
// Decision.RecheckAt.
func Sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Later is the later of two times.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
