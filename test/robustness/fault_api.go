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
	"net/http"
	"time"

	"github.com/dli-operator/dli-operator/test/robustness/check"
)

// written are the resources that the operator writes.
var written = []string{"dlijobs/status", "dliconnections/status", "events"}

// apiFaults are the faults of the API server and of the network to it.
func apiFaults() []fault {
	faults := []fault{
		{name: "apiserver-stopped", group: onAPI, from: seconds(3), to: seconds(8), inject: func(ctx context.Context, i injection) error {
			err := i.plane.StopAPIServer()
			return errors.Join(err, wait(ctx, i.lasts), i.plane.StartAPIServer())
		}},
		{name: "etcd-and-apiserver-restarted", group: onAPI, from: seconds(1), to: seconds(14), inject: func(ctx context.Context, i injection) error {
			err := i.plane.Stop()
			return errors.Join(err, wait(ctx, i.lasts), i.plane.Start())
		}},
		{name: "etcd-restored", group: onAPI, from: seconds(6), to: seconds(14), inject: restored},
		{name: "watches-closed", group: onAPI, from: seconds(2), to: seconds(6), inject: watchesClosed},
		{name: "apiserver-slow", group: onAPI, from: seconds(6), to: seconds(12), inject: func(ctx context.Context, i injection) error {
			d := seconds(1 + 3*i.random.Float64())
			return i.during(ctx, func() { i.delay(d, written...) }, func() { i.delay(0, written...) })
		}},
	}
	for name, status := range map[string]int{
		"writes-429": http.StatusTooManyRequests, "writes-500": http.StatusInternalServerError, "writes-409": http.StatusConflict,
	} {
		faults = append(faults, fault{name: name, group: onAPI, from: seconds(4), to: seconds(12), inject: func(ctx context.Context, i injection) error {
			return i.during(ctx, func() { i.refuse(status, written...) }, func() { i.refuse(0, written...) })
		}})
	}
	byName(faults)
	return append(faults, leaseFaults()...)
}

// leaseFaults make the leader lose its lease.
func leaseFaults() []fault {
	return []fault{
		{name: "lease-refused", group: onAPI, from: seconds(13), to: seconds(18), inject: onLeader(func(ctx context.Context, leader *replica, i injection) error {
			return i.during(ctx, func() { leader.proxy.Refuse(http.StatusInternalServerError, "leases") }, func() { leader.proxy.Refuse(0, "leases") })
		})},
		{name: "lease-slow", group: onAPI, from: seconds(14), to: seconds(18), inject: onLeader(func(ctx context.Context, leader *replica, i injection) error {
			return i.during(ctx, func() { leader.proxy.Delay(12*time.Second, "leases") }, func() { leader.proxy.Delay(0, "leases") })
		})},
		{name: "leader-cut-off", group: onAPI, from: seconds(12), to: seconds(20), inject: onLeader(func(ctx context.Context, leader *replica, i injection) error {
			err := leader.proxy.Stop()
			return errors.Join(err, wait(ctx, i.lasts), leader.proxy.Resume())
		})},
	}
}

func onLeader(do func(ctx context.Context, leader *replica, i injection) error) func(context.Context, injection) error {
	return func(ctx context.Context, i injection) error {
		leader, err := i.awaitLeader(ctx)
		if err != nil {
			return err
		}
		return do(ctx, leader, i)
	}
}

func (w *world) delay(d time.Duration, resources ...string) {
	for _, r := range w.replicas {
		r.proxy.Delay(d, resources...)
	}
}

func (w *world) refuse(status int, resources ...string) {
	for _, r := range w.replicas {
		r.proxy.Refuse(status, resources...)
	}
}

// watchesClosed closes all connections, so that all watchers list again.
func watchesClosed(ctx context.Context, i injection) error {
	var errs []error
	for _, r := range i.replicas {
		r.proxy.RefuseWatches(http.StatusGone)
		errs = append(errs, r.proxy.Stop(), r.proxy.Resume())
	}
	errs = append(errs, wait(ctx, i.lasts))
	for _, r := range i.replicas {
		r.proxy.RefuseWatches(0)
	}
	return errors.Join(errs...)
}

// restored restores etcd to an earlier state.
func restored(ctx context.Context, i injection) error {
	snapshot, err := i.plane.Snapshot()
	if err != nil {
		return err
	}
	if err := wait(ctx, i.lasts); err != nil {
		return err
	}
	i.watcher.pause()
	defer i.watcher.resume()
	if err := i.plane.Restore(snapshot); err != nil {
		return err
	}
	i.judge(func(h *check.History) { h.Restored() })
	return nil
}
