// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dli-operator/dli-operator/test/robustness/check"
)

// options are the command-line options of a run.
type options struct {
	seed     uint64
	duration time.Duration
	active   int
	faults   []string
	pairs    bool
	keepLogs bool
	broken   bool
	// operators are the names of the broken operators to run; all if empty.
	operators []string
	// untilViolation ends the run at the first violation.
	untilViolation bool
}

// run is one run of the operators.
type run struct {
	*cluster
	options

	random *rand.Rand
	result report
}

// runOnce runs the operators, with edits, and returns the findings.
func runOnce(ctx context.Context, o options, edits ...edit) (result *report, err error) {
	say("seed %d", o.seed)
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "dli-overlay-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	overlay, err := writeOverlay(root, dir, append([]edit{panicOnResponse}, edits...)...)
	if err != nil {
		return nil, err
	}
	c, err := startCluster(ctx, o.seed, o.active, overlay)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, c.close(o.keepLogs || result == nil || len(result.violations) > 0))
	}()
	r := &run{cluster: c, options: o, random: rand.New(rand.NewPCG(o.seed, 2)), result: report{seed: o.seed}}
	if err := r.play(ctx); err != nil {
		return nil, err
	}
	return &r.result, nil
}

// play injects faults until the time is up, and checks what is left at the end.
func (r *run) play(ctx context.Context) error {
	idle, err := r.idle(ctx)
	if err != nil {
		return err
	}
	started := time.Now()
	r.history.During("calm", 0)
	r.jobs.start(ctx)
	if err := r.rest(ctx, 12*time.Second); err != nil {
		return err
	}
	of, err := chooseFaults(r.faults)
	if err != nil {
		return err
	}
	next := plan(r.random, of, r.pairs)
	began := time.Now()
	for time.Since(began) < r.duration && !r.enough() {
		if err := r.round(ctx, next()); err != nil {
			return err
		}
	}
	for _, f := range of {
		if f.last && !r.enough() {
			if err := r.round(ctx, []fault{f}); err != nil {
				return err
			}
		}
	}
	if !r.enough() {
		if err := r.settle(ctx, idle); err != nil {
			r.result.troubles = append(r.result.troubles, err)
		}
	}
	r.result.took = time.Since(started)
	r.result.checked, r.result.violations = r.history.Checked(), r.history.Violations()
	return nil
}

// enough reports whether the run should end because of a violation.
func (r *run) enough() bool { return r.untilViolation && len(r.history.Violations()) > 0 }

// rest waits, unless the run should end.
func (r *run) rest(ctx context.Context, d time.Duration) error {
	until(ctx, d, r.enough)
	return ctx.Err()
}

// round injects faults, and waits until the operator has recovered from them.
func (r *run) round(ctx context.Context, together []fault) error {
	now := round{faults: together}
	r.history.During(now.name(), len(together))
	say("%s", now.name())
	if err := errors.Join(r.inject(ctx, together), r.repair(ctx)); err != nil {
		if ctx.Err() != nil {
			return err
		}
		// The rest of the run is still useful.
		say("TROUBLE %v", err)
		r.result.troubles = append(r.result.troubles, err)
	}
	healed := time.Now()
	canaries := r.jobs.canaries()
	now.recovered = r.await(ctx, func() []string { return append(r.waiting(healed), canaries(ctx)...) })
	for _, o := range r.replicas {
		o.checkLog(r.history)
	}
	r.result.rounds = append(r.result.rounds, now)
	return r.rest(ctx, time.Second)
}

// inject injects faults at the same time.
func (r *run) inject(ctx context.Context, together []fault) error {
	errs := make([]error, len(together))
	var injected sync.WaitGroup
	for n, f := range together {
		i := injection{cluster: r.cluster, random: rand.New(rand.NewPCG(r.seed, r.random.Uint64())), lasts: f.from, alone: len(together) == 1}
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
	return errors.Join(errs...)
}

// await waits until the operator shows what it must, and returns how long it took.
func (r *run) await(ctx context.Context, waiting func() []string) time.Duration {
	var missing []string
	began := time.Now()
	ok := until(ctx, recovery, func() bool { missing = waiting(); return len(missing) == 0 || r.enough() })
	if ctx.Err() == nil {
		r.history.Expect(ok, time.Now(), check.Ends, fmt.Sprintf("%d jobs", len(missing)),
			"not shown or not polled within %v after the last fault: %s", recovery, strings.Join(first(missing), "; "))
	}
	return time.Since(began)
}

// How much more the leader may hold at the end than before the first job, for idle
// connections and memory kept by the runtime.
const (
	moreHeap       = 16 << 20
	moreGoroutines = 60
)

// idle is what the leader holds before the first job.
func (r *run) idle(ctx context.Context) (h holding, err error) {
	leader, err := r.leader(ctx)
	if err != nil {
		return h, err
	}
	if err := wait(ctx, 3*time.Second); err != nil {
		return h, err
	}
	return leader.holding(ctx)
}

// settle waits until all jobs have ended and are deleted, and checks what the leader
// still holds.
func (r *run) settle(ctx context.Context, idle holding) error {
	r.history.During("the end", 0)
	r.jobs.stop()
	end := time.Now()
	r.await(ctx, func() []string { return r.waiting(end) })
	if !until(ctx, time.Minute, func() bool { r.jobs.deleteAll(ctx); return len(r.watcher.jobs()) == 0 }) {
		return errors.Join(errors.New("the DLIJobs are not deleted"), ctx.Err())
	}
	leader, err := r.leader(ctx)
	if err != nil {
		return err
	}
	// Hanging requests and the connections of old watches end.
	left := holding{}
	fits := until(ctx, 45*time.Second, func() bool {
		left, err = leader.holding(ctx)
		return err == nil && left.heap < idle.heap+moreHeap && left.goroutines < idle.goroutines+moreGoroutines
	})
	r.result.idle, r.result.left = idle, left
	r.history.Expect(fits, time.Now(), check.Leftover, leader.process(), "held %s before the first job, %s after the last (%v)", idle, left, err)
	return nil
}
