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

package controllers

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
)

// watch is what the operator remembers of one job between two reconciles and
// need not survive a restart. The worker that reconciles the job owns it: the
// queue never hands one key to two workers.
type watch struct {
	uid types.UID
	// due is when the next poll is due; zero before the first.
	due time.Time
	// turn is the job's reservation at its connection's rate limit; zero for none.
	turn turn
	// run is the current run of failed polls.
	run streak
	// held says that the connection keeps the job waiting, and heldAt in which
	// state of the connection that was: another state makes the job due.
	held   bool
	heldAt uint64
	// written is the resource version of the last write. The cache may lag
	// behind it for a moment.
	written string
}

// turn is a place in the line at a rate limiter: the right to one request from
// at on. It is void once the connection has another limiter.
type turn struct {
	at      time.Time
	limiter *rate.Limiter
	// paced says that the turn has come, and was moved to keep the pace.
	paced bool
}

// leave gives up a turn. One that has not come yet goes back to the line: else
// those who stay would wait for those who left.
func (t *turn) leave(now time.Time) {
	if t.limiter != nil && !t.paced && now.Before(t.at) {
		t.limiter.ReserveN(now, -1)
	}
	*t = turn{}
}

// watches holds the watch of every job.
type watches struct {
	mu    sync.Mutex
	byKey map[types.NamespacedName]*watch
}

// of returns the watch of a job, a new one for a job that was not seen before,
// also if another of its name was.
func (w *watches) of(key types.NamespacedName, uid types.UID) (found *watch, isNew bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if known, ok := w.byKey[key]; ok && known.uid == uid {
		return known, false
	}
	if w.byKey == nil {
		w.byKey = map[types.NamespacedName]*watch{}
	}
	created := &watch{uid: uid}
	w.byKey[key] = created
	return created, true
}

// forget drops the watch of a job that is gone at now.
func (w *watches) forget(key types.NamespacedName, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if known := w.byKey[key]; known != nil {
		known.turn.leave(now)
		delete(w.byKey, key)
	}
}
