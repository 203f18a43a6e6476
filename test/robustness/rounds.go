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
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/robustness/check"
)

// round is a set of simultaneous faults and their result.
type round struct {
	faults []fault
	// recovered is how long it took to recover after the end of the faults.
	recovered time.Duration
}

func (r round) name() string {
	names := make([]string, len(r.faults))
	for i, f := range r.faults {
		names[i] = f.name
	}
	return strings.Join(names, " + ")
}

// plan yields the faults of each round: each fault alone, or in pairs, then several
// together, endlessly.
func (o options) plan(random *rand.Rand, of []fault) func() []fault {
	var queue []fault
	for _, n := range random.Perm(len(of)) {
		if !of[n].last {
			queue = append(queue, of[n])
		}
	}
	mixable := slices.Clone(queue)
	return func() []fault {
		if len(queue) == 0 {
			return mix(random, mixable, 2+random.IntN(2))
		}
		first := queue[0]
		queue = queue[1:]
		together := []fault{first}
		if o.pairs {
			if at := slices.IndexFunc(queue, func(f fault) bool { return f.group != first.group }); at >= 0 {
				together = append(together, queue[at])
				queue = slices.Delete(queue, at, at+1)
			}
		}
		return together
	}
}

// mix takes up to n faults of different groups.
func mix(random *rand.Rand, of []fault, n int) (together []fault) {
	for _, at := range random.Perm(len(of)) {
		f := of[at]
		if len(together) < n && !slices.ContainsFunc(together, func(other fault) bool { return other.group == f.group }) {
			together = append(together, f)
		}
	}
	return together
}

// play runs all rounds and returns the result.
func (w *world) play(ctx context.Context) (*report, error) {
	r := &report{options: w.options}
	idle, err := w.idle(ctx)
	if err != nil {
		return nil, err
	}
	w.label("calm", 0)
	w.jobs.start(ctx)
	if err := w.rest(ctx, 12*time.Second); err != nil {
		return nil, err
	}
	of, err := chosen(w.options.faults)
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(w.seed, 2))
	next := w.plan(random, of)
	began := time.Now()
	for time.Since(began) < w.duration && !w.enough() {
		if err := w.round(ctx, r, random, next()); err != nil {
			return nil, err
		}
	}
	for _, f := range of {
		if f.last && !w.enough() {
			if err := w.round(ctx, r, random, []fault{f}); err != nil {
				return nil, err
			}
		}
	}
	if !w.enough() {
		if err := w.settle(ctx, r, idle); err != nil {
			r.troubles = append(r.troubles, err)
		}
	}
	w.verify()
	r.took = time.Since(began)
	w.mu.Lock()
	defer w.mu.Unlock()
	r.history, r.violations, r.requests = w.history, w.history.Violations(), len(w.dli.log())
	return r, nil
}

// enough reports whether the run should end because of a violation.
func (w *world) enough() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.untilViolation && len(w.history.Violations()) > 0
}

// label sets the faults that are injected from now on.
func (w *world) label(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.during = what
	w.history.During(what, n)
}

// rest waits, unless the run should end.
func (w *world) rest(ctx context.Context, d time.Duration) error {
	until(ctx, d, w.enough)
	return ctx.Err()
}

// round injects faults, and waits until the operator has recovered from them.
func (w *world) round(ctx context.Context, r *report, random *rand.Rand, together []fault) error {
	now := round{faults: together}
	w.label(now.name(), len(together))
	say("%s", now.name())
	errs := make([]error, len(together))
	var injected sync.WaitGroup
	for n, f := range together {
		i := injection{world: w, random: rand.New(rand.NewPCG(w.seed, random.Uint64())), alone: len(together) == 1}
		i.lasts = f.from
		if f.to > f.from {
			i.lasts += time.Duration(i.random.Int64N(int64(f.to - f.from)))
		}
		injected.Go(func() {
			if err := f.inject(ctx, i); err != nil {
				errs[n] = fmt.Errorf("injecting %s: %w", f.name, err)
			}
		})
	}
	injected.Wait()
	if err := errors.Join(errors.Join(errs...), w.repair(ctx)); err != nil {
		if ctx.Err() != nil {
			return err
		}
		// The rest of the run is still useful.
		say("TROUBLE %v", err)
		r.troubles = append(r.troubles, err)
	}
	healed := time.Now()
	var waiting []string
	canaries := w.jobs.canaries()
	until(ctx, recovery, func() bool {
		waiting = append(w.waiting(healed), canaries(ctx)...)
		return len(waiting) == 0 || w.enough()
	})
	now.recovered = time.Since(healed)
	w.judge(func(h *check.History) {
		h.Add(check.Ends, len(w.watcher.jobs()), nil)
		if len(waiting) > 0 && now.recovered >= recovery && ctx.Err() == nil {
			h.Fail(time.Now(), check.Ends, fmt.Sprintf("%d jobs", len(waiting)), "not shown or not polled within %v after the last fault: %s", recovery, strings.Join(waiting[:min(len(waiting), 5)], "; "))
		}
	})
	r.rounds = append(r.rounds, now)
	return w.rest(ctx, time.Second)
}

// waiting returns the jobs that had ended when the faults ended but do not show it, and
// the running jobs that were not polled since.
func (w *world) waiting(healed time.Time) (names []string) {
	for _, job := range w.watcher.jobs() {
		l := w.jobs.life(job.Spec.JobID)
		asked := w.dli.lastAsked(job.Spec.JobID)
		switch {
		case job.IsCompleted() || l.kind == "missing" || l.bad && time.Now().Before(healed.Add(recovery-2*time.Second)):
		case l.ends.Before(healed):
			names = append(names, fmt.Sprintf("%s/%s (%s) ended %v before, was polled %v after, shows %s", job.Namespace, job.Name, l.kind, healed.Sub(l.ends).Round(time.Second), asked.Sub(healed).Round(time.Millisecond), reason(job)))
		case asked.Before(healed) && job.CreationTimestamp.Time.Before(healed):
			names = append(names, fmt.Sprintf("%s/%s (%s) was last polled %v before, shows %s", job.Namespace, job.Name, l.kind, healed.Sub(asked).Round(time.Second), reason(job)))
		}
	}
	return names
}

func reason(job *v1alpha1.DLIJob) string {
	for _, c := range job.Status.Conditions {
		if c.Type == v1alpha1.SyncedCondition {
			return fmt.Sprintf("%s/%s %s", job.Status.JobStatus, c.Reason, c.Message)
		}
	}
	return "nothing"
}

// verify checks the requests, and searches for panics.
func (w *world) verify() {
	requests := w.dli.log()
	limits := map[string]check.Limit{}
	for _, t := range w.teams {
		limits[t.user.ProjectID] = t.limit
	}
	w.mu.Lock()
	outages, grants := slices.Clone(w.outages), slices.Clone(w.grants)
	w.mu.Unlock()
	w.judge(func(h *check.History) {
		n, found := check.Overlaps(requests, lease)
		h.Add(check.Overlap, n, found)
		n, found = check.Rates(requests, limits, grants, 4)
		h.Add(check.Rate, n, found)
		n, found = check.Outages(requests, outages)
		h.Add(check.Breaker, n, found)
		n, found = check.Rejections(requests, 5*time.Minute, 5, time.Second)
		h.Add(check.Lockout, n, found)
	})
	w.panics()
}
