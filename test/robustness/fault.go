// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/dli-operator/dli-operator/test/robustness/check"
)

// fault is a fault that lasts for a time between from and to.
type fault struct {
	name string
	// group is the resource that it needs exclusively: two faults of a group are never
	// injected together.
	group    string
	from, to time.Duration
	// last is set if it is injected once, after all others, and alone.
	last   bool
	inject func(ctx context.Context, i injection) error
}

// injection is one injection of a fault.
type injection struct {
	*cluster

	random *rand.Rand
	lasts  time.Duration
	// alone is set if no other fault is injected at the same time.
	alone bool
}

// The groups.
const (
	onOperators = "operators"
	onAPI       = "API server"
	onDLI       = "DLI"
	onObjects   = "objects"
)

// during keeps up a state for the duration of the injection.
func (i injection) during(ctx context.Context, begin, end func()) error {
	begin()
	defer end()
	return wait(ctx, i.lasts)
}

// lie replaces responses of DLI for the duration of the injection.
func (i injection) lie(ctx context.Context, l lie) error {
	const name = "injected"
	return i.during(ctx, func() { i.dli.begin(name, l) }, func() { i.dli.end(name) })
}

// onTime is during, for faults that must not delay polls.
func (i injection) onTime(ctx context.Context, begin, end func()) error {
	return i.during(ctx, begin, func() {
		if i.alone {
			late := i.unpolled(time.Now().Add(-pollMax - 5*time.Second))
			polled := len(late) == 0 || i.lasts < pollMax+5*time.Second
			i.history.Expect(polled, time.Now(), check.Schedule, "jobs", "%d were not polled, among them %s", len(late), first(late))
		}
		end()
	})
}

// first returns the first few of some texts.
func first(texts []string) []string { return texts[:min(len(texts), 5)] }

// team is a random team.
func (i injection) team() *team { return i.teams[i.random.IntN(len(i.teams))] }

// proxies does something to the connections of all replicas to the API server.
func (i injection) proxies(do func(o *operator)) {
	for _, o := range i.replicas {
		do(o)
	}
}

// onLeader injects something into the leader.
func onLeader(do func(ctx context.Context, leader *operator, i injection) error) func(context.Context, injection) error {
	return func(ctx context.Context, i injection) error {
		leader, err := i.leader(ctx)
		if err != nil {
			return err
		}
		return do(ctx, leader, i)
	}
}
