// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures the operator as a separate process, on a real API server and
// etcd, against a simulated DLI.
//
//	make bench                                  # 100, 1000 and 10,000 jobs, 20 minutes
//	make bench BENCHFLAGS="-jobs 10000,50000"   # 40 minutes
//	make bench-smoke                            # 1000 jobs, under two minutes
//	make bench BENCHFLAGS="-jobs 10000 -connections 1 -rate-limit 400 -list-interval 5s"
//	make bench BENCHFLAGS="-jobs 2,20,200 -connections 1 -rate-limit 20 -list-interval 5s -others 300"
//	make bench BENCHFLAGS="-completed 25000"
//	make bench BENCHFLAGS="-jobs 10000 -latency 200ms -error-rate 0.01"
//	make bench BENCHFLAGS="-jobs 5000 -ends-per-second 100 -slow-writes 2s"
//	make bench BENCHFLAGS="-jobs 5000 -writes-stopped 60s"
//	make bench BENCHFLAGS="-jobs 10000 -operator-flags '--poll-interval-max=2m'"
//
// For each number of jobs, it creates the missing ones, waits until only polling
// continues, and measures for a while, in parallel with a bare client that polls at the
// same rate: see floor.go. At the end it restarts the operator. It prints lines of name:
// value, a table in Markdown, and whether each budget is met. make pictures draws them.
//
// Everything listens on loopback. Needs KUBEBUILDER_ASSETS and Linux.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/test/testenv"
)

func main() { testenv.Main(context.Background(), "bench", run) }

// options are the command-line options.
type options struct {
	load
	service
	trouble
	bareClient
	policy   policy
	pass     []string
	window   time.Duration
	runs     int
	pace     time.Duration
	timeout  time.Duration
	pprof    string
	smoke    bool
	restart  bool
	keepLogs bool
}

// load describes the jobs that the operator watches.
type load struct {
	jobs          []int
	completed     int
	others        int
	connections   int
	rate          int
	ages          span
	ends, short   float64
	spark         float64
	endsPerSecond float64
}

// service describes how the simulator responds.
type service struct {
	latency   time.Duration
	errorRate float64
	tls       bool
}

// trouble describes how the operator's writes are disturbed during the measurement.
type trouble struct {
	slowWrites    time.Duration
	writesStopped time.Duration
}

// some reports whether there is any disturbance.
func (t trouble) some() bool { return t.slowWrites > 0 || t.writesStopped > 0 }

// bareClient has the options that the benchmark passes to the bare client.
type bareClient struct {
	floorRate float64
	endpoint  string
	caFile    string
}

// policy has the operator's polling flags.
type policy struct {
	min, max time.Duration
	factor   float64
	lists    time.Duration
}

// interval returns the time between two polls of a job of an age.
func (p policy) interval(age time.Duration) time.Duration {
	return min(max(time.Duration(p.factor*float64(age)), p.min), p.max)
}

// longest is interval with the maximum jitter.
func (p policy) longest(age time.Duration) time.Duration { return p.interval(age) * 11 / 10 }

// span is a range of durations, written 10m-12h.
type span struct{ from, to time.Duration }

func (s *span) String() string { return fmt.Sprintf("%v-%v", s.from, s.to) }

func (s *span) Set(text string) (err error) {
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return errors.New("want two durations, as in 10m-12h")
	}
	if s.from, err = time.ParseDuration(from); err != nil {
		return err
	}
	if s.to, err = time.ParseDuration(to); err != nil {
		return err
	}
	if s.from <= 0 || s.to <= s.from {
		return errors.New("the second duration must be the longer one")
	}
	return nil
}

// any returns a random duration in the range.
func (s *span) any() time.Duration { return s.from + rand.N(s.to-s.from) }

