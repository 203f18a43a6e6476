// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Command robustness runs two operators, as separate processes with leader election, on a real
// API server and etcd, against a simulated DLI. It injects faults into them and everything
// around them, and checks what they show:
//
//	make robustness                                          # half an hour
//	make robustness ROBUSTNESSFLAGS="-duration=4m -seed=7"   # the same faults, in the same order
//	make robustness ROBUSTNESSFLAGS="-faults=etcd-restored,leader-frozen"
//	make robustness-broken                             # operators that are broken on purpose
//
// It first injects each fault alone, then several together, until the time is up. After
// each it waits until the operator has recovered. The invariants are in the package check.
//
// In reading order, which is that of the references: main.go, broken.go (operators that are
// broken on purpose), run.go (rounds), report.go, plan.go (which faults when), overlay.go
// (edits of the operator), faults_*.go and fault.go, cluster.go (all that runs), jobs.go (what
// is watched), operator.go (a process), responses.go and dli.go (DLI), watcher.go and feed.go
// (what the API server shows), wait.go.
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
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/test/testenv"
)

func main() { testenv.Main(context.Background(), "robustness", runWith) }

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("robustness", flag.ContinueOnError)
	flags.Uint64Var(&o.seed, "seed", 0, "chooses faults, jobs and times; 0 for a new one, which is printed")
	flags.DurationVar(&o.duration, "duration", 30*time.Minute, "how long to inject faults")
	flags.IntVar(&o.active, "jobs", 80, "how many jobs are active at a time")
	names := flags.String("faults", "", "comma-separated faults to inject, or with -broken operators to run; empty for all")
	flags.BoolVar(&o.pairs, "pairs", false, "inject two faults at a time from the start, to cover more in less time")
	flags.BoolVar(&o.keepLogs, "keep-logs", false, "keep the operators' logs in the temporary directory, even without a violation")
	flags.BoolVar(&o.broken, "broken", false, "run deliberately broken operators instead, and fail unless each causes a violation")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.duration <= 0 || o.active < 10 {
		return o, errors.New("the duration must be positive, and there must be at least 10 jobs")
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	switch all := strings.Split(*names, ","); {
	case *names == "":
	case o.broken:
		o.operators = all
	default:
		o.faults = all
	}
	_, err = chooseFaults(o.faults)
	return o, err
}

func runWith(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.broken {
		return runBroken(ctx, o, out)
	}
	r, err := runOnce(ctx, o)
	if err != nil {
		return fmt.Errorf("with -seed=%d: %w", o.seed, err)
	}
	return r.print(out)
}
