// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"math"
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli"
)

// wantsProgress reports whether to read the progress of a job: while it runs, if that is
// wanted, at most once per refresh interval.
func (j *job) wantsProgress(now time.Time) bool {
	return j.target.ReportProgress && j.target.Type.HasProgress() && j.isRunning() && !now.Before(j.progressDueAt)
}

// recordProgress records the progress of a job, and reports whether its percentage has
// changed.
func (j *job) recordProgress(progress *dli.Progress) bool {
	if progress.Fraction == nil || !j.target.ReportProgress || !j.isRunning() {
		return false
	}
	percent := int32(math.Round(*progress.Fraction * 100))
	if j.progress != nil && *j.progress == percent {
		return false
	}
	j.progress = &percent
	return true
}

// wantsCost reports whether the cost of a job is wanted and unknown.
func (j *job) wantsCost() bool { return j.target.ReportCost && j.cost == nil }

// recordCost records the cost of a job that a list shows, and reports whether it does.
func (j *job) recordCost(list *dli.JobList) bool {
	for i := range list.Jobs {
		row := &list.Jobs[i]
		if j.wantsCost() && strings.EqualFold(row.JobID, j.target.JobID) && (row.CPUCost != nil || row.OutputBytes != nil) {
			j.cost = new(row.Cost)
			j.leaveHeap()
			return true
		}
	}
	return false
}
