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

// Package check implements the invariants of the robustness test: what must hold at any time
// under all faults, for every DLIJob and every request to DLI.
//
// It receives events in the order in which they became known, and has no clock and no
// clients, so that hand-written histories are checked like real runs.
package check

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// Invariant is the name of an invariant.
type Invariant string

// The invariants of DLIJobs.
const (
	// Given: an outcome is only shown after DLI reported it.
	Given Invariant = "outcome given before shown"
	// Kept: a shown outcome, and what was shown with it, does not change.
	Kept Invariant = "outcome kept"
	// Figures: figures of a completed job only change after a requested poll.
	Figures Invariant = "figures of completed jobs kept"
	// Gate: kstatus is Current only after FINISHED, and the conditions agree with
	// the outcome.
	Gate Invariant = "gates open only after FINISHED"
	// Writes: each version of an object has news for its readers.
	Writes Invariant = "writes within budget"
	// Ends: a job that has ended shows its outcome.
	Ends Invariant = "ends shown in time"
)

// The invariants of requests and of processes.
const (
	Overlap  Invariant = "one operator polls"
	Rate     Invariant = "rate limit"
	Breaker  Invariant = "circuit breaker"
	Lockout  Invariant = "lockout guard"
	Leftover Invariant = "memory and goroutines given back"
	Alive    Invariant = "no panic"
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
	// Versions is how many versions an object may have without faults, and PerFault how
	// many more for each fault during its lifetime.
	Versions, PerFault int
}

// History checks the events that it receives. It is not safe for concurrent use.
type History struct {
	budget     Budget
	told       map[string][]told
	objects    map[types.UID]*object
	during     string
	faults     int
	checked    map[string]map[Invariant]int
	violations []Violation
}

// told is what DLI reported about a job.
type told struct {
	at       time.Time
	outcome  v1alpha1.Outcome // "" for a job that has not ended
	notFound bool
}

// object is what was observed of one DLIJob.
type object struct {
	// last is the latest version written by the operator; nil if there is none that a new
	// version must be consistent with.
	last *v1alpha1.DLIJob
	// forged are the statuses that something else wrote.
	forged      []v1alpha1.DLIJobStatus
	versions    int
	faultsAtAge int
	over        bool
}

// New returns an empty history.
func New(budget Budget) *History {
	return &History{
		budget: budget, during: "nothing",
		told: map[string][]told{}, objects: map[types.UID]*object{},
		checked: map[string]map[Invariant]int{},
	}
}

// During sets the faults that are injected from now on, and their number.
func (h *History) During(what string, n int) {
	h.during = what
	h.faults += n
}

// Answered records a complete response from DLI about a job: its status, or that there
// is no such job.
func (h *History) Answered(at time.Time, job, status string, notFound bool) {
	outcomes := map[string]v1alpha1.Outcome{
		"FINISHED": v1alpha1.OutcomeSucceeded, "FAILED": v1alpha1.OutcomeFailed, "CANCELLED": v1alpha1.OutcomeCancelled,
	}
	h.told[job] = append(h.told[job], told{at, outcomes[status], notFound})
}

// Restored records that the API server has gone back to an earlier state: what it shows
// next need not be consistent with what it showed before.
func (h *History) Restored() {
	for _, o := range h.objects {
		o.last = nil
	}
}

// ByOtherHand records that something else is about to write a status: versions of the
// object with it are not the operator's, and later ones need not be consistent with
// earlier ones.
func (h *History) ByOtherHand(uid types.UID, status v1alpha1.DLIJobStatus) {
	o := h.object(uid)
	o.forged = append(o.forged, *status.DeepCopy())
}

func (h *History) object(uid types.UID) *object {
	o := h.objects[uid]
	if o == nil {
		o = &object{faultsAtAge: h.faults}
		h.objects[uid] = o
	}
	return o
}

// Fail records a violation that was found elsewhere.
func (h *History) Fail(at time.Time, invariant Invariant, about, format string, args ...any) {
	h.violations = append(h.violations, Violation{invariant, at, h.during, about, fmt.Sprintf(format, args...)})
}

// Add records violations that were found elsewhere, and the number of checks.
func (h *History) Add(invariant Invariant, checked int, found []Violation) {
	h.count(invariant, checked)
	h.violations = append(h.violations, found...)
}

func (h *History) count(invariant Invariant, n int) {
	byInvariant := h.checked[h.during]
	if byInvariant == nil {
		byInvariant = map[Invariant]int{}
		h.checked[h.during] = byInvariant
	}
	byInvariant[invariant] += n
}

// hold checks one invariant.
func (h *History) hold(ok bool, at time.Time, invariant Invariant, about, format string, args ...any) {
	h.count(invariant, 1)
	if !ok {
		h.Fail(at, invariant, about, format, args...)
	}
}

// Violations returns the violations found so far.
func (h *History) Violations() []Violation { return slices.Clone(h.violations) }

// Checked returns how often each invariant was checked during each fault.
func (h *History) Checked(during string) map[Invariant]int { return maps.Clone(h.checked[during]) }

// Total returns how often each invariant was checked.
func (h *History) Total() map[Invariant]int {
	total := map[Invariant]int{}
	for _, byInvariant := range h.checked {
		for invariant, n := range byInvariant {
			total[invariant] += n
		}
	}
	return total
}
