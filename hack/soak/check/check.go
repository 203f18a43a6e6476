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

// Package check holds what must be true of every DLIJob at every instant, and of
// every request to DLI, whatever fails: the judge of the soak test.
//
// It is told what happened in the order in which it became known, keeps no time
// and asks nobody, so a history written by hand is judged as a run is.
package check

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// Invariant names what must be true.
type Invariant string

// The invariants of DLIJobs.
const (
	// Given: an outcome is shown only after DLI gave it.
	Given Invariant = "outcome given before shown"
	// Kept: an outcome that was shown, and what was shown with it, stays.
	Kept Invariant = "outcome kept"
	// Figures: those of a completed job change only where a poll was requested.
	Figures Invariant = "figures of completed jobs kept"
	// Gate: kstatus is Current only after FINISHED, and the conditions agree with
	// the outcome.
	Gate Invariant = "gates open only after FINISHED"
	// Writes: each version of an object tells its readers something.
	Writes Invariant = "writes within budget"
	// Ends: a job that ended shows its outcome.
	Ends Invariant = "ends shown in time"
)

// The invariants of requests and of processes.
const (
	Overlap  Invariant = "one operator asks"
	Rate     Invariant = "rate limit"
	Breaker  Invariant = "circuit breaker"
	Lockout  Invariant = "lockout guard"
	Leftover Invariant = "memory and goroutines given back"
	Alive    Invariant = "no panic"
)

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant Invariant
	At        time.Time
	// During names what was injected then.
	During string
	// About is the job, connection or process, and Text what was seen.
	About, Text string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s %s: %s: %s [during %s]", v.At.Format("15:04:05.000"), v.Invariant, v.About, v.Text, v.During)
}

// Budget is what the operator has promised.
type Budget struct {
	// NotFoundAfter is how long DLI must say that it has no such job.
	NotFoundAfter time.Duration
	// Refresh is the least time between two writes of figures that merely move.
	Refresh time.Duration
	// Versions is how many versions an object may have by itself, and PerFault how
	// many more for each fault of its life.
	Versions, PerFault int
}

// History judges what it is told. It is not safe for use by several goroutines.
type History struct {
	budget     Budget
	told       map[string][]told
	objects    map[types.UID]*object
	during     string
	faults     int
	checked    map[string]map[Invariant]int
	violations []Violation
}

// told is what DLI said of a job.
type told struct {
	at       time.Time
	outcome  v1alpha1.Outcome // "" for a job that has not ended
	notFound bool
}

// object is what was seen of one DLIJob.
type object struct {
	// last is the latest version that the operator answers for; nil when nothing is
	// known that a new version must agree with.
	last *v1alpha1.DLIJob
	// forged are the statuses that another hand wrote.
	forged      []v1alpha1.DLIJobStatus
	versions    int
	faultsAtAge int
	over        bool
}

// New returns a history in which nothing has happened.
func New(budget Budget) *History {
	return &History{
		budget: budget, during: "nothing",
		told: map[string][]told{}, objects: map[types.UID]*object{},
		checked: map[string]map[Invariant]int{},
	}
}

// During says what is injected from now on; n is how many faults that are.
func (h *History) During(what string, n int) {
	h.during = what
	h.faults += n
}

// Answered notes an answer of DLI about a job that was sent in full: its status
// word, or that there is no such job.
func (h *History) Answered(at time.Time, job, status string, notFound bool) {
	outcomes := map[string]v1alpha1.Outcome{
		"FINISHED": v1alpha1.OutcomeSucceeded, "FAILED": v1alpha1.OutcomeFailed, "CANCELLED": v1alpha1.OutcomeCancelled,
	}
	h.told[job] = append(h.told[job], told{at, outcomes[status], notFound})
}

// Restored notes that the API server has gone back to an earlier state: what it
// shows next need not agree with what it showed before.
func (h *History) Restored() {
	for _, o := range h.objects {
		o.last = nil
	}
}

// ByOtherHand notes that somebody else is about to write a status: versions of
// the object that show it are not the operator's, and what comes after it need
// not agree with what was before.
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

// Fail notes a violation that somebody else found.
func (h *History) Fail(at time.Time, invariant Invariant, about, format string, args ...any) {
	h.violations = append(h.violations, Violation{invariant, at, h.during, about, fmt.Sprintf(format, args...)})
}

// Add notes violations that were found elsewhere, and what was checked for them.
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

// Violations are those found so far.
func (h *History) Violations() []Violation { return slices.Clone(h.violations) }

// Checked is how often each invariant was checked during something.
func (h *History) Checked(during string) map[Invariant]int { return maps.Clone(h.checked[during]) }

// Total is how often each invariant was checked.
func (h *History) Total() map[Invariant]int {
	total := map[Invariant]int{}
	for _, byInvariant := range h.checked {
		for invariant, n := range byInvariant {
			total[invariant] += n
		}
	}
	return total
}
