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
	// If a single job can cause the failures, the first probe is sent soon, each
	// later one after twice the time, up to the probe interval.
	firstProbe = time.Second
	// While a single job may be the cause, other jobs are polled in addition to the
	// probes, at this interval: jobs that were never polled, once each, and up to
	// maxLooks jobs whose last poll succeeded.
	lookInterval = 500 * time.Millisecond
	maxLooks     = 100
)

// circuit is the circuit breaker of an endpoint. While it is open, one job is
// polled at a time, at most once per probe interval and a different one each time;
// the first success closes it.
//
// It counts jobs and kinds of failure because some jobs fail no matter what the
// endpoint does: they must not block the others.
type circuit struct {
	probe time.Duration
	// failures counts the failures since the last success; jobs are the different
	// jobs that had them, up to circuitJobs.
	failures int
	jobs     []string
	// certain is set if no single job can cause the latest failure.
	certain bool
	why     *Failure

	open bool
	// probing is set while a probe is in flight; probeAt is when the next one may
	// be sent, and step the time between the starts of the two.
	probing         bool
	probeAt, lookAt time.Time
	step            time.Duration
	// looks is how many more jobs whose last poll succeeded may be polled.
	looks int
}

// decision implements policy.
func (c *circuit) decide(now time.Time) decision {
	if !c.open {
		return decision{}
	}
	s := decision{failure: c.why, admit: AdmitNone, health: Failf(v1alpha1.ReasonCircuitOpen,
		"requests are held back, except for a probe every %v: %s", c.probe, c.why.Message)}
	if !c.probing {
		s.admit, s.sendAt = AdmitProbe, c.probeAt
	}
	// The next look at another job may come long before the next probe.
	if !c.certain && (c.probing || now.Before(c.probeAt)) {
		s.admit, s.sendAt = AdmitFirstLook, c.lookAt
		if c.looks > 0 {
			s.admit = AdmitLook
		}
		if !c.probing {
			s.recheckAt = c.probeAt
		}
	}
	return s
}

// begin records that a request is sent at now, and reports whether it is the probe.
func (c *circuit) begin(admit Admit, now time.Time) (probe bool) {
	switch {
	case !c.open:
	case admit == AdmitLook || admit == AdmitFirstLook:
		c.lookAt = now.Add(lookInterval)
		c.looks--
	default:
		c.probing, probe = true, true
		c.probeAt = now.Add(c.step)
	}
	return probe
}

// end records at now what a request showed about the endpoint.
func (c *circuit) end(r *Request, e evidence, now time.Time) {
	// Requests sent before the circuit opened may return while it is open; they are
	// not probes.
	probe := c.open && r.probe
	if probe {
		c.probing = false
	}
	switch {
	case !e.answered:
		return
	case e.fault == noFault:
		c.close()
		return
	}
	c.failures++
	c.certain, c.why = e.fault == certainFault, e.why
	if len(c.jobs) < circuitJobs && !slices.Contains(c.jobs, r.job) {
		c.jobs = append(c.jobs, r.job)
	}
	switch {
	case probe:
		c.step = min(2*c.step, c.probe)
	case !c.open && c.failures >= circuitFailures && (c.certain || len(c.jobs) == circuitJobs):
		c.open, c.step, c.looks = true, c.probe, maxLooks
		if !c.certain {
			c.step = min(firstProbe, c.probe)
		}
		// Counted from the start of the last request, not from its timeout.
		c.probeAt, c.lookAt = later(r.began.Add(c.step), now), now
	}
}

func (c *circuit) close() {
	*c = circuit{probe: c.probe, jobs: c.jobs[:0]}
}
