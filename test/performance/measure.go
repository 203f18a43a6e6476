// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// snapshot holds all counters at one instant.
type snapshot struct {
	at                                       time.Time
	operator, apiServer, etcd, self, machine float64 // CPU seconds
	simulatorCPU, floor                      float64
	simulator                                dlitest.Stats
	metrics                                  testenv.Series
	events                                   eventCounts
}

func (w *world) snapshot(ctx context.Context) (s snapshot, err error) {
	if err := w.operator.Alive(); err != nil {
		return s, err
	}
	if s.metrics, err = testenv.Scrape(ctx, w.metrics); err != nil {
		return s, err
	}
	if s.simulator, err = w.stats(ctx); err != nil {
		return s, err
	}
	s.at, s.events = time.Now(), w.jobs.counted()
	s.operator, s.simulatorCPU = testenv.CPU(w.operator.PID()), testenv.CPU(w.simulator.PID())
	s.apiServer, s.etcd = testenv.CPU(w.apiServer), testenv.CPU(w.etcd)
	s.self, s.machine = testenv.CPU(os.Getpid()), machineCPU()
	if w.bare != nil {
		if err := w.bare.Alive(); err != nil {
			return s, err
		}
		s.floor = testenv.CPU(w.bare.PID())
	}
	return s, nil
}

// idle is the usage without jobs.
type idle struct {
	rss, heap, goroutines float64
	operator              float64 // CPU seconds per second
	controlPlane          float64
}

// measureIdle starts the operator, and measures it and the control plane without jobs.
func (w *world) measureIdle(ctx context.Context) (i idle, err error) {
	const window = 10 * time.Second
	say("measuring without jobs")
	if err := wait(ctx, window); err != nil { // the API server is busy at first
		return i, err
	}
	began := testenv.CPU(w.apiServer) + testenv.CPU(w.etcd)
	if err := wait(ctx, window); err != nil {
		return i, err
	}
	i.controlPlane = (testenv.CPU(w.apiServer) + testenv.CPU(w.etcd) - began) / window.Seconds()
	if err := w.startOperator(ctx); err != nil {
		return i, err
	}
	if err := wait(ctx, window); err != nil {
		return i, err
	}
	began = testenv.CPU(w.operator.PID())
	if err := wait(ctx, window); err != nil {
		return i, err
	}
	i.operator = (testenv.CPU(w.operator.PID()) - began) / window.Seconds()
	metrics, err := testenv.Scrape(ctx, w.metrics)
	i.rss, i.heap, i.goroutines = testenv.Memory(w.operator.PID()), heap(metrics), metrics.Sum("go_goroutines")
	return i, err
}

// heap returns the live heap after the last garbage collection.
func heap(metrics testenv.Series) float64 {
	if live := metrics.Sum("go_gc_heap_live_bytes"); live > 0 {
		return live
	}
	return metrics.Sum("go_memstats_heap_alloc_bytes")
}

// measureStage brings the number of jobs to n and measures as often as -runs says. It
// returns the run whose CPU time is the median, as a multiple of the bare client's.
func (w *world) measureStage(ctx context.Context, n int, i idle) (s stage, err error) {
	created, err := w.populate(ctx, n)
	if err != nil {
		return s, err
	}
	var runs []stage
	for k := range w.runs {
		say("%d jobs: measuring for %v, %d of %d", n, w.window, k+1, w.runs)
		run, err := w.measureRun(ctx, n, i)
		if err != nil {
			return s, err
		}
		runs = append(runs, run)
	}
	slices.SortFunc(runs, func(a, b stage) int { return cmp.Compare(a.controlPlaneNet, b.controlPlaneNet) })
	least, most := runs[0].controlPlaneNet, runs[len(runs)-1].controlPlaneNet
	slices.SortFunc(runs, func(a, b stage) int { return cmp.Compare(a.overFloor(), b.overFloor()) })
	s = runs[len(runs)/2]
	s.spread = spread{runs[0].overFloor(), runs[len(runs)-1].overFloor(), least, most}
	s.jobs, s.creation = n, created
	return s, nil
}

