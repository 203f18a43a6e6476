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
	"testing"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
	testingclock "k8s.io/utils/clock/testing"
)

// fakeLock is a slow lock for the leader election.
type fakeLock struct {
	resourcelock.Interface

	clock *testingclock.FakeClock
	takes time.Duration
	err   error
}

func (l *fakeLock) Identity() string { return "me" }

func (l *fakeLock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.Update(ctx, r)
}

func (l *fakeLock) Update(context.Context, resourcelock.LeaderElectionRecord) error {
	l.clock.Step(l.takes)
	return l.err
}

func TestALeaseIsHeldForTheDeadlineAfterItWasRenewed(t *testing.T) {
	mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}
	for name, test := range map[string]struct {
		do   func(l *ownLease, lock *fakeLock) error
		want bool
	}{
		"never acquired": {func(*ownLease, *fakeLock) error { return nil }, false},
		"acquired":       {func(l *ownLease, _ *fakeLock) error { return l.Create(t.Context(), mine) }, true},
		"renewed":        {func(l *ownLease, _ *fakeLock) error { return l.Update(t.Context(), mine) }, true},
		"released": {func(l *ownLease, _ *fakeLock) error {
			return errors.Join(l.Update(t.Context(), mine), l.Update(t.Context(), resourcelock.LeaderElectionRecord{}))
		}, false},
		"renewed long ago": {func(l *ownLease, lock *fakeLock) error {
			defer lock.clock.Step(renewDeadline)
			return l.Update(t.Context(), mine)
		}, false},
		"renewed with an answer that took long": {func(l *ownLease, lock *fakeLock) error {
			lock.takes = renewDeadline
			return l.Update(t.Context(), mine)
		}, false},
		"not renewed, and the last time was a moment ago": {func(l *ownLease, lock *fakeLock) error {
			err := l.Update(t.Context(), mine)
			lock.err = errors.New("conflict")
			_ = l.Update(t.Context(), mine)
			return err
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			clock := testingclock.NewFakeClock(time.Now())
			lock := &fakeLock{clock: clock}
			l := &ownLease{Interface: lock, clock: clock}
			if err := test.do(l, lock); err != nil {
				t.Fatal(err)
			}
			if got := l.holds(clock.Now()); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestAProcessEndsThatDoesNotHoldItsLease(t *testing.T) {
	clock := testingclock.NewFakeClock(time.Now())
	l := &ownLease{Interface: &fakeLock{clock: clock}, clock: clock}
	if err := l.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "me"}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Start(t.Context()) }()
	for !clock.HasWaiters() {
		if t.Context().Err() != nil {
			t.Fatal("it does not look")
		}
	}
	// As after a process was frozen: much time has passed between two looks.
	clock.Step(time.Minute)
	if err := <-ended; err == nil {
		t.Error("it goes on")
	}
}
