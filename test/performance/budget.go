// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// budget is a limit that the operator must meet.
type budget struct {
	name   string
	value  float64
	limit  float64
	digits int
	// least is set if the limit is a minimum.
	least bool
	// smoke is the limit at which the smoke test fails; 0 for none. Only counts have
	// one, because other load on the machine hardly affects them.
	smoke float64
}

// within reports whether the value is within a limit. NaN never is.
func (b budget) within(limit float64) bool {
	if b.least {
		return b.value >= limit
	}
	return b.value <= limit
}

// budgets are checked at the largest number of jobs.
func (r *report) budgets() []budget {
	s := r.stages[len(r.stages)-1]
	if r.options.policy.lists > 0 {
		// With lists, most requests are for many jobs, and cost more than a poll.
		return []budget{
			{name: "status writes per change of a job", value: s.perChange(), limit: 1.05, digits: 3},
			{name: "memory per job above idle, KiB", value: s.perJob / 1024, limit: 8, digits: 1},
			{name: "p99 of an end stored late, seconds", value: s.stored.p99, limit: 7, digits: 2},
		}
	}
	all := []budget{
		{name: "operator CPU per poll, times the bare client's", value: s.overFloor(), limit: 1.2, digits: 2},
		// Polls have a random jitter, so a few may be missing by chance.
		{name: "polls done of polls wanted", value: s.kept, limit: 0.99, digits: 3, least: true, smoke: 0.95},
		{name: "status writes per change of a job", value: s.perChange(), limit: 1.05, digits: 3, smoke: 1.05},
		{name: "API server and etcd above idle, CPU seconds per 1000 polls", value: s.controlPlaneNet, limit: 0.5, digits: 3},
		// On a busy machine, more requests are in flight at once, and the pools grow.
		{name: "TCP connections opened per 1000 polls", value: s.dials, limit: 1, digits: 3, smoke: 10},
		{name: "memory per job above idle, KiB", value: s.perJob / 1024, limit: 8, digits: 1},
		{name: "p99 of an end seen later than its poll interval and jitter, seconds", value: s.seen.beyondP99, limit: 0.5, digits: 2},
	}
	if !r.options.trouble.some() {
		all = append(all, budget{name: "p99 of an end stored later than its poll interval and jitter, seconds", value: s.stored.beyondP99, limit: 0.5, digits: 2})
	}
	return all
}

// printBudgets prints which budgets are met. In a smoke test it fails if a required one is
// not.
func (r *report) printBudgets(out io.Writer) error {
	s := r.stages[len(r.stages)-1]
	fmt.Fprintf(out, "\nbudgets at %d jobs\n", s.jobs)
	var broken []string
	for _, b := range r.budgets() {
		sign, verdict := "<=", "met"
		if b.least {
			sign = ">="
		}
		if !b.within(b.limit) {
			verdict = "NOT MET"
		}
		limits := fmt.Sprintf("budget %s %v", sign, b.limit)
		if r.options.smoke && b.smoke > 0 {
			limits += fmt.Sprintf(", this smoke test fails beyond %v", b.smoke)
		}
		line := fmt.Sprintf("%s: %s (%s)", b.name, f(b.value, b.digits), limits)
		fmt.Fprintf(out, "%s: %s\n", line, verdict)
		if b.smoke > 0 && !b.within(b.smoke) {
			broken = append(broken, line)
		}
	}
	fmt.Fprintf(out, "\nmeasured on %s in %v\n", r.began.Format(time.DateOnly), time.Since(r.began).Round(time.Second))
	if r.options.smoke && len(broken) > 0 {
		return fmt.Errorf("the smoke test failed: %s", strings.Join(broken, "; "))
	}
	return nil
}
