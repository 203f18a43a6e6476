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
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli"
)

// sweep is the state of a connection's lists of active jobs. Lists are a hint about
// what to poll, never a verdict: a job that a list shows in its known state is polled
// later, and one that it does not show is polled at once.
type sweep struct {
	// nextAt is when to decide on the next round, and round is the current one; nil if
	// there is none.
	nextAt time.Time
	round  *round
	// pages is the last known number of pages of each of listedStates, valid until
	// pagesUntil.
	pages      [len(listedStates)]int
	pagesUntil time.Time
	// pageSize is the number of jobs per page; 0 for the maximum.
	pageSize int
	// failures counts consecutive rounds that did not get every page, failedFor is the
	// reason, and unpaid counts consecutive rounds that turned out to save nothing.
	failures, unpaid int
	failedFor        string
	// watched is the number of jobs that the latest round covered, and alarms the number
	// that it did not show correctly.
	watched, alarms int
	// ended is when each ended job was seen to end, by lower-case ID.
	ended map[string]time.Time
}

// listedStates are the states of active jobs, in the order in which they are listed: a
// job that starts to run during a round is seen twice rather than never.
var listedStates = [...]dli.State{dli.StateLaunching, dli.StateRunning, dli.StateScaling}

// words are DLI's for listedStates.
var words = [len(listedStates)]string{"LAUNCHING", "RUNNING", "SCALING"}

const (
	// How long a number of pages stays valid. One that saves nothing stays valid for
	// longer each time, up to restMax, which is also how long lists that are forbidden or
	// unreliable are not used.
	pagesFor, restMax = 5 * time.Minute, time.Hour
	// A round must take this many times fewer requests than polling each job.
	payFactor = 2
	// While jobs wait, pages get one of every pageTurns turns, and at most one in
	// pageShare of the connection's requests in flight.
	pageTurns, pageShare = 2, 4
	// A job that maxMisses consecutive lists do not show is polled as if there were no
	// lists for hiddenFor.
	maxMisses, hiddenFor = 3, 5 * time.Minute
	// Lists are given up after more than minAlarms wrong jobs that are also more than
	// one in alarmShare.
	minAlarms, alarmShare = 5, 10
	// How long a list may show a job as active after its end.
	maxLag = 30 * time.Second
)

// round is one pass over all pages.
type round struct {
	began time.Time
	parts []part
	// entries are the jobs that the round covers, and index the last entry of each ID.
	entries []entry
	index   map[string]int
	// singles is the number of requests that the jobs would take without the round.
	singles float64
	// inFlight counts pending pages, and wrong the rows whose status is not the requested
	// one.
	inFlight, wrong int
}

// part is the pages of the jobs of one state.
type part struct {
	state int // of listedStates
	// next is the next page to request, from 1; pages is the number of pages, known after
	// the first; done is the number of pages that have arrived.
	next, pages, done int
	// total is the number of rows that the first page announced, and rows the number that
	// arrived.
	total, rows int
}

// entry is one job of a round.
type entry struct {
	job  *job
	next int // entry with the same ID; -1 if there is none
	seen bool
}

// page is one page of one part.
type page struct{ part, number int }

// wakeAt is when to decide on the next round; zero during a round.
func (s *sweep) wakeAt() time.Time {
	if s.round != nil {
		return time.Time{}
	}
	return s.nextAt
}

// rest ends the round, if any, and postpones the next one.
func (s *sweep) rest(until time.Time) { s.round, s.nextAt = nil, until }

// wantsPage reports whether a page can be requested, of limit requests in flight.
func (l *queue) wantsPage(limit int) bool {
	r := l.sweep.round
	return r != nil && r.inFlight < max(1, limit/pageShare) && r.part() >= 0
}

// part is the part with a page to request; -1 if there is none. The number of pages of a
// part is known once its first page has arrived.
func (r *round) part() int {
	for i, part := range r.parts {
		if part.next == 1 || part.next <= part.pages {
			return i
		}
	}
	return -1
}

// take returns the next page to request.
func (r *round) take() page {
	i := r.part()
	taken := page{i, r.parts[i].next}
	r.parts[i].next++
	r.inFlight++
	return taken
}

// isDone reports whether every page has arrived.
func (r *round) isDone() bool {
	for _, part := range r.parts {
		if part.next == 1 || part.done < max(1, part.pages) {
			return false
		}
	}
	return true
}

// isWhole reports whether about as many rows arrived as were announced. Jobs that end
// during the round move others to a page that has already arrived.
func (r *round) isWhole() bool {
	total, rows := 0, 0
	for _, part := range r.parts {
		total, rows = total+part.total, rows+part.rows
	}
	return total-rows <= max(minAlarms, total/alarmShare)
}

// begins handles the first page of a part: total is the number of rows announced, rows
// the number that arrived, and size the number requested.
func (part *part) begins(total, rows, size int) {
	part.total = total
	if rows < min(size, total) {
		size = max(1, rows) // larger pages do not exist
	}
	part.pages = (total + size - 1) / size
}

// cost estimates the requests that a round takes: from the last lists, or, without
// recent ones, from the number of watched jobs.
func (s *sweep) cost(parts []part, watched [len(listedStates)]int, now time.Time) int {
	cost := 0
	for _, part := range parts {
		pages := s.pages[part.state]
		if now.After(s.pagesUntil) {
			pages = (watched[part.state] + dli.MaxPageSize - 1) / dli.MaxPageSize
		}
		cost += max(1, pages)
	}
	return cost
}

// pays reports whether that many pages exist, and take few enough requests compared
// with polling each job.
func pays(pages int, singles float64) bool {
	return pages <= dli.MaxPage+len(listedStates) && singles >= payFactor*float64(pages)
}

// add includes a job in a round.
func (r *round) add(j *job) {
	id := strings.ToLower(j.target.JobID)
	next, known := r.index[id]
	if !known {
		next = -1
	}
	r.index[id] = len(r.entries)
	r.entries = append(r.entries, entry{job: j, next: next})
}