func (o *options) bind(flags *flag.FlagSet) {
	flags.IntVar(&o.completed, "completed", 0, "measure nothing but the memory of this many completed jobs")
	flags.IntVar(&o.others, "others", 0, "how many active jobs there are in the project that are not watched")
	flags.IntVar(&o.connections, "connections", 10, "number of DLIConnections for the jobs, each in its own namespace")
	flags.IntVar(&o.rate, "rate-limit", 200, "requests per second and burst of each of them")
	flags.DurationVar(&o.policy.min, "poll-interval-min", 5*time.Second, "given to the operator")
	flags.DurationVar(&o.policy.max, "poll-interval-max", time.Minute, "given to the operator")
	flags.Float64Var(&o.policy.factor, "poll-interval-factor", 0.1, "given to the operator")
	flags.DurationVar(&o.policy.lists, "list-interval", 0, "given to the operator; 0 so that every request is one poll of one job")
	flags.Var(&o.ages, "ages", "how long the jobs have been running when they are created")
	flags.Float64Var(&o.ends, "ends", 0.01, "fraction of the jobs that end while being measured; at least 20 jobs")
	flags.Float64Var(&o.short, "short", 0.005, "short jobs of three states that begin and end while being measured, as a fraction of the jobs; at least 5, at most 250")
	flags.Float64Var(&o.spark, "spark", 0, "fraction of the jobs that are Spark jobs; the others are SQL jobs")
	flags.Float64Var(&o.endsPerSecond, "ends-per-second", 0, "how many more jobs end each second while being measured; they are created in addition to -jobs")
	flags.DurationVar(&o.slowWrites, "slow-writes", 0, "additional delay of each write of the operator during the measurement")
	flags.DurationVar(&o.writesStopped, "writes-stopped", 0, "how long the API server is unavailable to the operator during the measurement")
	flags.DurationVar(&o.latency, "latency", 20*time.Millisecond, "latency of the simulator's responses")
	flags.Float64Var(&o.errorRate, "error-rate", 0, "fraction of the simulator's responses that are errors")
	flags.BoolVar(&o.tls, "tls", false, "use TLS and HTTP/2, as with DLI, instead of plain HTTP/1.1")
	flags.DurationVar(&o.window, "window", 0, "how long to measure; 0 for as long as it takes to see all ends")
	flags.IntVar(&o.runs, "runs", 3, "how often to measure at each number of jobs")
	flags.DurationVar(&o.pace, "pace", 0, "minimum time in which to create the jobs, to spread their polls; 0 for half the longest poll interval")
	flags.DurationVar(&o.timeout, "timeout", 40*time.Minute, "stop everything after this time")
	flags.StringVar(&o.pprof, "profile", "", "directory for profiles of the operator, taken while it is measured (the profiler costs CPU)")
	flags.BoolVar(&o.restart, "restart", true, "restart the operator at the end")
	flags.BoolVar(&o.keepLogs, "keep-logs", false, "keep the logs of all processes in the temporary directory")
	flags.BoolVar(&o.smoke, "smoke", false, "1000 jobs polled every 10 s, in under two minutes; fail if the operator polls too little, or writes or dials too much")
	flags.Float64Var(&o.floorRate, "floor", 0, "internal: run as the bare client, at this rate")
	flags.StringVar(&o.endpoint, "endpoint", "", "internal: endpoint of the bare client")
	flags.StringVar(&o.caFile, "ca-file", "", "internal: CA bundle of the bare client")
}

func parse(args []string) (options, error) {
	o := options{load: load{ages: span{10 * time.Minute, 12 * time.Hour}}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	o.bind(flags)
	jobs := flags.String("jobs", "100,1000,10000", "numbers of jobs to measure at, in ascending order")
	pass := flags.String("operator-flags", "", "additional flags for the operator, separated by spaces")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	o.pass = strings.Fields(*pass)
	if o.smoke {
		// As many polls in ten seconds as usual in a minute: enough to count in a short
		// time.
		*jobs, o.policy.max, o.window, o.runs, o.pace, o.restart = "1000", 10*time.Second, 35*time.Second, 1, 10*time.Second, false
		// Each connection has a pool of TCP connections that grows for some minutes.
		// With many, only this growth would be visible.
		o.connections = 2
	}
	for n := range strings.SplitSeq(*jobs, ",") {
		count, err := strconv.Atoi(strings.TrimSpace(n))
		if err != nil || count < 1 || len(o.jobs) > 0 && count <= o.jobs[len(o.jobs)-1] {
			return o, fmt.Errorf("-jobs %s: want ascending numbers", *jobs)
		}
		o.jobs = append(o.jobs, count)
	}
	return o, o.complete()
}

// complete sets the options that depend on others, and rejects invalid ones.
func (o *options) complete() error {
	if o.connections < 1 || o.rate < 1 || o.runs < 1 || o.policy.min <= 0 || o.policy.max < o.policy.min {
		return errors.New("connections, rate limit, runs and poll intervals must be positive, and the minimum no more than the maximum")
	}
	if o.endsPerSecond < 0 || o.completed < 0 || o.others < 0 || o.slowWrites < 0 || o.writesStopped < 0 {
		return errors.New("-completed, -others, -ends-per-second, -slow-writes and -writes-stopped must not be negative")
	}
	if o.spark < 0 || o.spark > 1 {
		return errors.New("-spark must be between 0 and 1")
	}
	longest := o.policy.max * 11 / 10
	if o.window == 0 {
		o.window = longest + 15*time.Second
		if o.endsPerSecond > 0 {
			// Ends are noticed at that rate only after one poll interval.
			o.window = 2*longest + 5*time.Second
		}
		if o.writesStopped > 0 {
			o.window = max(o.window, untilTrouble+o.writesStopped+longest+20*time.Second)
		}
	}
	if o.pace == 0 {
		o.pace = o.policy.max / 2
	}
	if o.window < longest+5*time.Second {
		return fmt.Errorf("-window %v: ends may be noticed %v late; measure at least 5 s longer than that", o.window, longest)
	}
	return nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if o.floorRate > 0 {
		return pollAtRate(ctx, o)
	}
	return measure(ctx, o, out)
}

func measure(ctx context.Context, o options, out io.Writer) (err error) {
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r := &report{options: o, began: time.Now()}
	if r.idle, err = w.measureIdle(ctx); err != nil {
		return err
	}
	if o.completed > 0 {
		c, err := w.measureCompleted(ctx, o.completed)
		if err == nil {
			c.print(out, r.idle)
		}
		return err
	}
	for _, n := range o.jobs {
		s, err := w.measureStage(ctx, n, r.idle)
		if err != nil {
			return fmt.Errorf("measuring %d jobs: %w", n, err)
		}
		r.stages = append(r.stages, s)
		s.print(out)
	}
	if o.restart {
		if r.restart, err = w.measureRestart(ctx); err != nil {
			return fmt.Errorf("restarting the operator: %w", err)
		}
	}
	return r.print(out)
}
