// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// quick responds immediately.
type quick struct{ script }

func (quick) Status(context.Context, dli.Credentials, dli.JobType, string) (*dli.JobStatus, error) {
	return running.status, nil
}

// benchmark returns a poller whose loop is driven by the benchmark, and n jobs for it.
func benchmark(b *testing.B, n int, secret bool) (*Poller, *clocktesting.FakeClock, []Target) {
	b.Helper()
	c := newCluster()
	c.limitRate(1e6)
	if !secret {
		c.secret = nil
	}
	clock := clocktesting.NewFakeClock(noon)
	registry := connection.NewRegistry(c, c, connection.Options{
		AllowInsecure: true,
		NewClient:     func(dli.Config) (connection.Client, error) { return quick{}, nil },
	}, script{})
	conn := registry.Configure(c.connections[key("a")])
	if _, _, err := conn.Refresh(b.Context(), nil, noon); err != nil {
		b.Fatal(err)
	}
	p := New(Config{
		Schedule: DefaultSchedule(), Connections: registry, MaxRequests: 200,
		Deliver:  func(types.NamespacedName, bool) {},
		Changed:  func(types.NamespacedName) {},
		Recorder: script{}, Clock: clock,
		Jitter: func() float64 { return 2*rand.Float64() - 1 },
	})
	targets := make([]Target, n)
	for i := range targets {
		name := fmt.Sprint("job-", i)
		targets[i] = Target{Key: key(name), UID: types.UID(name), JobID: name, Connection: conn.Key}
	}
	return p, clock, targets
}

// look is one iteration of the loop.
func (p *Poller) look(ctx context.Context) {
	p.runQueues(ctx, p.config.Clock.Now())
	p.requests.Wait()
}

// BenchmarkPoll polls 50,000 jobs, once each per operation, to measure the cost without
// the request itself.
func BenchmarkPoll(b *testing.B) {
	const n = 50_000
	p, clock, targets := benchmark(b, n, true)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one finishes an earlier sweep
	runtime.ReadMemStats(&before)
	for _, t := range targets {
		p.Watch(t)
	}
	p.look(b.Context())
	for _, t := range targets {
		p.Stored(t.Key, p.Latest(t.Key).Result)
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if p.queues[targets[0].Connection].sent < n {
		b.Fatal("not all were polled")
	}
	for b.Loop() {
		clock.Step(2 * time.Minute)
		p.look(b.Context())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/poll")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/job")
}
