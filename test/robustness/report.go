// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/test/robustness/check"
)

// report is the result of a run.
type report struct {
	seed       uint64
	rounds     []round
	checked    map[string]map[check.Invariant]int
	violations []check.Violation
	took       time.Duration
	// troubles are errors that prevented the injection of a fault.
	troubles   []error
	idle, left holding
}

// round is a set of simultaneous faults and how long it took to recover after their end.
type round struct {
	faults    []fault
	recovered time.Duration
}

const and = " + "

func (r round) name() string {
	names := make([]string, len(r.faults))
	for i, f := range r.faults {
		names[i] = f.name
	}
	return strings.Join(names, and)
}

// print writes the tables, and returns an error if something was violated.
func (r *report) print(out io.Writer) error {
	fmt.Fprintf(out, "\nSeed %d, %v.\n\n", r.seed, r.took.Round(time.Second))
	fmt.Fprintf(out, "| fault | alone | with others | violations | recovered p50 | max |\n|---|---|---|---|---|---|\n")
	byFault := map[string][]round{}
	for _, round := range r.rounds {
		for _, f := range round.faults {
			byFault[f.name] = append(byFault[f.name], round)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byFault)) {
		alone, violated := 0, 0
		var recovered []time.Duration
		for _, round := range byFault[name] {
			recovered = append(recovered, round.recovered)
			if len(round.faults) == 1 {
				alone++
			}
		}
		for _, v := range r.violations {
			if slices.Contains(strings.Split(v.During, and), name) {
				violated++
			}
		}
		fmt.Fprintf(out, "| %s | %d | %d | %d | %s | %s |\n", name, alone, len(recovered)-alone, violated, quantile(recovered, 0.5), quantile(recovered, 1))
	}
	r.printInvariants(out)
	if r.left.heap > 0 {
		fmt.Fprintf(out, "\nThe leader held %s before the first job, %s after the last.\n", r.idle, r.left)
	}
	errs := slices.Clone(r.troubles)
	if len(r.violations) > 0 {
		errs = append(errs, fmt.Errorf("%d violations; repeat with -seed=%d", len(r.violations), r.seed))
	}
	return errors.Join(errs...)
}

func (r *report) printInvariants(out io.Writer) {
	fmt.Fprintf(out, "\n| invariant | checks | violations |\n|---|---|---|\n")
	total, violated := map[check.Invariant]int{}, map[check.Invariant]int{}
	for _, byInvariant := range r.checked {
		for invariant, n := range byInvariant {
			total[invariant] += n
		}
	}
	for _, v := range r.violations {
		violated[v.Invariant]++
	}
	for _, invariant := range slices.Sorted(maps.Keys(total)) {
		fmt.Fprintf(out, "| %s | %d | %d |\n", invariant, total[invariant], violated[invariant])
	}
}

// quantile returns a quantile of the times.
func quantile(times []time.Duration, share float64) string {
	sorted := slices.Sorted(slices.Values(times))
	return fmt.Sprintf("%.1f s", sorted[int(share*float64(len(sorted)-1)+0.5)].Seconds())
}
