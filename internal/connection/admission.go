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

package connection

import "time"

// Admit says which jobs may be polled.
type Admit int

// The values of Admit, each more restrictive than the one before.
const (
	// AdmitAll: every job may be polled.
	AdmitAll Admit = iota
	// AdmitProbe: one job, to check whether the failure persists; preferably one whose
	// last poll succeeded.
	AdmitProbe
	// AdmitLook: one job that is not known to fail.
	AdmitLook
	// AdmitFirstLook: one job that was never polled.
	AdmitFirstLook
	// AdmitNone: no job until a request returns or the connection changes.
	AdmitNone
)

// decision is the decision of a policy at a time.
type decision struct {
	admit Admit
	// failure is reported for waiting jobs; nil if they merely wait. health is what
	// the connection reports of itself if that differs; else nil.
	failure, health *Failure
	// sendAt is when a request may be sent; in the past if immediately.
	sendAt time.Time
	// recheckAt is when to check whether more jobs may be polled than admit says; zero
	// if only a returning request changes that.
	recheckAt time.Time
}

// policy is one rule that limits a connection. It has no clock, lock or goroutine
// of its own.
type policy interface {
	decide(now time.Time) decision
}

// policies returns all policies, in the order in which they are reported.
func (c *Connection) policies() [5]policy {
	return [...]policy{&c.credentials, &c.circuit, &c.throttle, &c.pace, &c.inFlight}
}

// Decision says which jobs may be polled at a time.
type Decision struct {
	Admit Admit
	// RecheckAt is when more jobs may be polled than Admit says; zero if only a returning
	// request or a change of the connection changes that.
	RecheckAt time.Time
	// Reason is the failure reported for waiting jobs; nil if they merely wait.
	Reason *Failure
}

// Sooner is the earlier of two times, where zero means never, as in Decision.RecheckAt.
func Sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Decide says which jobs may be polled at now.
func (c *Connection) Decide(now time.Time) Decision {
	c.mu.Lock()
	defer c.mu.Unlock()
	decision := Decision{Admit: AdmitNone, Reason: c.broken}
	if c.closed || c.broken != nil {
		return decision
	}
	decision.Admit = AdmitAll
	c.pace.adapt(c.throttle.rate(now), c.throttle.adapted(now), now)
	var sendAt, recheckAt time.Time
	for _, p := range c.policies() {
		s := p.decide(now)
		if decision.Reason == nil {
			decision.Reason = s.failure
		}
		decision.Admit, sendAt, recheckAt = max(decision.Admit, s.admit), later(sendAt, s.sendAt), Sooner(recheckAt, s.recheckAt)
	}
	decision.RecheckAt = recheckAt
	if decision.Admit != AdmitNone && now.Before(sendAt) {
		decision.Admit, decision.RecheckAt = AdmitNone, sendAt
	}
	return decision
}
