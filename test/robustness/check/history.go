// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package check implements the invariants of the robustness test: what must hold at any
// time under all faults, for every DLIJob, every DLIConnection and every request to DLI.
//
// It receives events in the order in which they became known, and has no clock and no
// clients, so that hand-written histories are checked like real runs. In reading order:
// history.go (what is counted), jobs.go (versions of DLIJobs), requests.go (requests to
// DLI), leases.go (who may send them).
package check

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// Invariant is the name of an invariant.
type Invariant string

// The invariants of DLIJobs and DLIConnections.
const (
	// Given: an outcome is only shown after DLI reported it.
	Given Invariant = "outcome given before shown"
	// Kept: a shown outcome, and what was shown with it, does not change.
	Kept Invariant = "outcome kept"
	// Figures: figures of a completed job only change after a requested poll.
	Figures Invariant = "figures of completed jobs kept"
	// Forward: what is shown of a running job is never older than what was shown before.
	Forward Invariant = "figures never go back"
	// Gate: kstatus is Current only after success, and the conditions agree with
	// the outcome.
	Gate Invariant = "gates open only after success"
	// Writes: each version of an object has news for its readers.
	Writes Invariant = "writes within budget"
	// Fights: two operators do not take turns in writing one object.
	Fights Invariant = "no fight between operators"
	// Cause: a job is not told a cause that is not its own.
	Cause Invariant = "cause is the job's"
	// Ends: a job that has ended shows its outcome.
	Ends Invariant = "ends shown in time"
	// Schedule: jobs are polled whatever happens to writes.
	Schedule Invariant = "polls on schedule"
)

// The invariants of requests and of processes.
const (
	Lease    Invariant = "requests only with the lease"
	Rate     Invariant = "rate limit"
	Breaker  Invariant = "circuit breaker"
	Lockout  Invariant = "lockout guard"
	Leftover Invariant = "memory and goroutines given back"
	Alive    Invariant = "no crash"
	Logs     Invariant = "errors logged within budget"
)

// Violation is a violated invariant.
type Violation struct {
	Invariant Invariant
	At        time.Time
	// During names the faults that were injected at the time.
	During string
	// About is the job, connection or process, and Text what was observed.
	About, Text string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s %s: %s: %s [during %s]", v.At.Format("15:04:05.000"), v.Invariant, v.About, v.Text, v.During)
}

// Budget are the operator's limits.
type Budget struct {
	// NotFoundAfter is how long DLI must report that it has no such job.
	NotFoundAfter time.Duration
	// Refresh is the minimum time between two writes of figures.
	Refresh time.Duration
	// Versions is how many versions a DLIJob may have without faults, and PerFault how
	// many more for each fault during its lifetime.
	Versions, PerFault int
	// ConnectionVersions is how many versions a DLIConnection may have in a minute, and
	// ConnectionPerProcess how many more for each process that begins in it: it does not
	// know what the former one wrote.
	ConnectionVersions, ConnectionPerProcess int
	// Rates are the limits of the connections, and Slack is how many requests may
	// arrive early or late.
	Rates map[string]Rating
	Slack float64
	// Lease is how long a lease is valid without renewal.
	Lease time.Duration
	// Errors is how many errors a process may log in a minute.
	Errors int
}

// History checks the events that it receives. Its methods are safe for concurrent use.
type History struct {
	budget Budget
	report func(Violation)

	mu         sync.Mutex
	during     string
	faults     int
	checked    map[string]map[Invariant]int
	violations []Violation

	responses   map[string][]response
	objects     map[types.UID]*object
	connections map[types.UID]*versions
	shared      bool
	foreign     string
	callers     callers
	leases      leases
}

// New returns an empty history. It calls report for each violation; nil is not called.
func New(budget Budget, report func(Violation)) *History {
	return &History{
		budget: budget, report: report, during: "nothing",
		checked:   map[string]map[Invariant]int{},
		responses: map[string][]response{}, objects: map[types.UID]*object{}, connections: map[types.UID]*versions{},
		callers: newCallers(),
	}
}

// During sets the faults that are injected from now on, and their number.
func (h *History) During(faults string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.during = faults
	h.faults += n
}

// Expect checks an invariant that is observed elsewhere.
func (h *History) Expect(ok bool, at time.Time, invariant Invariant, about, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold(ok, at, invariant, about, format, args...)
}

// hold checks one invariant.
func (h *History) hold(ok bool, at time.Time, invariant Invariant, about, format string, args ...any) {
	byInvariant := h.checked[h.during]
	if byInvariant == nil {
		byInvariant = map[Invariant]int{}
		h.checked[h.during] = byInvariant
	}
	byInvariant[invariant]++
	if ok {
		return
	}
	v := Violation{invariant, at, h.during, about, fmt.Sprintf(format, args...)}
	h.violations = append(h.violations, v)
	if h.report != nil {
		h.report(v)
	}
}

// Violations returns the violations found so far.
func (h *History) Violations() []Violation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.violations)
}

// Checked returns how often each invariant was checked, by the faults that were injected.
func (h *History) Checked() map[string]map[Invariant]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]map[Invariant]int{}
	for during, byInvariant := range h.checked {
		all[during] = maps.Clone(byInvariant)
	}
	return all
}

// Restored records that the API server has gone back to an earlier state, in the time from
// began until at: what it shows next need not be consistent with what it showed before.
func (h *History) Restored(began, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.objects {
		o.last = nil
	}
	h.leases.restored(began, at, h.budget.Lease)
}

// Shared records that a second operator sees some DLIJobs of the first from now on, or no
// longer does.
func (h *History) Shared(shared bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shared = shared
}

// Foreign sets the reason that no job may give for a failed poll from now on, because only
// another call fails for it; "" ends that.
func (h *History) Foreign(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.foreign = reason
}

// versions are when a DLIConnection was written within the last minute, and during which
// faults too many were last reported: once, not for each version.
type versions struct {
	recent   []time.Time
	reported string
}

// SawConnection checks a version of a DLIConnection.
func (h *History) SawConnection(at time.Time, connection *v1alpha1.DLIConnection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.connections[connection.UID]
	if c == nil {
		c = &versions{}
		h.connections[connection.UID] = c
	}
	c.recent = append(slices.DeleteFunc(c.recent, func(t time.Time) bool { return at.Sub(t) >= time.Minute }), at)
	n, allowed := len(c.recent), h.budget.ConnectionVersions
	for _, began := range h.callers.processes {
		if at.Sub(began) < time.Minute {
			allowed += h.budget.ConnectionPerProcess
		}
	}
	h.hold(n <= allowed || c.reported == h.during, at, Writes, connection.Namespace+"/"+connection.Name,
		"was written %d times in a minute, the budget is %d", n, allowed)
	if n > allowed {
		c.reported = h.during
	}
}
