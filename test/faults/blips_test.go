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
	"slices"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// A single failed poll of a healthy job is not reported.
func TestTransientFailures(t *testing.T) {
	t.Parallel()
	const jobs, batches, batch = 100, 12, 4
	w := newWorld(t)
	w.options.Schedule.PollIntervalMin, w.options.Schedule.PollIntervalMax = 2*time.Second, 2*time.Second
	// Figures are not refreshed, and each job is polled individually.
	w.options.Schedule.StatusRefreshInterval, w.options.Schedule.ListInterval = time.Hour, 0
	change(w, w.connection("default", ""), func(c *v1alpha1.DLIConnection) {
		c.Spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: 1000, Burst: 1000}
	})
	seen := w.record()
	w.start()
	watched := w.watchRunning(jobs)
	// By then, the watch has delivered the last write.
	w.awaitRequests(watched[0].Name, w.dli.Requests(watched[0].Name)+2)
	written := seen.len()
	for i := range batches {
		// Failures of jobs that are polled in succession would look like an outage.
		var failing []*v1alpha1.DLIJob
		for n := range batch {
			failing = append(failing, watched[i+n*jobs/batch])
		}
		w.failOnce(failing)
	}
	t.Logf("%d transient failures caused %d writes, after %d before them", batch*batches, seen.len()-written, written)
	if n := seen.len() - written; n > 2 {
		t.Errorf("%d transient failures caused %d writes", batch*batches, n)
	}
	extra := 0
	for _, job := range watched {
		if told := w.events(job.Name); !slices.Equal(told, []string{"Normal JobRunning"}) {
			if extra++; extra == 1 {
				t.Errorf("Events of %s are %q", job.Name, told)
			}
		}
	}
	if extra > 0 {
		t.Errorf("%d jobs have Events other than JobRunning", extra)
	}
}

// failOnce makes the next poll of each job fail, and returns once all were polled
// again.
func (w *world) failOnce(jobs []*v1alpha1.DLIJob) {
	w.Helper()
	asked := map[string]int{}
	for _, job := range jobs {
		asked[job.Name] = w.dli.Requests(job.Name)
		w.dli.SetResponse(job.Name, &dlitest.Response{Status: 502, Body: "<html>Not now.</html>", Once: true})
	}
	for name, before := range asked {
		w.awaitRequests(name, before+2)
	}
}
