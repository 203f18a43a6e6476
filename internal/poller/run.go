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
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
)

// Run describes the consecutive failed polls of one job; the zero value is none.
type Run struct {
	// Failures counts the failed polls, and Reason is that of the latest failure.
	Failures int
	Reason   string
	// NotFound counts the latest consecutive responses that DLI has no such job, and
	// NotFoundSince is the time of the first.
	NotFound      int
	NotFoundSince time.Time
	// UnreadableSince is since when user action has been required; zero if it is not.
	UnreadableSince time.Time
}

// after returns the run with one more failed poll, at now.
func (r Run) after(f *connection.Failure, now time.Time) Run {
	r.Failures++
	if f.Reason == v1alpha1.ReasonJobNotFound {
		if r.NotFound == 0 {
			r.NotFoundSince = now
		}
		r.NotFound++
	} else {
		r.NotFound, r.NotFoundSince = 0, time.Time{}
	}
	return r.held(f, now)
}

// held returns the run with a failure without a poll of this job: it counts towards
// UnreadableSince, but not as a failed poll.
func (r Run) held(f *connection.Failure, now time.Time) Run {
	r.Reason = f.Reason
	switch {
	case !f.NeedsAction():
		r.UnreadableSince = time.Time{}
	case r.UnreadableSince.IsZero():
		r.UnreadableSince = now
	}
	return r
}

// ConfirmsNotFound reports whether NotFound is confirmed at now: a job that was just
// submitted may not be readable yet, so one response is not enough.
func (r Run) ConfirmsNotFound(now time.Time, after time.Duration) bool {
	return r.NotFound >= 3 && now.Sub(r.NotFoundSince) >= after
}
