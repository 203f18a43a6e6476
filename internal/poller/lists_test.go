// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli"
)

// life is the actual life of a job.
type life struct {
	id                  string
	start, running, end time.Time
}

func (l *life) stateAt(at time.Time) dli.State {
	switch {
	case at.Before(l.start):
		return dli.StateUnrecognized
	case at.Before(l.running):
		return dli.StateLaunching
	case at.Before(l.end):
		return dli.StateRunning
	}
	return dli.StateFinished
}

// lies describe how lists are wrong.
type lies struct {
	lag            time.Duration
	missing        float64 // fraction of the rows, different ones each time
	uncounted      bool    // whether job_count excludes them
	hidden         int     // jobs that are never listed
	ignoresStatus  bool
	wrongStatus    float64 // of the rows
	smallPages     int     // the maximum page size
	refusesLarge   bool
	errors         float64
	err            *dli.Error
	frozen         time.Time
	claimsTooMany  bool
	reversedStates bool // RUNNING is reported as LAUNCHING and vice versa
}

// project is a DLI with the jobs of a project.
type project struct {
	mu    sync.Mutex
	dice  *rand.Rand
	jobs  []*life // by start
	lies  lies
	byID  map[string]*life
	total int // number of other active jobs, which are listed first
	// whole is the latest correct list.
	whole struct {
		status string
		at     time.Time
		rows   []*life
	}
}

func newProject(seed uint64, jobs []*life) *project {
	slices.SortFunc(jobs, func(a, b *life) int { return a.start.Compare(b.start) })
	p := &project{dice: rand.New(rand.NewPCG(seed, 1)), jobs: jobs, byID: map[string]*life{}}
	for _, l := range jobs {
		p.byID[l.id] = l
	}
	return p
}

func (p *project) tells(l lies) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lies = l
}

func (p *project) status(a asked) answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byID[a.job]
	state := l.stateAt(a.at)
	s := &dli.JobStatus{JobID: l.id, Status: wordOf(state), State: state, StartTime: l.start, Date: a.at, Statement: "select"}
	s.Duration = new(min(a.at.Sub(l.start), l.end.Sub(l.start)))
	return answer{took: usual, status: s}
}

func wordOf(s dli.State) string {
	return [...]string{dli.StateLaunching: "LAUNCHING", dli.StateRunning: "RUNNING", dli.StateScaling: "SCALING", dli.StateFinished: "FINISHED"}[s]
}

func (p *project) list(options dli.ListOptions) listAnswer {
	p.mu.Lock()
	defer p.mu.Unlock()
	lie, size, now := p.lies, options.PageSize, time.Now()
	if size == 0 {
		size = dli.MaxPageSize
	}
	switch {
	case lie.err != nil && p.dice.Float64() < lie.errors:
		return listAnswer{took: usual, err: lie.err}
	case lie.smallPages > 0 && lie.refusesLarge && size > lie.smallPages:
		return listAnswer{took: usual, err: &dli.Error{Kind: dli.KindRejected, HTTPStatus: 400}}
	case lie.smallPages > 0:
		size = min(size, lie.smallPages)
	}
	at := now.Add(-lie.lag)
	if !lie.frozen.IsZero() {
		at = lie.frozen
	}
	if lie == (lies{}) && p.total == 0 {
		return p.truth(options, now)
	}
	list := &dli.JobList{Date: now, Jobs: make([]dli.JobRow, 0, size)}
	first := (options.Page - 1) * size
	add := func(id string, start time.Time, state dli.State) {
		if list.Total >= first && list.Total < first+size {
			list.Jobs = append(list.Jobs, dli.JobRow{JobID: id, Status: wordOf(state), State: state, StartTime: start, Figures: dli.Figures{Duration: new(at.Sub(start))}})
		}
		list.Total++
	}
	if options.Status == "RUNNING" {
		for i := range p.total {
			add(fmt.Sprint("other", i), at, dli.StateRunning)
		}
	}
	for i, l := range p.jobs {
		state := l.stateAt(at)
		if lie.reversedStates && (state == dli.StateLaunching || state == dli.StateRunning) {
			state = dli.StateLaunching + dli.StateRunning - state
		}
		switch {
		case state == dli.StateUnrecognized, i < lie.hidden, !lie.ignoresStatus && wordOf(state) != options.Status:
			continue
		case lie.missing > 0 && p.dice.Float64() < lie.missing:
			if !lie.uncounted {
				list.Total++
			}
			continue
		case lie.wrongStatus > 0 && p.dice.Float64() < lie.wrongStatus:
			state = dli.StateFinished
		}
		add(l.id, l.start, state)
	}
	if lie.claimsTooMany {
		list.Total *= 3
	}
	return listAnswer{took: usual, list: list}
}

