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

package poller

import (
	"math"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli"
)

// wantsProgress reports whether to read the progress of a job: while it runs, if that is
// wanted, at most once per refresh interval.
func (j *job) wantsProgress(now time.Time) bool {
	return j.target.ReportProgress && j.isRunning() && !now.Before(j.progressDueAt)
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
