// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

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
		differs(stored.Status, job.Status)
	}
}