// truth returns a page of a correct list. Pages of the same moment come from the same
// list.
func (p *project) truth(options dli.ListOptions, now time.Time) listAnswer {
	if p.whole.status != options.Status || !p.whole.at.Equal(now) {
		p.whole.status, p.whole.at, p.whole.rows = options.Status, now, p.whole.rows[:0]
		for _, l := range p.jobs {
			if state := l.stateAt(now); wordOf(state) == options.Status {
				p.whole.rows = append(p.whole.rows, l)
			}
		}
	}
	size := options.PageSize
	if size == 0 {
		size = dli.MaxPageSize
	}
	n := len(p.whole.rows)
	list := &dli.JobList{Date: now, Total: n}
	for _, l := range p.whole.rows[min(n, (options.Page-1)*size):min(n, options.Page*size)] {
		list.Jobs = append(list.Jobs, dli.JobRow{
			JobID: l.id, Status: options.Status, State: l.stateAt(now), StartTime: l.start, Figures: dli.Figures{Duration: new(now.Sub(l.start))},
		})
	}
	return listAnswer{took: usual, list: list}
}

// watchProject starts an operator that watches the jobs of a project, each from its
// start.
func watchProject(t *testing.T, p *project, schedule Schedule, rate int32) *operator {
	t.Helper()
	c := newCluster()
	c.limitRate(rate)
	o := newScheduled(t, c, 0, schedule)
	o.set(func() { o.answer, o.list = p.status, p.list })
	later := map[time.Duration][]*life{}
	for _, l := range p.jobs {
		later[max(0, time.Until(l.start))] = append(later[max(0, time.Until(l.start))], l)
	}
	for _, l := range later[0] {
		o.watch("a", 0, l.id)
	}
	go func() {
		for _, l := range p.jobs {
			if wait := time.Until(l.start); wait > 0 {
				select {
				case <-time.After(wait):
				case <-o.ctx.Done():
					return
				}
				o.watch("a", 0, l.id)
			}
		}
	}()
	return o
}

// lives returns n jobs. Some have been running for long, others start within a time; a
// fraction of all end within it.
func lives(dice *rand.Rand, n int, within time.Duration, old, ends float64) []*life {
	all, now := make([]*life, n), time.Now()
	random := func(d time.Duration) time.Duration { return time.Duration(dice.Float64() * float64(d)) }
	for i := range all {
		l := &life{id: fmt.Sprintf("job-%05d", i)}
		l.start = now.Add(-10*time.Minute - random(10*time.Hour))
		if dice.Float64() >= old {
			l.start = now.Add(random(within))
		}
		l.running = l.start.Add(random(time.Minute))
		l.end = now.Add(1000 * time.Hour)
		if dice.Float64() < ends {
			l.end = now.Add(random(within))
			if l.end.Before(l.running) {
				l.end = l.running.Add(random(within / 4))
			}
		}
		all[i] = l
	}
	return all
}

