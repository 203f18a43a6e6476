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
	"fmt"
	"time"

	"github.com/dli-operator/dli-operator/test/robustness/check"
)

// How much more the leader may hold at the end than before the first job, for idle
// connections and memory kept by the runtime.
const (
	moreHeap       = 16 << 20
	moreGoroutines = 60
)

// idle is what the leader holds before the first job.
func (w *world) idle(ctx context.Context) (h holding, err error) {
	leader, err := w.awaitLeader(ctx)
	if err != nil {
		return h, err
	}
	if err := wait(ctx, 3*time.Second); err != nil {
		return h, err
	}
	return leader.holding(ctx)
}

// settle waits until all jobs have ended and are deleted, and checks what the leader
// still holds.
func (w *world) settle(ctx context.Context, r *report, idle holding) error {
	w.label("the end", 0)
	w.jobs.stop()
	end := time.Now()
	var waiting []string
	until(ctx, recovery, func() bool { waiting = w.waiting(end); return len(waiting) == 0 })
	w.judge(func(h *check.History) {
		h.Add(check.Ends, len(w.watcher.jobs()), nil)
		if len(waiting) > 0 {
			h.Fail(time.Now(), check.Ends, fmt.Sprintf("%d jobs", len(waiting)), "not shown at the end: %s", waiting[0])
		}
	})
	gone := until(ctx, time.Minute, func() bool {
		_ = w.jobs.deleteAll(ctx)
		return len(w.watcher.jobs()) == 0
	})
	if !gone {
		return errors.Join(errors.New("the DLIJobs are not deleted"), ctx.Err())
	}
	leader, err := w.awaitLeader(ctx)
	if err != nil {
		return err
	}
	// Hanging requests and the connections of old watches end.
	fits := until(ctx, 45*time.Second, func() bool {
		r.left, err = leader.holding(ctx)
		return err == nil && r.left.heap < idle.heap+moreHeap && r.left.goroutines < idle.goroutines+moreGoroutines
	})
	r.idle = idle
	w.judge(func(h *check.History) {
		h.Add(check.Leftover, 2, nil)
		if !fits {
			h.Fail(time.Now(), check.Leftover, leader.process(), "held %.1f MiB and %v goroutines before the first job, %.1f MiB and %v after the last (%v)",
				idle.heap/(1<<20), idle.goroutines, r.left.heap/(1<<20), r.left.goroutines, err)
		}
	})
	return nil
}
