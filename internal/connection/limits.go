// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"slices"
	"time"
)

const (
	// A request that takes longer than this frees its place for another one: a few
	// jobs that hang must not block the others.
	slowAfter = 2 * time.Second
	// Including slow requests, this many times the usual number may be in flight.
	slowFactor = 4
)

// inFlight limits the requests in flight.
type inFlight struct {
	// limit is the limit of requests that are not slow, which they become after
	// slow; most is the limit including slow ones.
	limit, most int
	slow        time.Duration
	// sentAt holds when they were sent, oldest first.
	sentAt []time.Time
}

// decisionAt implements policy.
func (f *inFlight) decisionAt(now time.Time) Decision {
	n := len(f.sentAt)
	if n < f.limit {
		return Decision{}
	}
	if n >= f.most {
		return Decision{Admit: AdmitNone}
	}
	if isSlowAt := f.sentAt[n-f.limit].Add(f.slow); now.Before(isSlowAt) {
		return waitUntil(isSlowAt, nil)
	}
	return Decision{}
}

// requestSent records that a request is sent. Each must end.
func (f *inFlight) requestSent(now time.Time) { f.sentAt = append(f.sentAt, now) }

func (f *inFlight) requestDone(sentAt time.Time) {
	if i := slices.IndexFunc(f.sentAt, sentAt.Equal); i >= 0 {
		f.sentAt = slices.Delete(f.sentAt, i, i+1)
	}
}
