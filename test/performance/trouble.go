// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math"
	"time"
)

// untilTrouble is how much of the window passes before the API server becomes unavailable.
const untilTrouble = 10 * time.Second

// disturb slows down the operator's writes from now on, and makes the API server
// unavailable for a while. The returned function waits until it is available again, and
// returns when that was; zero if it never was unavailable.
func (w *world) disturb(ctx context.Context) (over func() (time.Time, error)) {
	if w.proxy != nil {
		w.proxy.Delay(w.slowWrites)
	}
	if w.writesStopped == 0 {
		return func() (time.Time, error) { return time.Time{}, nil }
	}
	var back time.Time
	failed := make(chan error, 1)
	go func() {
		failed <- func() error {
			if err := wait(ctx, untilTrouble); err != nil {
				return err
			}
			say("the API server is unavailable for %v", w.writesStopped)
			if err := w.proxy.Stop(); err != nil {
				return err
			}
			if err := wait(ctx, w.writesStopped); err != nil {
				return err
			}
			say("the API server is available again")
			back = time.Now()
			return w.proxy.Resume()
		}()
	}()
	return func() (time.Time, error) {
		err := <-failed
		return back, err
	}
}

// drain waits until all ends before a time are stored, as long as disturbed writes may
// take, and returns when that was.
func (w *world) drain(ctx context.Context, until time.Time) (time.Time, error) {
	if w.trouble.some() || w.endsPerSecond > 0 {
		limit := time.Now().Add(3 * time.Minute)
		for w.jobs.unstored(until) > 0 && time.Now().Before(limit) {
			if err := wait(ctx, 100*time.Millisecond); err != nil {
				return time.Time{}, err
			}
		}
	}
	if w.proxy != nil {
		w.proxy.Delay(0)
	}
	return time.Now(), nil
}

// recovery describes how the operator caught up on writes.
type recovery struct {
	// drained is the time from the end of the window until the last end was stored, in
	// seconds.
	drained float64
	// waiting is the number of ends that were not stored yet when the API server became
	// available.
	waiting                 int
	storedP50, storedAtLast float64 // seconds after that
}

func (r *recovery) rows() []row {
	return []row{
		{"last end stored after the window (s)", f(r.drained, 1)},
		{"ends that waited for the API server to be back", f(float64(r.waiting), 0)},
		{"these stored after it was back (s): p50", f(r.storedP50, 2)},
		{"these stored after it was back (s): max", f(r.storedAtLast, 2)},
	}
}

func (w *world) recovery(seen observed) recovery {
	r := recovery{
		drained:   seen.last.Sub(seen.after.at).Seconds(),
		storedP50: math.NaN(), storedAtLast: math.NaN(),
	}
	if !seen.back.IsZero() {
		r.waiting, r.storedP50, r.storedAtLast = w.jobs.storedAfter(seen.back, seen.last)
	}
	return r
}
