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
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// An operator that was frozen for longer than its lease sees a status that it did not
// write: the new leader wrote it, so it must not restore its own.
func TestAFormerLeaderWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	often(w)
	var leads atomic.Bool
	leads.Store(true)
	w.options.Leads = func(time.Time) bool { return leads.Load() }
	w.runs("job")
	job := w.watch("job")
	w.start()
	w.awaitReason(job, v1alpha1.ReasonJobRunning)

	leads.Store(false)
	changeStatus(w, job, func(job *v1alpha1.DLIJob) { job.Status.Outcome = v1alpha1.OutcomeFailed })
	throughout(4*time.Second, 200*time.Millisecond, func() {
		if got := w.reload(job); got.ResourceVersion != job.ResourceVersion {
			t.Fatalf("it wrote: %s", says(got))
		}
	})
	// It led all along, and only the renewal of its lease was slow.
	leads.Store(true)
	w.await(job, wait, "restored", func(job *v1alpha1.DLIJob) bool { return job.Status.Outcome == "" })
}

// The last write of a leader that was frozen or cut off can reach the API server after
// another replica has become the leader. The outcome was visible, so it stays, no
// matter what DLI reports now.
func TestTheLateWriteOfAFormerLeaderStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	often(w)
	w.runs("job")
	job := w.watch("job")
	w.start()
	w.awaitReason(job, v1alpha1.ReasonJobRunning)
	w.changing(job, func() error {
		job.Status.Outcome, job.Status.JobStatus = v1alpha1.OutcomeSucceeded, "FINISHED"
		return w.Status().Update(w.Context(), job, client.FieldOwner("dli-operator"))
	})
	throughout(4*time.Second, 50*time.Millisecond, func() {
		if got := w.reload(job); got.Status.Outcome != v1alpha1.OutcomeSucceeded {
			t.Fatalf("the outcome was removed: %s", says(got))
		}
	})
	if got := condition(w.reload(job).Status.Conditions, v1alpha1.ReadyCondition); got.Reason != v1alpha1.ReasonJobFinished {
		t.Errorf("Ready is %s/%s", got.Status, got.Reason)
	}
}
