// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// written are the resources that the operator writes.
var written = []string{"dlijobs/status", "dliconnections/status", "events"}

// apiFaults are the faults of the API server and of the network to it.
func apiFaults() []fault {
	return []fault{
		{name: "apiserver-stopped", group: onAPI, from: seconds(3), to: seconds(8), inject: func(ctx context.Context, i injection) error {
			err := i.plane.StopAPIServer()
			return errors.Join(err, wait(ctx, i.lasts), i.plane.StartAPIServer())
		}},
		{name: "apiserver-frozen", group: onAPI, from: seconds(40), to: seconds(45), inject: func(ctx context.Context, i injection) error {
			err := i.plane.FreezeAPIServer()
			return errors.Join(err, wait(ctx, i.lasts), i.plane.ThawAPIServer())
		}},
		{name: "etcd-and-apiserver-restarted", group: onAPI, from: seconds(1), to: seconds(14), inject: func(ctx context.Context, i injection) error {
			err := i.plane.Stop()
			return errors.Join(err, wait(ctx, i.lasts), i.plane.Start())
		}},
		{name: "etcd-restored", group: onAPI, from: seconds(6), to: seconds(14), inject: restored},
		{name: "watches-closed", group: onAPI, from: seconds(2), to: seconds(6), inject: func(ctx context.Context, i injection) error {
			return i.withoutWatches(ctx, func() error { return wait(ctx, i.lasts) })
		}},
		{name: "connection-recreated-unseen", group: onAPI, from: seconds(2), to: seconds(8), inject: recreatedUnseen},
		{name: "apiserver-slow", group: onAPI, from: seconds(16), to: seconds(20), inject: func(ctx context.Context, i injection) error {
			d := seconds(1 + 3*i.random.Float64())
			return i.onTime(ctx, func() { i.delay(d) }, func() { i.delay(0) })
		}},
		{name: "writes-429", group: onAPI, from: seconds(4), to: seconds(12), inject: refused(http.StatusTooManyRequests)},
		{name: "writes-500", group: onAPI, from: seconds(16), to: seconds(20), inject: refused(http.StatusInternalServerError)},
		{name: "writes-409", group: onAPI, from: seconds(4), to: seconds(12), inject: refused(http.StatusConflict)},
		{name: "responses-lost", group: onAPI, from: seconds(16), to: seconds(20), inject: func(ctx context.Context, i injection) error {
			lose := func(on bool) func() {
				return func() { i.proxies(func(o *operator) { o.proxy.LoseResponses(on, written...) }) }
			}
			return i.onTime(ctx, lose(true), lose(false))
		}},
		{name: "writes-held", group: onAPI, from: seconds(22), to: seconds(26), inject: onLeader(held)},
		{name: "lease-refused", group: onAPI, from: seconds(13), to: seconds(18), inject: onLeader(func(ctx context.Context, leader *operator, i injection) error {
			return i.during(ctx, func() { leader.proxy.Refuse(http.StatusInternalServerError, "leases") }, func() { leader.proxy.Refuse(0, "leases") })
		})},
		{name: "lease-slow", group: onAPI, from: seconds(14), to: seconds(18), inject: onLeader(func(ctx context.Context, leader *operator, i injection) error {
			return i.during(ctx, func() { leader.proxy.Delay(12*time.Second, "leases") }, func() { leader.proxy.Delay(0, "leases") })
		})},
		{name: "leader-cut-off", group: onAPI, from: seconds(12), to: seconds(20), inject: onLeader(func(ctx context.Context, leader *operator, i injection) error {
			err := leader.proxy.Stop()
			return errors.Join(err, wait(ctx, i.lasts), leader.proxy.Resume())
		})},
	}
}

// delay delays all writes.
func (i injection) delay(d time.Duration) {
	i.proxies(func(o *operator) { o.proxy.Delay(d, written...) })
}

// refused refuses all writes with a status.
func refused(status int) func(context.Context, injection) error {
	return func(ctx context.Context, i injection) error {
		refuse := func(status int) func() {
			return func() { i.proxies(func(o *operator) { o.proxy.Refuse(status, written...) }) }
		}
		return i.onTime(ctx, refuse(status), refuse(0))
	}
}

// held holds the leader's writes in the network until another one leads.
func held(ctx context.Context, leader *operator, i injection) error {
	leader.proxy.Hold(21*time.Second, "dlijobs/status")
	defer leader.proxy.Hold(0, "dlijobs/status")
	err := wait(ctx, 2500*time.Millisecond)
	leader.proxy.Refuse(http.StatusInternalServerError, "leases")
	defer leader.proxy.Refuse(0, "leases")
	return errors.Join(err, wait(ctx, i.lasts))
}

// withoutWatches closes all connections to the API server and refuses watches meanwhile, so
// that all watchers list again afterwards.
func (i injection) withoutWatches(_ context.Context, meanwhile func() error) error {
	status := []int{http.StatusGone, http.StatusServiceUnavailable}[i.random.IntN(2)]
	var errs []error
	i.proxies(func(o *operator) {
		o.proxy.RefuseWatches(status)
		errs = append(errs, o.proxy.Stop(), o.proxy.Resume())
	})
	errs = append(errs, meanwhile())
	i.proxies(func(o *operator) { o.proxy.RefuseWatches(0) })
	return errors.Join(errs...)
}

// recreatedUnseen deletes a DLIConnection and creates it anew while nobody watches.
func recreatedUnseen(ctx context.Context, i injection) error {
	t := i.team()
	i.history.Recreated(t.user.ProjectID)
	return i.withoutWatches(ctx, func() error {
		return i.recreate(ctx, i.lasts, func() client.Object { return i.connection(t) })
	})
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
	began := time.Now()
	i.watcher.pause()
	defer i.watcher.resume()
	if err := i.plane.Restore(snapshot); err != nil {
		return err
	}
	i.history.Restored(began, time.Now())
	return nil
}