// checkProject checks what was stored about the jobs of a project, and returns how late
// their ends were noticed. bound returns the limit for an end.
func checkProject(o *operator, p *project, bound func(end time.Time) time.Duration) (late []time.Duration) {
	o.Helper()
	wrong := 0
	for _, l := range p.jobs {
		var seen time.Time
		for _, s := range o.storedOf(l.id) {
			if s.Status == nil {
				continue
			}
			switch ended := s.Status.State.HasEnded(); {
			case ended && s.ArrivedAt.Before(l.end):
				o.Errorf("%s: an end that the status call did not report", l.id)
			case ended && seen.IsZero():
				seen = s.at
			}
		}
		limit := bound(l.end)
		switch {
		case l.end.Add(limit).After(time.Now()):
		case seen.IsZero() || seen.Sub(l.end) > limit:
			if wrong++; wrong < 10 {
				o.Errorf("%s: the end was noticed after %v (0: never), want at most %v", l.id, max(0, seen.Sub(l.end)), limit)
			}
		default:
			late = append(late, seen.Sub(l.end))
		}
	}
	slices.Sort(late)
	return late
}

// longest returns the longest time that an active job was not polled individually.
func longest(o *operator, p *project, since time.Time) (gap time.Duration) {
	last := map[string]time.Time{}
	for _, a := range o.since(time.Time{}) {
		if at, known := last[a.job]; known && a.at.After(since) {
			gap = max(gap, a.at.Sub(at))
		}
		last[a.job] = a.at
	}
	for id, at := range last {
		if p.byID[id].end.After(time.Now()) {
			gap = max(gap, time.Since(at))
		}
	}
	return gap
}

const singleBound = 67 * time.Second

// Whatever lists contain, ends come from the status call, and on time.
func TestListLies(t *testing.T) {
	t.Parallel()
	forbidden := &dli.Error{Kind: dli.KindPermission, HTTPStatus: 403}
	for what, lie := range map[string]lies{
		"is correct":                    {},
		"lags a little":                 {lag: 8 * time.Second},
		"lags":                          {lag: 25 * time.Second},
		"lags a lot":                    {lag: 10 * time.Minute},
		"lacks some rows":               {missing: 0.02},
		"lacks many rows":               {missing: 0.4, uncounted: true},
		"counts rows that it lacks":     {missing: 0.4},
		"hides some jobs":               {hidden: 45},
		"ignores the status filter":     {ignoresStatus: true},
		"has rows with a wrong status":  {wrongStatus: 0.03},
		"swaps states":                  {reversedStates: true},
		"has small pages":               {smallPages: 50},
		"rejects large pages":           {smallPages: 50, refusesLarge: true},
		"fails":                         {errors: 1, err: &dli.Error{Kind: dli.KindRetry, HTTPStatus: 500, Code: "DLI.10001"}},
		"fails sometimes":               {errors: 0.05, err: &dli.Error{Kind: dli.KindRetry, HTTPStatus: 502}},
		"is throttled":                  {errors: 0.02, err: &dli.Error{Kind: dli.KindThrottle, HTTPStatus: 429, RetryAfter: time.Second}},
		"is forbidden":                  {errors: 1, err: forbidden},
		"counts jobs that do not exist": {claimsTooMany: true},
	} {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("%s seed %d", what, seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const within = 30 * time.Minute
				dice := rand.New(rand.NewPCG(seed, 0))
				p := newProject(seed, lives(dice, 300, within, 0.7, 0.5))
				schedule := DefaultSchedule()
				schedule.ListTrust = 15 * time.Minute
				o := watchProject(t, p, schedule, 60)
				o.run(within / 3)
				lying := time.Now()
				p.tells(lie)
				o.run(within / 3)
				truth := time.Now()
				p.tells(lies{})
				o.run(within / 3)
				late := checkProject(o, p, func(end time.Time) time.Duration {
					honest := 2*schedule.ListInterval + 1*time.Second
					if end.Before(lying.Add(-honest)) || lie == (lies{}) {
						return honest
					}
					return singleBound + min(lie.lag, time.Minute)
				})
				if gap := longest(o, p, lying); gap > schedule.ListTrust+10*time.Second {
					t.Errorf("a job was not polled for %v", gap)
				}
				n := len(late)
				t.Logf("%d ends, p50 %v, p99 %v, last %v; %d single requests and %d lists, %d of them while lists were wrong; %s",
					n, late[n/2], late[n*99/100], late[n-1], len(o.asks), o.listsSince(time.Time{}), o.listsSince(lying)-o.listsSince(truth), o.health("a").Message)
				o.stop()
			})
		})
	}
}

