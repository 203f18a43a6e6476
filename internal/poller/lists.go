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
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// isListed reports whether lists cover a job at now: this process has seen it active,
// and its poll interval is the operator's choice.
func (j *job) isListed(now time.Time) bool {
	return j.active && j.state != dli.StateUnrecognized && j.wasWell() && !j.isFailing() &&
		j.told.any && j.told.reason == "" && !j.listing.askBy.IsZero() &&
		j.target.Interval == 0 && !j.target.Completed && !now.Before(j.listing.hiddenUntil)
}

// beginRound starts a round if one is due and it saves requests, and reports whether
// it did.
func (p *Poller) beginRound(l *queue, now time.Time) bool {
	s, every := &l.sweep, p.config.Schedule.ListInterval
	if every <= 0 || s.round != nil || now.Before(s.nextAt) {
		return false
	}
	s.nextAt = onTick(now, every)
	var watched [len(listedStates)]int
	singles, n := 0.0, 0
	for j := range l.jobs {
		if !j.isListed(now) {
			continue
		}
		n++
		singles += float64(every) / float64(p.config.Schedule.adaptive(j, now))
		for i, state := range listedStates {
			if j.state == state {
				watched[i]++
			}
		}
	}
	if !pays(len(listedStates), singles) {
		return false
	}
	r := &round{began: now, singles: singles}
	for i := range listedStates {
		if listedStates[i] != dli.StateLaunching || watched[i] > 0 {
			r.parts = append(r.parts, part{state: i, next: 1})
		}
	}
	if !pays(s.cost(r.parts, watched, now), singles) {
		return false
	}
	r.entries, r.index = make([]entry, 0, n), make(map[string]int, n)
	for j := range l.jobs {
		if j.isListed(now) {
			r.add(j)
		}
	}
	s.round, s.watched, s.alarms = r, n, 0
	for id, at := range s.ended {
		if now.Sub(at) > 20*maxLag {
			delete(s.ended, id)
		}
	}
	return true
}

// askPage requests a page, which its connection has just admitted.
func (p *Poller) askPage(ctx context.Context, l *queue, conn *connection.Connection, now time.Time) {
	s := &l.sweep
	r := s.round
	request := conn.Begin(now, connection.CallList, "", s.failedFor)
	if request == nil {
		return // Decide now has the reason
	}
	taken := r.take()
	options := dli.ListOptions{Status: words[r.parts[taken.part].state], Page: taken.number, PageSize: s.pageSize}
	p.count(l, false, 1)
	l.turns++
	p.requests.Go(func() {
		list, err := request.SendList(ctx, options, p.config.Clock.Now)
		failure, _ := connection.AsFailure(err)
		came := p.config.Clock.Now()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.count(l, false, -1)
		r.inFlight--
		switch {
		case s.round != r: // it has ended
		case failure != nil:
			p.pageFailed(l, failure, came)
		case err != nil: // the operator is stopping, or the connection has changed
			s.rest(came)
		default:
			p.pageCame(ctx, l, taken, list, options, now, came)
		}
		p.cameBack(ctx, l, failure, came)
		p.wakeBefore(s.wakeAt())
	})
}

// pageFailed ends a round because a page could not be read, at now.
func (p *Poller) pageFailed(l *queue, f *connection.Failure, now time.Time) {
	s := &l.sweep
	s.failures++
	s.failedFor = f.Reason
	switch {
	case f.Kind == dli.KindPermission:
		s.rest(now.Add(restMax))
		p.pauseLists(l, fmt.Sprintf("its user may not list jobs, so each job is polled individually: grant it the action dli:jobs:list if there are many (DLIConnection %s)", l.key))
	case f.Kind == dli.KindRejected && s.pageSize == 0:
		s.pageSize = dli.MaxPageSize / 2 // some editions have no larger pages
		s.rest(now)
	default:
		s.rest(onTick(now, exponential(p.config.Schedule.ListInterval, pagesFor, s.failures)))
	}
}

// pauseLists makes the connection of a queue report why no lists are requested; "" if
// they are.
func (p *Poller) pauseLists(l *queue, reason string) {
	if conn := p.connectionOf(l); conn != nil {
		conn.PauseLists(reason)
	}
}

// distrust stops the use of unreliable lists for a while.
func (p *Poller) distrust(l *queue, why string, now time.Time) {
	l.sweep.rest(now.Add(restMax))
	p.pauseLists(l, "lists of its jobs are unreliable, so each job is polled individually: "+why)
}