// measureRun measures for one window. The bare client runs at the same time, so that other
// load on this machine affects both.
func (w *world) measureRun(ctx context.Context, n int, i idle) (s stage, err error) {
	if err := w.startFloor(ctx); err != nil {
		return s, err
	}
	seen, err := w.observe(ctx, n)
	w.bare.Stop(patience)
	w.bare = nil
	if err != nil {
		return s, err
	}
	s.fill(w, i, seen.before, seen.after)
	s.wanted = w.jobs.wanted(seen.before.at, seen.whole.at) / seen.whole.at.Sub(seen.before.at).Seconds()
	s.kept = (seen.whole.requests - asked(seen.before.metrics)) / seen.whole.at.Sub(seen.before.at).Seconds() / s.wanted
	attention, err := w.attention(ctx, seen.before.at)
	if err != nil {
		return s, err
	}
	w.jobs.seen(attention.Told)
	s.lateness = w.jobs.lateness(seen.before.at, seen.after.at, seen.last)
	s.recovery = w.recovery(seen)
	return s, w.retireFloor(ctx)
}

// populate creates the jobs that are missing from n, and those of -ends-per-second.
func (w *world) populate(ctx context.Context, n int) (c creation, err error) {
	w.doomed += w.runs * int(w.endsPerSecond*w.endsWithin().Seconds())
	n += w.doomed
	fresh := n - w.jobs.len()
	say("creating %d jobs", fresh)
	created, err := w.snapshot(ctx)
	if err != nil {
		return c, err
	}
	if err := w.grow(ctx, n, w.pace); err != nil {
		return c, err
	}
	if err := w.settle(ctx); err != nil {
		return c, err
	}
	settled, err := w.snapshot(ctx)
	if err != nil {
		return c, err
	}
	c.seconds = settled.at.Sub(created.at).Seconds()
	c.writes = float64(settled.events.all-created.events.all) / float64(fresh)
	c.operator = (settled.operator - created.operator) / float64(fresh) * 1000
	c.controlPlane = (settled.apiServer + settled.etcd - created.apiServer - created.etcd) / float64(fresh) * 1000
	return c, nil
}

// endsWithin is the part of the window in which jobs end: later ends may not be noticed
// within it.
func (w *world) endsWithin() time.Duration { return w.window - w.policy.max*11/10 - 2*time.Second }

// settle waits until every job was polled once and only polling continues.
func (w *world) settle(ctx context.Context) error {
	if err := await(ctx, 10*time.Minute, "the first poll of every job", func() (bool, error) {
		return w.jobs.unpolled() == 0, w.operator.Alive()
	}); err != nil {
		return err
	}
	// Events for new states may still be in flight when the last status is stored. The
	// writes of figures never end. etcd compacts what was
	// written every five minutes.
	const pause, calm = 3 * time.Second, 0.4
	lastEvents, lastCPU := -1.0, testenv.CPU(w.apiServer)+testenv.CPU(w.etcd)
	return await(ctx, 10*time.Minute, "the quiet after creation", func() (bool, error) {
		if err := wait(ctx, pause); err != nil {
			return false, err
		}
		metrics, err := testenv.Scrape(ctx, w.metrics)
		events, cpu := metrics.Sum("rest_client_requests_total", `method="POST"`), testenv.CPU(w.apiServer)+testenv.CPU(w.etcd)
		quiet := events-lastEvents < 10 && cpu-lastCPU < calm*pause.Seconds()
		lastEvents, lastCPU = events, cpu
		return quiet, err
	})
}

// count is a number of requests at a time.
type count struct {
	at       time.Time
	requests float64
}

// observed has the measurements of a window.
type observed struct {
	before, after snapshot
	// whole is the count after a whole number of poll intervals: jobs that were created
	// together are polled together, so any other time includes more or fewer of their
	// polls by chance.
	whole count
	// last is when the ends were evaluated, back when the API server was available
	// again.
	last, back time.Time
}

