// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
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
