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
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/leaderelection"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/recorder"
)

// Times of the leader election: another replica takes the lease if it was not
// renewed for leaseDuration; its holder gives up after renewDeadline.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	// With jitter, a released lease is taken after at most 3.3 s.
	retryPeriod = 1500 * time.Millisecond
)

// ownLease is the lock of the leader election, and knows when this process last
// renewed it. The election itself does not expose that: a process that was frozen
// for longer than its lease would consider itself the leader for another
// renewDeadline, in parallel to the new leader, and undo what that one writes.
type ownLease struct {
	resourcelock.Interface

	announcer *announcer
	clock     clock.WithTicker
	renewed   atomic.Pointer[time.Time]
}

// newLease returns the operator's lease; nil without leader election.
func newLease(config *rest.Config, o options) (*ownLease, error) {
	announcer := &announcer{}
	// A copy, because NewResourceLock sets a timeout that only the election needs.
	lock, err := leaderelection.NewResourceLock(rest.CopyConfig(config), announcer, leaderelection.Options{
		LeaderElection: o.leaderElect, LeaderElectionID: o.leaderElectionID, LeaderElectionNamespace: o.leaderElectionNamespace,
		RenewDeadline: renewDeadline,
	})
	if err != nil || lock == nil {
		return nil, err
	}
	return &ownLease{Interface: lock, announcer: announcer, clock: clock.RealClock{}}, nil
}

// announcer sends the Event about a new leader. It exists because the lock is
// created before the manager, which provides the recorder.
type announcer struct {
	record.EventRecorder // nil: the other methods are not used

	manager atomic.Pointer[manager.Manager]
	name    string
}

// GetEventRecorderFor implements the provider that the lock expects.
func (a *announcer) GetEventRecorderFor(name string) record.EventRecorder {
	a.name = name
	return a
}

// GetEventRecorder implements it, too; a lock has no use for it yet.
func (a *announcer) GetEventRecorder(string) recorder.EventRecorder { return nil }

// Eventf implements record.EventRecorder.
func (a *announcer) Eventf(object runtime.Object, kind, reason, message string, args ...any) {
	if mgr := a.manager.Load(); mgr != nil {
		(*mgr).GetEventRecorderFor(a.name).Eventf(object, kind, reason, message, args...) //nolint:staticcheck // the election's events are of the old kind
	}
}

// Create implements resourcelock.Interface.
func (l *ownLease) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	began := l.clock.Now()
	return l.note(l.Interface.Create(ctx, r), r, began)
}

// Update implements resourcelock.Interface.
func (l *ownLease) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	began := l.clock.Now()
	return l.note(l.Interface.Update(ctx, r), r, began)
}

// note records when the request that renewed the lease was sent: other replicas
// wait from then on, no matter how long the response took.
func (l *ownLease) note(err error, r resourcelock.LeaderElectionRecord, began time.Time) error {
	switch {
	case err != nil:
	case r.HolderIdentity == l.Identity():
		l.renewed.Store(&began)
	default:
		l.renewed.Store(nil)
	}
	return err
}

// holds reports whether this process certainly holds the lease at now.
func (l *ownLease) holds(now time.Time) bool {
	renewed := l.renewed.Load()
	return renewed != nil && now.Sub(*renewed) < renewDeadline
}

// Start implements manager.Runnable: once this process leads, it exits as soon as
// it no longer holds the lease.
func (l *ownLease) Start(ctx context.Context) error {
	tick := l.clock.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
			if now := l.clock.Now(); !l.holds(now) {
				return fmt.Errorf("the lease was not renewed for %v: another replica may lead", renewDeadline)
			}
		}
	}
}