// Lists need a fifth of the requests, a little more with so few jobs, and show ends earlier.
func TestListCost(t *testing.T) {
	t.Parallel()
	requests := map[time.Duration]int{}
	for _, every := range []time.Duration{0, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			const within = 10 * time.Minute
			p := newProject(1, lives(rand.New(rand.NewPCG(1, 0)), 1000, 2*within, 1, 0.05))
			schedule := DefaultSchedule()
			schedule.ListInterval = every
			o := watchProject(t, p, schedule, 50)
			o.run(within)
			from := time.Now()
			o.run(within)
			requests[every] = len(o.since(from)) + o.listsSince(from)
			late := checkProject(o, p, func(end time.Time) time.Duration {
				if every == 0 || end.Before(from) {
					return singleBound
				}
				return 2*every + time.Second
			})
			n := len(late)
			t.Logf("lists every %v: %.1f requests/s, %d ends: p50 %v, p99 %v, last %v", every, float64(requests[every])/within.Seconds(), n, late[n/2], late[n*99/100], late[n-1])
			if p99 := late[n*99/100]; every > 0 && p99 > 7*time.Second {
				t.Errorf("p99 is %v", p99)
			}
			o.stop()
		})
	}
	if requests[5*time.Second]*9/2 > requests[0] {
		t.Errorf("%d requests with lists, %d without", requests[5*time.Second], requests[0])
	}
}

// A few jobs among many are not listed.
func TestFewJobsAreNotListed(t *testing.T) {
	t.Parallel()
	for _, age := range []time.Duration{10 * time.Hour, time.Minute} {
		const most = 12 // to see how many there are
		synctest.Test(t, func(t *testing.T) {
			jobs := make([]*life, 50)
			for i := range jobs {
				start := time.Now().Add(-age)
				jobs[i] = &life{fmt.Sprint("job", i), start, start, start.Add(1000 * time.Hour)}
			}
			p := newProject(1, jobs)
			p.total = 9000
			o := watchProject(t, p, DefaultSchedule(), 20)
			o.run(time.Hour)
			if n := o.listsSince(time.Time{}); n > most {
				t.Errorf("%d lists in an hour, want at most %d", n, most)
			}
			t.Logf("age %v: %d lists", age, o.listsSince(time.Time{}))
			o.stop()
		})
	}
}

// A connection reports that its user may not list jobs, and tries again in an hour.
func TestListForbidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProject(1, lives(rand.New(rand.NewPCG(1, 0)), 200, time.Hour, 1, 0))
		p.tells(lies{errors: 1, err: &dli.Error{Kind: dli.KindPermission, HTTPStatus: 403}})
		o := watchProject(t, p, DefaultSchedule(), 100)
		o.run(50 * time.Minute)
		health := o.health("a")
		if n := o.listsSince(time.Time{}); n < 1 || n > 4 || !health.Ready || !strings.Contains(health.Message, "dli:jobs:list") {
			t.Errorf("%d lists, %+v", n, health)
		}
		p.tells(lies{})
		o.run(30 * time.Minute)
		if health := o.health("a"); o.listsSince(time.Time{}) < 50 || strings.Contains(health.Message, "list") {
			t.Errorf("%d lists, %+v", o.listsSince(time.Time{}), health)
		}
		o.stop()
	})
}
