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
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// BenchmarkRecord measures a response with changes.
func BenchmarkRecord(b *testing.B) {
	stored := newJob(read(answering("RUNNING")))
	deriveConditions(stored, poller.Snapshot{}, noon, stallAfter)
	answer := answering("RUNNING", func(a *dli.JobStatus) { a.Duration, a.ResultCount = ptr.To(10*time.Minute), ptr.To[int64](4) })
	b.ReportAllocs()
	for b.Loop() {
		job := stored.DeepCopy()
		recordStatus(job, answer, noon)
		deriveConditions(job, poller.Snapshot{}, noon, stallAfter)
		digestOf(&job.Status)
	}
}
