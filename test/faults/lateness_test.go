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

// Lateness counts from when a poll became due, not from before it was wanted.
func TestLateness(t *testing.T) {
	t.Parallel()
	t.Run("after a suspension", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.runs("job")
		job := w.watch("job")
		o := w.start()
		w.awaitReason(job, v1alpha1.ReasonJobRunning)
		change(w, job, func(job *v1alpha1.DLIJob) { job.Spec.Suspend = true })
		w.awaitReason(job, v1alpha1.ReasonSuspended)
		throughout(10*time.Second, time.Second, func() {})
		change(w, job, func(job *v1alpha1.DLIJob) { job.Spec.Suspend = false })
		w.awaitReason(job, v1alpha1.ReasonJobRunning)
		o.isPunctual(t, 2)
	})
	t.Run("of a requested poll after the end", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.finishes("job")
		job := w.watch("job")
		o := w.start()
		w.awaitReason(job, v1alpha1.ReasonJobFinished)
		throughout(20*time.Second, time.Second, func() {})
		change(w, job, pollNow)
		w.await(job, wait, "polled again", func(job *v1alpha1.DLIJob) bool {
			return job.Status.LastHandledPollRequest == job.Annotations[v1alpha1.PollRequestedAtAnnotation]
		})
		o.isPunctual(t, 2)
	})
}

// isPunctual checks the total lateness of at least that many polls.
func (o *operator) isPunctual(t *testing.T, polls uint64) {
	t.Helper()
	families, err := o.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "dli_operator_poll_lateness_seconds" {
			continue
		}
		n, sum := uint64(0), 0.0
		for _, m := range family.GetMetric() {
			n += m.GetHistogram().GetSampleCount()
			sum += m.GetHistogram().GetSampleSum()
		}
		if n < polls || sum > 4 {
			t.Errorf("%d polls were %.1f s late in total", n, sum)
		}
		return
	}
	t.Error("there is no such metric")
}
