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
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// After a restore of etcd objects have lower resource versions than those that
// the operator has seen and written.
func TestARestoreOfEtcd(t *testing.T) {
	t.Parallel()
	plane := newControlPlane()
	if err := plane.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Close(); err != nil {
			t.Error(err)
		}
	})
	w := newWorldOn(t, plane)
	often(w)
	w.options.Schedule.StatusRefreshInterval = time.Second
	for _, id := range []string{"running", "ending"} {
		w.runs(id)
	}
	ending := w.watch("ending")
	running := w.watch("running")
	w.start()
	w.awaitReason(running, v1alpha1.ReasonJobRunning)
	w.awaitReason(ending, v1alpha1.ReasonJobRunning)
	snapshot, err := plane.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	// Both are written after the snapshot.
	for _, job := range []*v1alpha1.DLIJob{running, ending} {
		before := w.reload(job).ResourceVersion
		w.await(job, wait, "written again", func(job *v1alpha1.DLIJob) bool { return job.ResourceVersion != before })
	}
	if err := plane.Restore(snapshot); err != nil {
		t.Fatal(err)
	}

	w.finishes("new")
	created := w.watch("new")
	w.finishes("ending")
	w.await(ending, 90*time.Second, "finished", (*v1alpha1.DLIJob).IsCompleted)
	w.await(created, 90*time.Second, "finished", (*v1alpha1.DLIJob).IsCompleted)
	w.awaitRequests("running", w.dli.Requests("running")+5)
	last := w.reload(running).Status.LastPollTime
	w.await(running, wait, "written again", func(job *v1alpha1.DLIJob) bool { return job.Status.LastPollTime.After(last.Time) })
}
