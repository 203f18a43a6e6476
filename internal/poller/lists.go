// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"slices"
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// lists is the state of a connection's lists of active jobs. Lists are a hint about what
// to poll, never a verdict: a job that a list shows in its known state is polled later,
// and one that it no longer shows is polled at once.
type lists struct {
	// nextAt is when to decide on the next lists, startedAt when the latest ones were
	// started, and rounds are those in progress. There are none before pausedUntil.
	nextAt, startedAt, pausedUntil time.Time
	rounds                         []*listRound
	// pageSize is the number of jobs per page; 0 for the maximum. pages is how many there were
	// when they were too many, which is believed until pagesUntil.
	pageSize, pages int
	pagesUntil      time.Time
	// failures counts consecutive lists that failed or were incomplete, and note is why there
	// are none for long; "" if nothing is wrong with them.
	failures int
	note     string
	// covered is the number of jobs that the latest lists covered, and mismatches the
	// number that they did not show although they were active, of late.
	covered, mismatches int
	// polls is how many polls of these jobs a list interval would otherwise take, and budget
	// how many pages are acceptable even if that is fewer: fewer than polls of each job.
	polls  float64
	budget int
	// ended are the latest jobs whose end their last poll has shown, at most maxEnded. Lists may
	// show them as active for a moment; one that stands still does for ever, and spot checks
	// alone would find the ends behind it as late as Schedule.ListTrust (TestListsThatStandStill).
	ended []*job
}

const (
	// How long lists that fail are paused at most, and a number of pages is believed; and how
	// long lists that are forbidden or wrong are paused.
	shortPause, longPause = 5 * time.Minute, time.Hour
	// Lists are used where they take savingFactor times fewer requests than polling each
	// job, or at most one in budgetShare of what the rate limit allows.
	savingFactor, budgetShare = 2, 10
	// While jobs wait, pages get one of every pageTurns turns, and at most one in
	// pageShare of the connection's requests in flight.
	pageTurns, pageShare = 2, 4
	// How long a list may show a job as active after the poll that showed its end. Of these
	// jobs, maxEnded are remembered, far enough apart that the first are older than that.
	maxLag, maxEnded = 15 * time.Second, 8
)

// isCovered reports whether lists cover a job: it is active, and its poll interval is the
// operator's choice.
func (j *job) isCovered() bool {
	return j.isHealthy() && !j.isFailing() && dli.ListFilter(j.target.Type, j.state) != "" && j.target.Interval == 0 && !j.target.Completed
}

// listedIn is the list that shows a job in its known state.
func (j *job) listedIn() listed { return listed{j.target.Type, j.state} }

// startRounds starts lists of a queue's jobs if they cost little. It returns jobs
// to poll within the list interval: a few that the lists are checked against, or all if
// that costs no more than the lists. perSecond is the connection's rate.
func (l *lists) startRounds(jobs map[string][]*job, s Schedule, perSecond float64, now time.Time) (poll []*job) {
	l.nextAt = onTick(now, s.ListInterval)
	var covered []*job
	watched, polls := map[listed]bool{}, 0.0
	for _, withID := range jobs {
		for _, j := range withID {
			if j.isCovered() {
				covered = append(covered, j)
				watched[j.listedIn()] = true
				polls += float64(s.ListInterval) / float64(s.pollInterval(j, now, 0))
			}
		}
	}
	few, pages := int(perSecond*s.ListInterval.Seconds()/budgetShare), len(watched)
	if now.Before(l.pagesUntil) {
		pages = max(pages, l.pages)
	}
	l.polls, l.budget = polls, min(few, len(covered)-1)
	switch {
	case !now.Before(l.pausedUntil) && l.costsLittle(pages):
		for list := range watched {
			l.rounds = append(l.rounds, newListRound(list, now))
		}
		checks := l.spotChecks(len(covered), s, now)
		l.startedAt, l.covered, l.mismatches = now, len(covered), l.mismatches/2
		return chooseSpotChecks(covered, checks)
	case len(covered) <= few:
		return covered
	}
	return nil
}

// costsLittle reports whether that many pages exist, and are within the budget or take
// few enough requests compared with those for polling each job.
func (l *lists) costsLittle(pages int) bool {
	return pages <= dli.MaxPage && (pages <= l.budget || l.polls >= savingFactor*float64(pages))
}

// spotChecks returns how many of the covered jobs to poll with the next lists, so that
// each is polled within Schedule.ListTrust.
func (l *lists) spotChecks(covered int, s Schedule, now time.Time) int {
	elapsed := s.ListInterval
	if !l.startedAt.IsZero() {
		elapsed = min(max(elapsed, now.Sub(l.startedAt)), time.Minute)
	}
	return 1 + int(float64(covered)*float64(elapsed)/float64(s.ListTrust))
}

// chooseSpotChecks returns the n listed jobs that were polled longest ago, for spot checks.
func chooseSpotChecks(covered []*job, n int) []*job {
	slices.SortFunc(covered, func(a, b *job) int { return a.sentAt.Compare(b.sentAt) })
	var chosen []*job
	for _, j := range covered {
		if len(chosen) < n && j.isExpected && !j.inFlight {
			j.isSpotCheck = true
			chosen = append(chosen, j)
		}
	}
	return chosen
}

