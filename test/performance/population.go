// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// population records all jobs: their timelines in the simulator, and what the API
// showed.
type population struct {
	policy policy

	mu   sync.Mutex
	jobs []*job
	// events counts the watch events: changes of a status, an outcome or a condition,
	// and writes that only changed figures.
	events eventCounts
}

type eventCounts struct{ all, news, figures int }

type job struct {
	index   int
	start   time.Time
	short   bool
	created time.Time
	// changes are the times at which the simulator changes the status.
	changes []time.Time
	// ends is the last of them if the job ends; told is when the simulator first
	// reported it, and stored when the API first showed it.
	ends, told, stored time.Time
	polled             bool
	shown              string
}

func (p *population) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.jobs)
}

func (p *population) add(start time.Time, short bool) *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := &job{index: len(p.jobs), start: start, short: short}
	p.jobs = append(p.jobs, j)
	return j
}

func (p *population) created(i int, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs[i].created = at
}

// running picks n jobs without a planned end.
func (p *population) running(n int) []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	var picked []int
	for _, i := range rand.Perm(len(p.jobs)) {
		if j := p.jobs[i]; len(picked) < n && j.ends.IsZero() && !j.short {
			picked = append(picked, i)
		}
	}
	return picked
}

// willBecome records a change of a job's status.
func (p *population) willBecome(i int, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs[i].changes = append(p.jobs[i].changes, at)
}

// willChange records the end of a job and returns its start.
func (p *population) willChange(i int, end time.Time) time.Time {
	p.willBecome(i, end)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs[i].ends = end
	return p.jobs[i].start
}

// show records what the watch shows of a job at now: words that identify its state, and
// whether it was polled and has ended.
func (p *population) show(i int, words string, polled, ended bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i >= len(p.jobs) {
		return
	}
	j := p.jobs[i]
	p.events.all++
	switch {
	case words != j.shown:
		p.events.news++
	default:
		p.events.figures++
	}
	j.shown, j.polled = words, j.polled || polled
	if ended && j.stored.IsZero() {
		j.stored = now
	}
}

// unpolled counts the jobs without a stored poll.
func (p *population) unpolled() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.jobs {
		if !j.polled {
			n++
		}
	}
	return n
}

func (p *population) counted() eventCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.events
}

// changes counts the changes in the simulator in a period: every new status of a
// watched job, including the first one, which the new DLIJob gets.
func (p *population) changes(from, to time.Time) (n int) {
	within := func(t time.Time) bool { return t.After(from) && !t.After(to) }
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.jobs {
		if within(j.created) {
			n++
		}
		for _, at := range j.changes {
			if within(at) {
				n++
			}
		}
	}
	return n
}

// active counts the jobs that have not ended at a time.
func (p *population) active(at time.Time) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.jobs {
		if j.ends.IsZero() || j.ends.After(at) {
			n++
		}
	}
	return n
}

// wanted returns the number of polls by policy in a period: one per interval for each
// job, from its creation to the poll that notices its end.
func (p *population) wanted(from, to time.Time) (polls float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.jobs {
		begin, end := from, to
		if j.created.After(begin) {
			begin = j.created
			polls++ // the first poll is immediate
		}
		if j.created.IsZero() || begin.After(to) {
			continue
		}
		if !j.ends.IsZero() {
			// One more poll, after the end, notices it.
			if last := j.ends.Add(p.policy.interval(j.ends.Sub(j.start))); last.Before(end) {
				end = last
			}
		}
		for begin.Before(end) {
			step := min(end.Sub(begin), time.Second)
			polls += step.Seconds() / p.policy.interval(begin.Sub(j.start)).Seconds()
			begin = begin.Add(step)
		}
	}
	return polls
}

// seen records when the simulator first reported the ends of jobs, by name.
func (p *population) seen(told map[string]time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.jobs {
		if at, ok := told[nameOf(j.index)]; ok && j.told.IsZero() {
			j.told = at
		}
	}
}

// unstored counts the jobs that ended before a time and whose end the API does not
// show.
func (p *population) unstored(by time.Time) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.jobs {
		if !j.ends.IsZero() && !j.ends.After(by) && j.stored.IsZero() {
			n++
		}
	}
	return n
}

// lateness is how late the ends of jobs were noticed.
type lateness struct {
	ends int
	// seen is when the operator received the end, stored when the API showed it.
	seen, stored distribution
	// Those of short jobs, whose poll interval is the shortest, are not among them.
	shortEnds              int
	shortSeen, shortStored distribution
}

// distribution describes the time since the end of each job.
type distribution struct {
	missing       int
	p50, p99, max float64 // seconds
	// The same as a fraction of the poll interval of the job, and in seconds beyond
	// that interval and its jitter.
	shareP50, shareP99, shareMax    float64
	beyondP50, beyondP99, beyondMax float64
}

// lateness evaluates the ends in a period, at the time last.
func (p *population) lateness(from, to, last time.Time) (l lateness) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var long, short []*job
	for _, j := range p.jobs {
		switch {
		case j.ends.Before(from) || j.ends.After(to):
		case j.short:
			short = append(short, j)
		default:
			long = append(long, j)
		}
	}
	seen, stored := func(j *job) time.Time { return j.told }, func(j *job) time.Time { return j.stored }
	l.ends, l.seen, l.stored = len(long), p.distribution(long, last, seen), p.distribution(long, last, stored)
	l.shortEnds, l.shortSeen, l.shortStored = len(short), p.distribution(short, last, seen), p.distribution(short, last, stored)
	return l
}

// distribution counts an end that was still unknown at last as late by the time until
// then: leaving it out would make the result look better.
func (p *population) distribution(ended []*job, last time.Time, known func(*job) time.Time) (d distribution) {
	var late, share, beyond []float64
	for _, j := range ended {
		at := known(j)
		if at.IsZero() || at.After(last) {
			d.missing++
			at = last
		}
		after, age := at.Sub(j.ends), j.ends.Sub(j.start)
		late = append(late, after.Seconds())
		share = append(share, after.Seconds()/p.policy.interval(age).Seconds())
		beyond = append(beyond, (after - p.policy.longest(age)).Seconds())
	}
	d.p50, d.p99, d.max = quantile(late, 0.5), quantile(late, 0.99), quantile(late, 1)
	d.shareP50, d.shareP99, d.shareMax = quantile(share, 0.5), quantile(share, 0.99), quantile(share, 1)
	d.beyondP50, d.beyondP99, d.beyondMax = quantile(beyond, 0.5), quantile(beyond, 0.99), quantile(beyond, 1)
	return d
}

// storedAfter evaluates the ends that the operator had received at an instant but not
// stored: how many there were, and the median and maximum time until they were stored.
func (p *population) storedAfter(instant, last time.Time) (ends int, p50, slowest float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var after []float64
	for _, j := range p.jobs {
		if j.told.IsZero() || j.told.After(instant) || !j.stored.IsZero() && j.stored.Before(instant) {
			continue
		}
		stored := j.stored
		if stored.IsZero() {
			stored = last
		}
		after = append(after, stored.Sub(instant).Seconds())
	}
	return len(after), quantile(after, 0.5), quantile(after, 1)
}

// quantile sorts the values and returns the quantile.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.SortFunc(values, cmp.Compare[float64])
	return values[max(0, int(math.Ceil(share*float64(len(values))))-1)]
}