// observe measures for a window in which some jobs end and some short ones run. All
// changes happen early enough to be noticed within the window.
func (w *world) observe(ctx context.Context, n int) (seen observed, err error) {
	if seen.before, err = w.snapshot(ctx); err != nil {
		return seen, err
	}
	stopProfile := w.profile(ctx, n)
	over := w.disturb(ctx)
	end := time.Now().Add(w.window)
	whole := seen.before.at.Add(w.window.Truncate(w.policy.max))
	if err := w.liveAndDie(ctx, n, whole, end); err != nil {
		return seen, err
	}
	if err := wait(ctx, time.Until(whole)); err != nil {
		return seen, err
	}
	metrics, err := testenv.Scrape(ctx, w.metrics)
	if err != nil {
		return seen, err
	}
	seen.whole = count{time.Now(), asked(metrics)}
	if err := wait(ctx, time.Until(end)); err != nil {
		return seen, err
	}
	stopProfile()
	if seen.after, err = w.snapshot(ctx); err != nil {
		return seen, err
	}
	if seen.back, err = over(); err != nil {
		return seen, err
	}
	seen.last, err = w.drain(ctx, seen.after.at)
	return seen, err
}

// liveAndDie ends some of n jobs and runs some short ones.
func (w *world) liveAndDie(ctx context.Context, n int, whole, end time.Time) error {
	ends := min(n/2, max(20, int(w.ends*float64(n)))) + int(w.endsPerSecond*w.endsWithin().Seconds())
	if err := w.endSome(ctx, ends, end.Add(w.endsWithin()-w.window)); err != nil {
		return err
	}
	if w.writesStopped > 0 {
		return nil // new jobs would not reach the operator
	}
	until := end.Add(-27 * time.Second)
	if whole.Before(until) {
		until = whole
	}
	return w.shortJobs(ctx, min(250, max(5, int(w.short*float64(n)))), until)
}

// profile takes a CPU profile of the operator during the window, and a heap profile at
// the end.
func (w *world) profile(ctx context.Context, n int) (stop func()) {
	if w.pprof == "" {
		return func() {}
	}
	take := func(path, name string) {
		if err := w.saveProfile(ctx, path, fmt.Sprintf("%s-%d", name, n)); err != nil {
			say("no profile: %v", err)
		}
	}
	go take("/debug/pprof/profile?seconds="+strconv.Itoa(int(w.window.Seconds())-5), "cpu")
	return func() { take("/debug/pprof/heap?gc=1", "heap") }
}

// saveProfile reads a profile of the operator, and saves it by its name if that is wanted.
func (w *world) saveProfile(ctx context.Context, path, name string) error {
	response, err := get(ctx, http.DefaultClient, w.profiler+path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	profile, err := io.ReadAll(response.Body)
	if err != nil || w.pprof == "" {
		return err
	}
	return os.WriteFile(filepath.Join(w.pprof, name+".pprof"), profile, 0o600)
}

// startFloor starts the bare client at the expected rate of the operator, and waits
// until it polls.
func (w *world) startFloor(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	now := time.Now()
	if err := w.tell(ctx, []dlitest.Job{query(floorJob, now.Add(-time.Hour)).Running(0)}); err != nil {
		return err
	}
	rate := w.jobs.wanted(now, now.Add(w.policy.max)) / w.policy.max.Seconds()
	w.bare, err = testenv.StartProcess(filepath.Join(w.dir, "floor.log"), nil, self, "-floor="+strconv.FormatFloat(rate, 'f', 3, 64), "-endpoint="+w.endpoint,
		"-connections="+strconv.Itoa(w.connections), "-error-rate="+strconv.FormatFloat(w.errorRate, 'g', -1, 64),
		"-ca-file="+w.caFile)
	if err != nil {
		return err
	}
	return wait(ctx, 11*time.Second)
}

// retireFloor ends the job of the bare client: it is no longer polled.
func (w *world) retireFloor(ctx context.Context) error {
	return w.tell(ctx, []dlitest.Job{query(floorJob, time.Now()).Finishes(4)})
}

// asked returns the number of requests to DLI in the operator's metrics.
func asked(metrics testenv.Series) float64 { return metrics.Sum(requestsTotal) }
