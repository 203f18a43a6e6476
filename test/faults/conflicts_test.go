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
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// A conflict neither loses a response nor causes another request.
func TestConflicts(t *testing.T) {
	t.Parallel()
	t.Run("labels change during polls", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, dlitest.WithLatency(3*time.Second))
		w.finishes("job")
		job := w.watch("job")
		w.start()
		var done *v1alpha1.DLIJob
		w.whileChanging(job, time.Second, 30*time.Second, func(job *v1alpha1.DLIJob) {
			metav1.SetMetaDataLabel(&job.ObjectMeta, "changed", strconv.FormatInt(time.Now().UnixNano(), 10))
		}, func() bool { done = w.reload(job); return done.IsCompleted() })
		if !done.IsCompleted() || w.dli.Requests("job") != 1 {
			t.Errorf("after %d responses with FINISHED: %s", w.dli.Requests("job"), says(done))
		}
		if errs := errorsIn(w.log.String()); len(errs) > 0 {
			t.Errorf("%d errors were logged, the first is %s", len(errs), errs[0])
		}
	})
	t.Run("polls are requested faster than DLI responds", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, dlitest.WithLatency(1500*time.Millisecond))
		w.runs("job")
		job := w.watch("job")
		w.start()
		running := func() bool { return w.reload(job).Status.JobStatus == "RUNNING" }
		if !w.whileChanging(job, 900*time.Millisecond, 20*time.Second, pollNow, running) {
			t.Errorf("after %d responses with RUNNING: %s", w.dli.Requests("job"), says(w.reload(job)))
		}
		w.finishes("job")
		asked := w.dli.Requests("job")
		completed := func() bool { return w.reload(job).IsCompleted() }
		if !w.whileChanging(job, 900*time.Millisecond, 20*time.Second, pollNow, completed) {
			t.Errorf("after %d responses with FINISHED: %s", w.dli.Requests("job")-asked, says(w.reload(job)))
		}
		if errs := errorsIn(w.log.String()); len(errs) > 0 {
			t.Errorf("%d errors were logged, the first is %s", len(errs), errs[0])
		}
	})
}

// whileChanging keeps changing a DLIJob until a condition holds, and reports whether it
// did in time.
func (w *world) whileChanging(job *v1alpha1.DLIJob, period, limit time.Duration, do func(*v1alpha1.DLIJob), is func() bool) bool {
	w.Helper()
	next := time.Now()
	return testenv.Within(limit, func() bool {
		if now := time.Now(); !now.Before(next) {
			next = now.Add(period)
			change(w, job.DeepCopy(), do)
		}
		return is()
	})
}
