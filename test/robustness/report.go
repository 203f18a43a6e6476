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
	options
	rounds     []round
	history    *check.History
	violations []check.Violation
	requests   int
	took       time.Duration
	// troubles are errors that prevented the injection of a fault.
	troubles   []error
	idle, left holding
}

// line is a row in the table.
type line struct {
	alone, mixed, checked, violations int
	recovered                         []time.Duration
}

// print writes the tables, and returns an error if something was violated.
func (r *report) print(out io.Writer) error {
	fmt.Fprintf(out, "\nSeed %d, %v, %d requests to DLI.\n\n", r.seed, r.took.Round(time.Second), r.requests)
	fmt.Fprintf(out, "| fault | alone | with others | checks | violations | recovered p50 | max |\n|---|---|---|---|---|---|---|\n")
	lines := r.lines()
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		l := lines[name]
		fmt.Fprintf(out, "| %s | %d | %d | %d | %d | %s | %s |\n", name, l.alone, l.mixed, l.checked, l.violations, quantile(l.recovered, 0.5), quantile(l.recovered, 1))
	}
	fmt.Fprintf(out, "\n| invariant | checks | violations |\n|---|---|---|\n")
	total := r.history.Total()
	for _, invariant := range slices.Sorted(maps.Keys(total)) {
		n := 0
		for _, v := range r.violations {
			if v.Invariant == invariant {
				n++
			}
		}
		fmt.Fprintf(out, "| %s | %d | %d |\n", invariant, total[invariant], n)
	}
	if r.left.heap > 0 {
		fmt.Fprintf(out, "\nThe leader held %.1f MiB and %v goroutines before the first job, %.1f MiB and %v after the last.\n",
			r.idle.heap/(1<<20), r.idle.goroutines, r.left.heap/(1<<20), r.left.goroutines)
	}
	if len(r.violations) == 0 {
		return errors.Join(r.troubles...)
	}
	fmt.Fprintln(out)
	for _, v := range r.violations[:min(len(r.violations), 50)] {
		fmt.Fprintln(out, v)
	}
	return errors.Join(append(r.troubles, fmt.Errorf("%d violations; repeat with -seed=%d", len(r.violations), r.seed))...)
}

func (r *report) lines() map[string]line {
	lines := map[string]line{}
	counted := map[string]bool{}
	for _, round := range r.rounds {
		for _, f := range round.faults {
			l := lines[f.name]
			if len(round.faults) == 1 {
				l.alone++
			} else {
				l.mixed++
			}
			l.recovered = append(l.recovered, round.recovered)
			if key := f.name + "\n" + round.name(); !counted[key] {
				counted[key] = true
				for _, n := range r.history.Checked(round.name()) {
					l.checked += n
				}
			}
			lines[f.name] = l
		}
	}
	for name, l := range lines {
		for _, v := range r.violations {
			if slices.Contains(strings.Split(v.During, " + "), name) {
				l.violations++
			}
		}
		lines[name] = l
	}
	return lines
}

// quantile returns a quantile of the times.
func quantile(times []time.Duration, share float64) string {
	sorted := slices.Sorted(slices.Values(times))
	return fmt.Sprintf("%.1f s", sorted[int(share*float64(len(sorted)-1)+0.5)].Seconds())
}