// wantsPage returns a list with a page to request; nil if there is none. limit is that of
// the connection's requests in flight.
func (l *lists) wantsPage(limit int) *listRound {
	var wants *listRound
	inFlight := 0
	for _, r := range l.rounds {
		inFlight += r.inFlight()
		if wants == nil && r.wantsPage() {
			wants = r
		}
	}
	if inFlight >= max(1, limit/pageShare) {
		return nil
	}
	return wants
}

// addPage records a page of a list, and reports whether its rows can be used: not if the first
// page of a list says that there are too many.
func (l *lists) addPage(r *listRound, number, size int, list *dli.JobList, now time.Time) bool {
	r.addPage(number, size, list)
	pages := 0
	for _, r := range l.rounds {
		pages += max(1, r.pages)
	}
	if !l.costsLittle(pages) {
		l.rounds, l.pages, l.pagesUntil = nil, pages, now.Add(shortPause)
		return false
	}
	return true
}

// addRow records a row that was requested at sentAt. It reports false, and pauses lists, if the
// row shows that they are wrong.
func (l *lists) addRow(r *listRound, row *dli.JobRow, sentAt, now time.Time) bool {
	if row.State != r.state {
		if r.mismatches++; r.mismatches > minMismatches {
			l.distrust("they contain jobs with a status other than the requested one", now)
		}
	} else if slices.ContainsFunc(l.ended, func(j *job) bool {
		return j.state.HasEnded() && sentAt.Sub(j.sentAt) > maxLag && strings.EqualFold(row.JobID, j.target.JobID)
	}) {
		l.distrust("they show jobs that have ended as active", now)
	}
	return len(l.rounds) > 0
}

// showsJob reports whether the row of a list that was requested at sentAt shows a job in its
// known state, and records that it does. The job's own later poll knows more.
func (r *listRound) showsJob(j *job, sentAt time.Time) bool {
	if j.inFlight || !sentAt.After(j.sentAt) || j.listedIn() != r.listed || !j.isCovered() {
		return false
	}
	j.isExpected, j.shownAt = true, sentAt
	return true
}

// finishRound ends a list whose pages have all arrived, and returns the jobs that it does not
// show although it was expected to.
func (l *lists) finishRound(r *listRound, jobs map[string][]*job, s Schedule, now time.Time) (missing []*job) {
	if !r.isWhole() {
		l.pauseBriefly(s, now)
		return nil
	}
	l.rounds = slices.DeleteFunc(l.rounds, func(other *listRound) bool { return other == r })
	l.failures, l.note = 0, ""
	for _, withID := range jobs {
		for _, j := range withID {
			if j.isExpected && j.shownAt.Before(r.startedAt) && j.sentAt.Before(r.startedAt) && !j.inFlight && j.listedIn() == r.listed && j.isCovered() {
				j.isExpected = false // one that no list shows is not expected for ever
				missing = append(missing, j)
			}
		}
	}
	return missing
}

// pauseBriefly pauses lists because one failed or was incomplete.
func (l *lists) pauseBriefly(s Schedule, now time.Time) {
	l.failures++
	l.rounds, l.pausedUntil = nil, now.Add(exponential(s.ListInterval, shortPause, l.failures))
}

// pause pauses lists for the reason in the note.
func (l *lists) pause(note string, until time.Time) {
	l.note, l.rounds, l.pausedUntil = note, nil, until
}

// distrust pauses lists that are wrong.
func (l *lists) distrust(reason string, now time.Time) {
	l.pause("lists of its jobs are unreliable, so each job is polled individually: "+reason, now.Add(longPause))
}

// handleFailure pauses lists because a page could not be read.
func (l *lists) handleFailure(f *connection.Failure, s Schedule, now time.Time) {
	switch {
	case f.Kind == dli.KindPermission:
		l.pause("its user may not list jobs, so each job is polled individually: grant it the action dli:jobs:list if there are many", now.Add(longPause))
	case f.Kind == dli.KindAuth: // each rejection counts towards a lockout of the key
		l.pause("lists of its jobs are rejected, so each job is polled individually: "+f.Message, now.Add(shortPause))
	case f.Kind == dli.KindRejected && l.pageSize == 0:
		l.pageSize = dli.MaxPageSize / 2 // some editions have no larger pages
		l.rounds, l.nextAt = nil, now
	case f.NeedsAction() || f.Kind == dli.KindNotFound:
		l.pause("its jobs cannot be listed, so each is polled individually: "+f.Message, now.Add(longPause))
	default:
		l.pauseBriefly(s, now)
		l.pausedUntil = connection.Later(l.pausedUntil, now.Add(f.RetryAfter))
	}
}

// recordEnd remembers the end of a job.
func (l *lists) recordEnd(j *job, now time.Time) {
	if n := len(l.ended); n == 0 || now.Sub(l.ended[n-1].sentAt) >= 3*maxLag/maxEnded {
		l.ended = append(l.ended[max(0, n+1-maxEnded):], j)
	}
}

// compareStatus checks the state of a job according to the status call against the lists, and
// reports whether they differ. If that is often, lists pause.
func (l *lists) compareStatus(j *job, state dli.State, now time.Time) (differs bool) {
	differs = !j.isExpected && !j.shownAt.IsZero() && state == j.state
	if state.HasEnded() {
		l.recordEnd(j, now)
	}
	if differs {
		j.shownAt = time.Time{}
		if l.mismatches++; l.mismatches > max(minMismatches, l.covered/mismatchShare) {
			l.distrust("active jobs are missing from them", now)
		}
	}
	return differs
}
