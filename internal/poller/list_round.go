// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"time"

	"github.com/dli-operator/dli-operator/internal/dli"
)

const (
	// Lists are not used for a while after more than minMismatches wrong jobs that are
	// also more than one in mismatchShare.
	minMismatches, mismatchShare = 5, 10
)

// listed is what one list is of: DLI lists the jobs of each type and state on their own.
type listed struct {
	jobType dli.JobType
	state   dli.State
}

// listRound is one pass over the pages of one list.
type listRound struct {
	listed
	startedAt time.Time
	// next is the next page to request, from 1; pages is their number, known once the
	// first has arrived; done is how many have arrived.
	next, pages, done int
	// total is how many rows the first page announced, and rows how many have arrived, of
	// which mismatches are in another state.
	total, rows, mismatches int
}

func newListRound(of listed, now time.Time) *listRound {
	return &listRound{listed: of, startedAt: now, next: 1}
}

// wantsPage reports whether there is a page to request: the number of pages is known
// once the first has arrived.
func (r *listRound) wantsPage() bool { return r.next == 1 || r.next <= r.pages }

// inFlight returns how many pages were requested and have not arrived.
func (r *listRound) inFlight() int { return r.next - 1 - r.done }

// takePage returns the number of the next page, which is now in flight.
func (r *listRound) takePage() int {
	r.next++
	return r.next - 1
}

// addPage records a page that was requested with a size.
func (r *listRound) addPage(number, size int, list *dli.JobList) {
	r.done++
	r.rows += len(list.Jobs)
	if number > 1 {
		return
	}
	r.total = list.Total
	if len(list.Jobs) < min(size, list.Total) {
		size = max(1, len(list.Jobs)) // larger pages do not exist
	}
	r.pages = (list.Total + size - 1) / size
}

// isDone reports whether every page has arrived.
func (r *listRound) isDone() bool { return r.next > 1 && r.done >= max(1, r.pages) }

// isWhole reports whether about as many rows arrived as were announced. Jobs that end
// during the round move others to a page that has already arrived.
func (r *listRound) isWhole() bool {
	return r.total-r.rows <= max(minMismatches, r.total/mismatchShare)
}
