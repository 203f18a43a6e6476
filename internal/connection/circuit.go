// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"slices"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

const (
	// A circuit opens after this many consecutive failures. If a single job can
	// cause them, they must come from this many different jobs.
	circuitFailures = 5
	circuitJobs     = 3
	// While a single job may be the cause, probes are this often: one of them finds the
	// jobs that can be read.
	suspectInterval = time.Second
)

// circuit is the circuit breaker of an endpoint. It opens on failures that no single
// job can cause, or on failures of several different jobs with no other response
// between them. While it is open, one job is polled at a time; the first response of
// the endpoint closes it.
type circuit struct {
	probe time.Duration
	// failures counts the failures since the last other response; jobs are the
	// different jobs that had them, up to circuitJobs.
	failures int
	jobs     []string
	failure  *Failure // the latest
	isOpen   bool
	probeAt  time.Time
}

// probeInterval is the time between two probes.
func (c *circuit) probeInterval() time.Duration {
	if c.failure.isCertain {
		return c.probe
	}
	return min(suspectInterval, c.probe)
}

// decisionAt implements policy.
func (c *circuit) decisionAt(now time.Time) Decision {
	if !c.isOpen {
		return Decision{}
	}
	decision := Decision{Admit: AdmitProbe, Reason: c.failure}
	if now.Before(c.probeAt) {
		decision = waitUntil(c.probeAt, c.failure)
	}
	decision.health = Failf(v1alpha1.ReasonCircuitOpen,
		"requests are held back, except for a probe every %v: %s", c.probeInterval(), c.failure.Message)
	return decision
}

// requestSent records that a request is sent.
func (c *circuit) requestSent(now time.Time) {
	if c.isOpen {
		c.probeAt = now.Add(c.probeInterval())
	}
}

// requestDone records what the request of a job showed about the endpoint.
func (c *circuit) requestDone(jobID string, failure *Failure, sentAt, now time.Time) {
	if failure == nil || !failure.Endpoint {
		*c = circuit{probe: c.probe, jobs: c.jobs[:0]}
		return
	}
	c.failures++
	c.failure = failure
	if len(c.jobs) < circuitJobs && !slices.Contains(c.jobs, jobID) {
		c.jobs = append(c.jobs, jobID)
	}
	switch {
	case c.isOpen:
		c.probeAt = Sooner(c.probeAt, now.Add(c.probeInterval()))
	case c.failures >= circuitFailures && (failure.isCertain || len(c.jobs) == circuitJobs):
		// Counted from the start of the last request, not from its timeout.
		c.isOpen, c.probeAt = true, Later(sentAt.Add(c.probeInterval()), now)
	}
}
