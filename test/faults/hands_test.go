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

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// A status that something else changed is restored immediately, not at the next poll.
func TestForgedStatus(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*v1alpha1.DLIJobStatus){
		"an emptied status":    func(s *v1alpha1.DLIJobStatus) { *s = v1alpha1.DLIJobStatus{} },
		"a changed field":      func(s *v1alpha1.DLIJobStatus) { s.QueueName = "another" },
		"a removed condition":  func(s *v1alpha1.DLIJobStatus) { meta.RemoveStatusCondition(&s.Conditions, v1alpha1.SyncedCondition) },
		"a reversed condition": func(s *v1alpha1.DLIJobStatus) { set(s, v1alpha1.ReadyCondition, metav1.ConditionTrue) },
		"a forged outcome": func(s *v1alpha1.DLIJobStatus) {
			s.Outcome, s.JobStatus = v1alpha1.OutcomeSucceeded, "FINISHED"
			now := metav1.Now()
			s.CompletionTime = &now
			for _, name := range []string{v1alpha1.ReadyCondition, v1alpha1.SucceededCondition, v1alpha1.CompletedCondition} {
				set(s, name, metav1.ConditionTrue)
			}
			meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ReconcilingCondition)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.runs("job")
			job := w.watch("job", every(3600))
			w.start()
			before := w.awaitReason(job, v1alpha1.ReasonJobRunning)
			w.isRestored(before, do)
		})
	}
	for name, do := range map[string]func(*v1alpha1.DLIJobStatus){
		"a changed outcome of a job that DLI no longer has": func(s *v1alpha1.DLIJobStatus) {
			s.Outcome = v1alpha1.OutcomeFailed
			set(s, v1alpha1.SucceededCondition, metav1.ConditionFalse)
			set(s, v1alpha1.ReadyCondition, metav1.ConditionFalse)
		},
		"a removed outcome of a job that DLI no longer has": func(s *v1alpha1.DLIJobStatus) { *s = v1alpha1.DLIJobStatus{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.finishes("job")
			job := w.watch("job")
			w.start()
			before := w.awaitReason(job, v1alpha1.ReasonJobFinished)
			w.dli.RemoveJob("job")
			w.isRestored(before, do)
		})
	}
}

func set(s *v1alpha1.DLIJobStatus, name string, status metav1.ConditionStatus) {
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: name, Status: status, Reason: "Forged", Message: "forged"})
}

// isRestored changes a status, and checks that it is restored.
func (w *world) isRestored(before *v1alpha1.DLIJob, do func(*v1alpha1.DLIJobStatus)) {
	w.Helper()
	changeStatus(w, before.DeepCopy(), func(job *v1alpha1.DLIJob) { do(&job.Status) })
	// Figures may have changed in the meantime, and the conditions have changed twice.
	figures := cmp.Options{
		cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime", "Message"),
		cmpopts.IgnoreFields(v1alpha1.DLIJobStatus{}, "LastPollTime", "Duration", "DurationMilliseconds"),
		cmpopts.SortSlices(func(a, b metav1.Condition) bool { return a.Type < b.Type }),
	}
	var now *v1alpha1.DLIJob
	if !testenv.Within(15*time.Second, func() bool {
		now = w.reload(before)
		return cmp.Equal(before.Status, now.Status, figures)
	}) {
		w.Errorf("the status is not restored after 15 s: it was %s\nand is %s", says(before), says(now))
	}
}
