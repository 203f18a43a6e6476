// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// usage is the memory of the operator in bytes; heap is what is alive.
type usage struct{ resident, peak, heap float64 }

// completed has the memory that jobs cost which have ended: once they are stored, and after
// a restart.
type completed struct {
	jobs              int
	stored, restarted usage
}

// measureCompleted creates DLIJobs of jobs that have ended, and measures the operator's memory
// once all of them are stored, and again after a restart.
func (w *world) measureCompleted(ctx context.Context, n int) (c completed, err error) {
	say("creating %d jobs that have ended", n)
	c.jobs = n
	if err := w.growEnded(ctx, n); err != nil {
		return c, err
	}
	if err := await(ctx, 10*time.Minute, "the outcome of every job", func() (bool, error) {
		return w.jobs.unstored(time.Now()) == 0, w.operator.Alive()
	}); err != nil {
		return c, err
	}
	if c.stored, err = w.memoryAfterCollection(ctx, "stored"); err != nil {
		return c, err
	}
	say("restarting the operator")
	w.operator.Stop(patience)
	if err := w.startOperator(ctx); err != nil {
		return c, err
	}
	if err := await(ctx, 2*time.Minute, "the list of all jobs", func() (bool, error) {
		metrics, err := testenv.Scrape(ctx, w.metrics)
		return metrics.Sum("dli_operator_jobs") >= float64(n), err
	}); err != nil {
		return c, err
	}
	c.restarted, err = w.memoryAfterCollection(ctx, "restarted")
	return c, err
}

// memoryAfterCollection collects the operator's garbage first, and saves a profile of what is
// left, which has a name, if wanted.
func (w *world) memoryAfterCollection(ctx context.Context, name string) (u usage, err error) {
	if err := w.saveProfile(ctx, "/debug/pprof/heap?gc=1", name); err != nil {
		return u, err
	}
	metrics, err := testenv.Scrape(ctx, w.metrics)
	return usage{testenv.Memory(w.operator.PID()), testenv.PeakMemory(w.operator.PID()), heap(metrics)}, err
}

func (c *completed) print(out io.Writer, i idle) {
	fmt.Fprintf(out, "\ncompleted jobs: %d\n", c.jobs)
	perJob := func(bytes float64) string { return f(bytes/float64(c.jobs)/1024, 2) }
	for _, when := range []struct {
		name string
		usage
	}{{"stored", c.stored}, {"after a restart", c.restarted}} {
		for _, r := range []row{
			{"live heap (MiB)", f(when.heap/mib, 1)},
			{"live heap per job above idle (KiB)", perJob(when.heap - i.heap)},
			{"resident memory (MiB)", f(when.resident/mib, 1)},
			{"resident memory per job above idle (KiB)", perJob(when.resident - i.rss)},
			{"high water per job above idle (KiB)", perJob(when.peak - i.rss)},
		} {
			fmt.Fprintf(out, "%s: %s: %s\n", when.name, r.name, r.value)
		}
	}
}
