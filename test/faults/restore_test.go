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

package faults

import (
	"net/http"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// After a restore of etcd, objects have lower resource versions than those that the
// operator has seen and written.
func TestARestoreOfEtcd(t *testing.T) {
	t.Parallel()
	t.Run("with a watch that continues", func(t *testing.T) {
		t.Parallel()
		// The cache keeps its content, which is ahead of the API server.
		w := newRestorable(t)
		w.restore(func() {})
		w.goesOn()
	})
	t.Run("with a new list", func(t *testing.T) {
		t.Parallel()
		// The cache is reset as well, to before the last write of the operator.
		w := newRestorable(t)
		w.restore(func() { w.proxy.RefuseWatches(http.StatusGone) })
		throughout(5*time.Second, time.Second, func() {})
		w.proxy.RefuseWatches(0)
		w.finishes("new")
		created := w.watch("new")
		w.goesOn()
		w.await(created, 90*time.Second, "finished", (*v1alpha1.DLIJob).IsCompleted)
	})
}

// restorable is a world with its own control plane and two running jobs.
type restorable struct {
	*world
	plane           *testenv.ControlPlane
	proxy           *testenv.Proxy
	running, ending *v1alpha1.DLIJob
}

func newRestorable(t *testing.T, changes ...func(*world)) *restorable {
	t.Helper()
	plane := testenv.Run(t, crds)
	w := &restorable{world: newWorldOn(t, plane), plane: plane}
	for _, change := range changes {
		change(w.world)
	}
	often(w.world)
	w.options.Schedule.StatusRefreshInterval = time.Second
	w.proxy = w.behindProxy()
	w.runs("running")
	w.runs("ending")
	w.running, w.ending = w.watch("running"), w.watch("ending")
	w.start()
	w.awaitReason(w.running, v1alpha1.ReasonJobRunning)
	w.awaitReason(w.ending, v1alpha1.ReasonJobRunning)
	return w
}

// restore resets etcd to before the last write of both jobs; meanwhile runs while it is
// unavailable.
func (w *restorable) restore(meanwhile func()) {
	w.Helper()
	snapshot, err := w.plane.Snapshot()
	if err != nil {
		w.Fatal(err)
	}
	for _, job := range []*v1alpha1.DLIJob{w.running, w.ending} {
		before := w.reload(job).ResourceVersion
		w.await(job, wait, "written again", func(job *v1alpha1.DLIJob) bool { return job.ResourceVersion != before })
	}
	meanwhile()
	if err := w.plane.Restore(snapshot); err != nil {
		w.Fatal(err)
	}
}

// goesOn checks that both jobs are still polled and written.
func (w *restorable) goesOn() {
	w.Helper()
	w.finishes("ending")
	w.await(w.ending, 90*time.Second, "finished", (*v1alpha1.DLIJob).IsCompleted)
	w.awaitRequests("running", w.dli.Requests("running")+5)
	last := w.reload(w.running).Status.LastPollTime
	w.await(w.running, wait, "written again", func(job *v1alpha1.DLIJob) bool { return job.Status.LastPollTime.After(last.Time) })
}

// Objects created after the restore are invisible to watches that continue from a later
// version. Only a new process sees them, so the operator must be told to restart.
func TestARestoreOfEtcdIsNoticed(t *testing.T) {
	t.Parallel()
	noticed := make(chan struct{}, 100)
	w := newRestorable(t, func(w *world) { w.options.Rewound = func() { noticed <- struct{}{} } })
	if len(noticed) > 0 {
		t.Error("it was noticed before it happened")
	}
	w.restore(func() {})
	if !testenv.Within(wait, func() bool { return len(noticed) > 0 }) {
		t.Fatal("it was not noticed")
	}
	// A process that remembers the state before the restore must not write it back.
	changeStatus(w.world, w.running, func(job *v1alpha1.DLIJob) { job.Status.Outcome = v1alpha1.OutcomeFailed })
	throughout(7*time.Second, time.Second, func() {
		if got := w.reload(w.running); got.Status.Outcome == "" {
			t.Fatalf("it wrote: %s", says(got))
		}
	})
}
