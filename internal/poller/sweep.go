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

// sweep is what a line knows of the lists of its connection's active jobs. They
// are a hint of what to ask, never a verdict: a job that a list shows as it is
// known is asked for later, and one that it does not show at once.
type sweep struct {
	// nextAt is when to decide on the next round, and round the one under way; nil
	// for none.
	nextAt time.Time
	round  *round
	// pages are how many there were of each of listedStates, which is believed until
	// pagesUntil.
	pages      [len(listedStates)]int
	pagesUntil time.Time
	// pageSize is how many jobs to ask for at once; 0 for as many as there can be.
	pageSize int
	// failures counts the rounds in a row that did not bring every page, failedFor
	// is the reason, and unpaid counts those in a row that turned out not to pay.
	failures, unpaid int
	failedFor        string
	// watched is how many jobs the latest round was about, and alarms how many it
	// did not show as they were.
	watched, alarms int
	// ended are the jobs that have ended, and when that was seen, by lower-case id.
	ended map[string]time.Time
}

// listedStates are the states of active jobs, in the order in which they are
// listed: a job that begins to run meanwhile is met twice rather than never.
var listedStates = [...]dli.State{dli.StateLaunching, dli.StateRunning, dli.StateScaling}

// words are DLI's for listedStates.
var words = [len(listedStates)]string{"LAUNCHING", "RUNNING", "SCALING"}

const (
	// How long a number of pages is believed, also one that does not pay; the latter
	// for longer each time, up to restMax. That is how long lists rest that are not
	// permitted or cannot be relied upon.
	pagesFor, restMax = 5 * time.Minute, time.Hour
	// So many times fewer requests than without it must a round take.
	payFactor = 2
	// Of so many turns pages take one while jobs wait, and in all they take this
	// share of the connection's requests in flight.
	pageTurns, pageShare = 2, 4
	// A job that so many lists in a row do not show is asked for as if there were
	// none, for a while.
	maxMisses, hiddenFor = 3, 5 * time.Minute
	// So many jobs, and this share of all, must a list show otherwise than they are
	// before it is given up.
	minAlarms, alarmShare = 5, 10
	// How long after its end a list may show a job as active.
	maxLag = 30 * time.Second
)

// round is one pass over all pages.
type round struct {
	began time.Time
	parts []part
	// entries are the jobs that it is about, and index where those of an id begin.
	entries []entry
	index   map[string]int
	// singles is how many requests the jobs would take without it.
	singles float64
	// inFlight counts the pages that are on their way, and wrong the rows that have
	// another status than was asked for.
	inFlight, wrong int
}

// part is the pages of the jobs of one state.
type part struct {
	state int // of listedStates
	// next is the page to ask for next, from 1, pages how many there are, once the
	// first has told, and done how many have come.
	next, pages, done int
	// total is how many rows the first page announced, and rows how many came.
	total, rows int
}

// entry is one job of a round.
type entry struct {
	job  *job
	next int // of the same id; -1 for none
	seen bool
}

// page is one page of one part.
type page struct{ part, number int }

// wakeAt is when to decide on the next round; zero while one is under way.
func (s *sweep) wakeAt() time.Time {
	if s.round != nil {
		return time.Time{}
	}
	return s.nextAt
}

// rest ends the round, if there is one, and has the next decided on at a time.
func (s *sweep) rest(until time.Time) { s.round, s.nextAt = nil, until }

// wantsPage reports whether a page could be asked for.
func (l *line) wantsPage() bool {
	r := l.sweep.round
	return r != nil && r.inFlight < max(1, l.conn.Limit()/pageShare) && r.part() >= 0
}

// part is the part that has a page to ask for; -1 for none. The first page of a
// part must have come before it is known how many follow.
func (r *round) part() int {
	for i, part := range r.parts {
		if part.next == 1 || part.next <= part.pages {
			return i
		}
	}
	return -1
}

// take returns the page to ask for next.
func (r *round) take() page {
	i := r.part()
	taken := page{i, r.parts[i].next}
	r.parts[i].next++
	r.inFlight++
	return taken
}

// isDone reports whether every page has come.
func (r *round) isDone() bool {
	for _, part := range r.parts {
		if part.next == 1 || part.done < max(1, part.pages) {
			return false
		}
	}
	return true
}

// isWhole reports whether about as many rows have come as were announced. Some
// jobs end meanwhile, and move others to a page that has come already.
func (r *round) isWhole() bool {
	total, rows := 0, 0
	for _, part := range r.parts {
		total, rows = total+part.total, rows+part.rows
	}
	return total-rows <= max(minAlarms, total/alarmShare)
}

// begins takes what the first page of a part tells: how many rows there are, and
// how many came of those that were asked for.
func (part *part) begins(total, rows, size int) {
	part.total = total
	if rows < min(size, total) {
		size = max(1, rows) // there are no larger pages
	}
	part.pages = (total + size - 1) / size
}

// cost is how many requests a round takes, as far as it is known: where no list has
// told lately, as many as the watched jobs alone would take.
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

// pays reports whether so many pages can be asked for, and take fewer requests than
// asking for so many jobs.
func pays(pages int, singles float64) bool {
	return pages <= dli.MaxPage+len(listedStates) && singles >= payFactor*float64(pages)
}

// add has a round be about a job.
func (r *round) add(j *job) {
	id := strings.ToLower(j.target.JobID)
	next, known := r.index[id]
	if !known {
		next = -1
	}
	r.index[id] = len(r.entries)
	r.entries = append(r.entries, entry{job: j, next: next})
}