// pageCame handles a page that was requested at asked and arrived at now.
func (p *Poller) pageCame(ctx context.Context, l *queue, came page, list *dli.JobList, options dli.ListOptions, asked, now time.Time) {
	s := &l.sweep
	r := s.round
	part := &r.parts[came.part]
	if came.number == 1 {
		size := dli.MaxPageSize
		if options.PageSize > 0 {
			size = options.PageSize
		}
		part.begins(list.Total, len(list.Jobs), size)
		s.pages[part.state] = part.pages
		pages := 0
		for i := range r.parts {
			pages += max(1, r.parts[i].pages)
		}
		if part.pages > dli.MaxPage || !pays(pages, r.singles) {
			s.unpaid++
			s.pagesUntil = now.Add(exponential(pagesFor, restMax, s.unpaid))
			s.rest(onTick(now, p.config.Schedule.ListInterval))
			return
		}
	}
	part.done++
	part.rows += len(list.Jobs)
	for i := range list.Jobs {
		row := &list.Jobs[i]
		if row.State != listedStates[part.state] {
			r.wrong++
			continue
		}
		if p.rowCame(ctx, l, r, row, list.Date, asked, now); s.round == nil {
			return
		}
	}
	switch {
	case r.wrong > minAlarms:
		p.distrust(l, "they contain jobs with a status other than the requested one", now)
	case r.isDone():
		p.endRound(l, now)
	}
}

// rowCame handles a row of a list that was requested at asked and arrived at now.
func (p *Poller) rowCame(ctx context.Context, l *queue, r *round, row *dli.JobRow, date, asked, now time.Time) {
	id := strings.ToLower(row.JobID)
	if ended, known := l.sweep.ended[id]; known && asked.Sub(ended) > maxLag {
		p.config.Recorder.ListDiffered()
		p.distrust(l, "they show jobs that have ended as active", now)
		return
	}
	i, known := r.index[id]
	if !known {
		return
	}
	for ; i >= 0; i = r.entries[i].next {
		j := r.entries[i].job
		// A later poll knows more.
		if j.queue != l || j.asking || !asked.After(j.lastAsked) || j.state != row.State || !j.isListed(now) {
			continue
		}
		r.entries[i].seen = true
		p.listed(j, row, date, now)
		p.askPercent(ctx, j, now)
	}
}

// listed handles a row that shows a job in the state it was in: its figures count as a
// response, and the job's own poll can wait.
func (p *Poller) listed(j *job, row *dli.JobRow, date, now time.Time) {
	j.listing.shown, j.listing.missed, j.listing.misses = true, false, 0
	a := &dli.JobStatus{
		JobID: row.JobID, Status: row.Status, State: row.State, Date: date, StartTime: row.StartTime, Figures: row.Figures,
	}
	if running, known := runningAt(a, now); known {
		j.progress.Started = now.Add(-running)
	}
	// A result that is not stored yet has more than a row, so it is kept.
	if j.result == nil && j.told.listed(row, now, p.config.Schedule.StatusRefreshInterval) {
		p.deliver(j, Result{Status: a, Listed: true, ArrivedAt: now})
	}
	if j.wantsPoll() || !now.Before(j.listing.askBy) {
		return
	}
	wait := max(p.interval(j, now), p.config.Schedule.ListInterval*3/2)
	p.schedule(j, earlier(onTick(now, wait), j.listing.askBy))
}

// endRound polls the jobs that a round did not show, once every page has arrived.
func (p *Poller) endRound(l *queue, now time.Time) {
	s := &l.sweep
	r := s.round
	if !r.isWhole() {
		s.failures++
		s.rest(onTick(now, exponential(p.config.Schedule.ListInterval, pagesFor, s.failures)))
		return
	}
	s.failures, s.failedFor, s.unpaid, s.pagesUntil = 0, "", 0, now.Add(pagesFor)
	p.pauseLists(l, "")
	s.rest(onTick(r.began, p.config.Schedule.ListInterval))
	for _, entry := range r.entries {
		j := entry.job
		if entry.seen || j.queue != l || j.asking || !j.lastAsked.Before(r.began) || !j.isListed(now) {
			continue
		}
		j.listing.missed = true
		if !p.isWaiting(j) {
			p.schedule(j, now)
		}
	}
}

// compare checks the state that a status call returned at now against what lists have
// shown.
func (p *Poller) compare(j *job, state dli.State, now time.Time) {
	missed, s := j.listing.missed, &j.queue.sweep
	j.listing.missed = false
	switch {
	case hasEnded(state):
		if p.config.Schedule.ListInterval > 0 && !s.pagesUntil.IsZero() {
			if s.ended == nil {
				s.ended = map[string]time.Time{}
			}
			s.ended[strings.ToLower(j.target.JobID)] = now
		}
		return
	case !missed || state != j.state:
		return
	}
	p.config.Recorder.ListDiffered()
	j.listing.misses++
	if j.listing.misses >= maxMisses {
		j.listing.misses, j.listing.hiddenUntil = 0, now.Add(hiddenFor)
	}
	if !j.listing.shown {
		return // it may be one that no list shows
	}
	s.alarms++
	if s.alarms > max(minAlarms-1, s.watched/alarmShare) {
		p.distrust(j.queue, "active jobs are missing from them", now)
		s.alarms = 0
	}
}
