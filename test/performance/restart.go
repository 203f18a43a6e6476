// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// restarted has the measurements of a restart at full size.
type restarted struct {
	jobs int
	// firstPoll and allPolled are seconds since the start of the new process; longest
	// is the maximum number of seconds that an active job was not polled.
	firstPoll, allPolled, longest float64
	peak                          float64 // polls in any second
	pollLate                      float64 // bound of 99 % of the polls
	rss, heap, goroutines         float64
	startCPU                      float64 // of the operator until all were polled
	writes                        int
}

// measureRestart stops the operator, starts it again and observes it until it has polled
// every active job.
func (w *world) measureRestart(ctx context.Context) (r restarted, err error) {
	r.jobs = w.jobs.active(time.Now())
	say("%d jobs: restarting the operator", r.jobs)
	events := w.jobs.counted()
	w.operator.Stop(patience)
	stopped := time.Now()
	first, err := w.requests(ctx)
	if err != nil {
		return r, err
	}
	began := time.Now()
	ready := make(chan error, 1)
	go func() { ready <- w.startOperator(ctx) }()

	if err := w.followRestart(ctx, &r, first, stopped, began); err != nil {
		return r, err
	}
	if err := <-ready; err != nil {
		return r, err
	}
	r.startCPU = testenv.CPU(w.operator.PID())
	metrics, err := testenv.Scrape(ctx, w.metrics)
	if err != nil {
		return r, err
	}
	r.pollLate = metrics.Within("dli_operator_poll_lateness_seconds", testenv.Series{}, 0.99)
	r.rss, r.heap, r.goroutines = testenv.Memory(w.operator.PID()), heap(metrics), metrics.Sum("go_goroutines")
	r.writes = w.jobs.counted().all - events.all
	return r, nil
}

// followRestart watches the requests until every active job was polled.
func (w *world) followRestart(ctx context.Context, r *restarted, first count, stopped, began time.Time) error {
	// The requests of the last second are counted at every tick.
	counts := []count{first}
	limit := began.Add(3*w.policy.max + time.Minute)
	for next := time.Now(); ; {
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		latest, err := w.requests(ctx)
		if err != nil {
			return err
		}
		now := latest.at
		counts = append(counts, latest)
		for now.Sub(counts[0].at) > time.Second {
			counts = counts[1:]
		}
		r.peak = max(r.peak, latest.requests-counts[0].requests)
		if now.Before(next) {
			continue
		}
		next = now.Add(500 * time.Millisecond)
		a, err := w.attention(ctx, stopped)
		if err != nil {
			return err
		}
		r.longest = max(r.longest, now.Sub(a.Oldest).Seconds())
		if r.firstPoll == 0 && a.Waiting < a.Active {
			r.firstPoll = now.Sub(began).Seconds()
		}
		if a.Waiting > 0 && now.Before(limit) {
			continue
		}
		r.allPolled = now.Sub(began).Seconds()
		if a.Waiting > 0 {
			say("%d jobs were not polled within %v of the restart", a.Waiting, now.Sub(began))
		}
		return nil
	}
}

// requests returns how many requests the simulator has received.
func (w *world) requests(ctx context.Context) (count, error) {
	stats, err := w.stats(ctx)
	return count{time.Now(), float64(stats.Requests)}, err
}
