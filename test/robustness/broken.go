// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// broken is an operator that is broken on purpose, with the faults that expose the bug. The
// checks must detect it, or they prove nothing.
type broken struct {
	name   string
	edits  []edit
	faults []string
}

var brokenOperators = []broken{
	{"an outcome before the end", []edit{
		{"controllers/status.go", "\tdli.StateFinished:  v1alpha1.OutcomeSucceeded,", "\tdli.StateFinished: v1alpha1.OutcomeSucceeded, dli.StateRunning: v1alpha1.OutcomeSucceeded,"},
	}, []string{"watches-closed"}},
	{"an outcome that changes", []edit{
		{"controllers/status.go", "\tcase \"\", outcome:", "\tcase \"\", outcome, v1alpha1.OutcomeSucceeded, v1alpha1.OutcomeFailed, v1alpha1.OutcomeCancelled:"},
	}, []string{"watches-closed"}},
	{"NotFound after one response", []edit{
		{"internal/poller/job.go", "return s.NotFound >= 3 && now.Sub", "return s.NotFound > 0 || now.Sub"},
	}, []string{"watches-closed"}},
	{"a phase that lags", []edit{
		{"controllers/conditions.go", "\tjob.Status.Phase = phaseOf(job, s)", "\tif job.Status.Phase != v1alpha1.PhaseRunning || !job.IsCompleted() {\n\t\tjob.Status.Phase = phaseOf(job, s)\n\t}"},
	}, []string{"watches-closed"}},
	{"a write without precondition", []edit{
		{"controllers/writes.go", `"replace","path":"/metadata/resourceVersion"`, `"add","path":"/status/jobStatus"`},
	}, []string{"writes-held", "stale-writer"}},
	{"a lost wake-up", []edit{
		{"internal/poller/queue.go", "\tif isNews {", "\tif isNews && (j.result == nil || !j.result.Ended) {"},
	}, []string{"watches-closed"}},
	{"an unlimited retry", []edit{
		{"internal/poller/schedule.go", "\treturn max(withJitter(exponential(first, limit, streak.Count), jitter), f.RetryAfter)", "\treturn min(exponential(first, limit, streak.Count), f.RetryAfter)"},
		{"internal/connection/circuit.go", "circuitFailures = 5", "circuitFailures = 5_000_000"},
	}, []string{"dli-502"}},
	{"a list that decides", []edit{
		{"internal/poller/requests.go", "\t\trow := &list.Jobs[i]\n", `		row := &list.Jobs[i]
		for _, j := range q.jobs[strings.ToLower(row.JobID)] {
			if row.State.HasEnded() {
				status := &dli.JobStatus{Status: row.Status, State: row.State, Figures: row.Figures}
				q.deliverIf(j.recordStatus(status, sentAt, now, q.config.Schedule.StatusRefreshInterval), j)
			}
		}
`},
	}, []string{"dli-lists-have-wrong-rows"}},
	{"two leaders", []edit{
		{"internal/operator/lease.go", "\treturn r != nil && now.Sub(", "\treturn true || now.Sub("},
	}, []string{"leader-frozen"}},
	{"a key that is tried too often", []edit{
		{"internal/connection/lockout.go", "return l.probe * 10 / 3", "return time.Second"},
	}, []string{"key-wrong"}},
	{"a batch that fails when it recovers", []edit{
		{"internal/dli/decode.go", "\t\t\"RECOVERING\": StateRecovering,", "\t\t\"RECOVERING\": StateFailed,"},
	}, []string{"watches-closed"}},
	{"a panic that ends the process", []edit{
		{"internal/poller/requests.go", "\t\tvalue := recover()\n", "\t\tvalue := any(nil)\n"},
	}, []string{"watches-closed"}},
}

// runBroken runs each broken operator, and fails unless it finds a violation.
func runBroken(ctx context.Context, o options, out io.Writer) error {
	var errs []error
	for _, b := range brokenOperators {
		if len(o.operators) > 0 && !slices.Contains(o.operators, b.name) {
			continue
		}
		say("an operator with %s", b.name)
		o.faults, o.untilViolation, o.duration, o.active = b.faults, true, 90*time.Second, 40
		found, err := runOnce(ctx, o, b.edits...)
		if err == nil && len(found.violations) == 0 {
			err = fmt.Errorf("no violation was found in %v", found.took)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
			continue
		}
		fmt.Fprintf(out, "| %s | %v | %s |\n", b.name, found.took.Round(time.Second), found.violations[0])
	}
	return errors.Join(errs...)
}
