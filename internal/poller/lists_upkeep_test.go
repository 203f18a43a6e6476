// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// longJobs returns n jobs that have been running for an hour and do not end.
func longJobs(n int) []*life {
	jobs := make([]*life, n)
	for i := range jobs {
		start := time.Now().Add(-time.Hour)
		jobs[i] = &life{fmt.Sprintf("job-%05d", i), start, start, start.Add(10_000 * time.Hour)}
	}
	return jobs
}

// endEach lets one job of the project end per interval, from now on, in a mixed order, and
// returns the ends.
func (p *project) endEach(interval time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.jobs {
		p.jobs[i*7919%len(p.jobs)].end = time.Now().Add(time.Duration(i+1) * interval)
	}
}

// A list that stands still is noticed, at the latest when every job was checked, and then ends
// are seen on time again.
func TestListsThatStandStill(t *testing.T) {
	t.Parallel()
	for n, interval := range map[int]time.Duration{40: 10 * time.Second, 1000: time.Second} {
		within := map[int]time.Duration{40: 200*time.Second + maxLag + 10*time.Second, 1000: 2 * time.Minute}[n]
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProject(1, longJobs(n))
				o := watchProject(t, p, DefaultSchedule(), 100)
				o.run(5 * time.Minute)
				frozen := time.Now()
				p.tells(lies{frozen: frozen})
				p.endEach(interval)
				noticed := time.Duration(0)
				for range 120 {
					o.run(5 * time.Second)
					if noticed == 0 && o.health("a").ListsPaused != "" {
						noticed = time.Since(frozen)
					}
				}
				if noticed == 0 || noticed > within {
					t.Errorf("noticed after %v (0: never)", noticed)
				}
				late := checkProject(o, p, func(time.Time) time.Duration { return within + singleBound })
				t.Logf("noticed after %v; %d ends, the last %v late", noticed, len(late), late[len(late)-1])
				o.stop()
			})
		})
	}
}

// A failure of the list call alone pauses lists, and never holds back a poll.
func TestFailingListsAreNoVerdict(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  dli.Error
		note bool
		most int // lists in ten minutes
	}{
		"401":                   {err: dli.Error{Kind: dli.KindAuth, HTTPStatus: 401}, note: true, most: 12},
		"403":                   {err: dli.Error{Kind: dli.KindPermission, HTTPStatus: 403}, note: true, most: 6},
		"429":                   {err: dli.Error{Kind: dli.KindThrottle, HTTPStatus: 429, RetryAfter: time.Minute}, most: 40},
		"400 (no such API)":     {err: dli.Error{Kind: dli.KindRejected, HTTPStatus: 400}, note: true, most: 12},
		"404 (no such API)":     {err: dli.Error{Kind: dli.KindNotFound, HTTPStatus: 404}, note: true, most: 6},
		"502":                   {err: dli.Error{Kind: dli.KindRetry, HTTPStatus: 502}, most: 60},
		"an error code":         {err: dli.Error{Kind: dli.KindRetry, HTTPStatus: 500, Code: "DLI.10001"}, most: 60},
		"a refused connection":  {err: dli.Error{Kind: dli.KindUnreachable}, most: 60},
		"something that is not": {err: dli.Error{Kind: dli.KindInvalid, HTTPStatus: 200}, most: 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProject(1, longJobs(40))
				o := watchProject(t, p, DefaultSchedule(), 20)
				o.run(time.Minute)
				p.tells(lies{errors: 1, err: &test.err})
				failing := time.Now()
				p.endEach(12 * time.Second)
				o.run(10 * time.Minute)
				if h := o.health("a"); !h.Ready || test.note != (h.ListsPaused != "") {
					t.Errorf("the connection is %+v", h)
				}
				for _, l := range p.jobs {
					for _, s := range o.storedOf(l.id) {
						if s.Failure != nil {
							t.Fatalf("%s was told %+v", l.id, s.Failure)
						}
					}
				}
				late := checkProject(o, p, func(time.Time) time.Duration { return singleBound })
				if n := o.listsSince(failing); n > test.most || n == 0 {
					t.Errorf("%d lists", n)
				}
				t.Logf("%d ends, the last %v late; %d lists", len(late), late[len(late)-1], o.listsSince(failing))
				o.stop()
			})
		})
	}
}

// A job's start is moved by status calls alone, and so is its duration.
func TestRowsDoNotMoveTheStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProject(1, longJobs(40))
		o := watchProject(t, p, DefaultSchedule(), 20)
		o.set(func() {
			o.list = func(options dli.ListOptions) listAnswer {
				said := p.list(options)
				for i := range said.list.Jobs {
					said.list.Jobs[i].StartTime, said.list.Jobs[i].Duration = time.Time{}, new(500*time.Hour)
				}
				return said
			}
		})
		o.run(10 * time.Minute)
		for _, l := range p.jobs {
			if off := o.poller.Latest(key(l.id)).Started.Sub(l.start).Abs(); off > time.Second {
				t.Fatalf("the start of %s is off by %v", l.id, off)
			}
			for _, s := range o.storedOf(l.id) {
				if s.Listed != nil && s.Listed.Duration != nil && *s.Listed.Duration > 2*time.Hour {
					t.Fatalf("%s has run for %v", l.id, *s.Listed.Duration)
				}
			}
		}
		if o.listsSince(time.Time{}) < 60 {
			t.Errorf("%d lists", o.listsSince(time.Time{}))
		}
		o.stop()
	})
}

// After a restart, lists cover at once every job whose status says that it is active.
func TestListsAfterRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProject(1, longJobs(1000))
		p.endEach(2 * time.Second)
		<-time.After(20 * time.Second) // ten end while no operator runs
		began := time.Now()
		c := newCluster()
		o := newScheduled(t, c, 0, DefaultSchedule())
		o.set(func() { o.answer, o.list = p.status, p.list })
		for i, l := range p.jobs {
			lastPoll := began.Add(-10 * time.Minute)
			if i%2 == 0 {
				lastPoll = began.Add(-25 * time.Second) // not due yet
			}
			o.change(l.id, func(target *Target) {
				*target = Target{Key: key(l.id), UID: types.UID(l.id), JobID: l.id, Connection: key("a"), Known: &Known{
					State: dli.StateRunning, LastPoll: lastPoll, Age: time.Hour, Running: time.Hour,
				}}
			})
		}
		o.run(3 * time.Minute)
		late := checkProject(o, p, func(end time.Time) time.Duration { return 30*time.Second + max(0, began.Sub(end)) })
		n := len(late)
		t.Logf("%d ends, p50 %v, the last %v; %d polls and %d lists", n, late[n/2], late[n-1], len(o.asks), o.listsSince(time.Time{}))
		o.stop()
	})
}

// Lists also serve a few jobs, within a tenth of the rate.
func TestListsForEveryone(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 20, 200} {
		for _, others := range []int{0, 300} {
			t.Run(fmt.Sprintf("%d jobs among %d others", n, others), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					p := newProject(1, longJobs(n))
					p.total = others
					o := watchProject(t, p, DefaultSchedule(), 20)
					o.run(10 * time.Minute)
					from := time.Now()
					o.run(10 * time.Minute)
					requests := len(o.since(from)) + o.listsSince(from)
					if most := 10 * 60 * 2; requests > most*5/4 || n < 20 && requests > n*125 {
						t.Errorf("%d requests in ten minutes, want at most %d", requests, most)
					}
					p.endEach(7 * time.Second)
					o.run(time.Duration(n)*7*time.Second + 20*time.Second)
					late := checkProject(o, p, func(time.Time) time.Duration { return 10*time.Second + 2*usual })
					if p99 := late[len(late)*99/100]; p99 > 7*time.Second {
						t.Errorf("p99 is %v", p99)
					}
					t.Logf("%.2f requests/s; %d ends, p50 %v, last %v", float64(requests)/600, len(late), late[len(late)/2], late[len(late)-1])
					o.stop()
				})
			})
		}
	}
}

// Lists that are forbidden are tried again as soon as the connection is edited.
func TestListsAfterAnEdit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProject(1, longJobs(40))
		p.tells(lies{errors: 1, err: &dli.Error{Kind: dli.KindPermission, HTTPStatus: 403}})
		o := watchProject(t, p, DefaultSchedule(), 20)
		o.run(2 * time.Minute)
		p.tells(lies{})
		o.cluster.edit("a", func(spec *v1alpha1.DLIConnectionSpec) { spec.ProjectID = "another" })
		edited := time.Now()
		o.run(time.Minute)
		if n := o.listsSince(edited); n < 5 || o.health("a").ListsPaused != "" {
			t.Errorf("%d lists; %+v", n, o.health("a"))
		}
		o.stop()
	})
}

// While more jobs are due than the rate allows, lists have their turns, and relieve it.
func TestListsOfAnOverloadedConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := watchProject(t, newProject(1, longJobs(600)), DefaultSchedule(), 4) // polls alone would take 10 per second
		o.run(2 * time.Minute)
		from := time.Now()
		o.run(5 * time.Minute)
		if n := o.listsSince(from); n < 5*12*6*9/10 {
			t.Errorf("%d pages in five minutes, want six every five seconds", n)
		}
		if n := o.poller.Waiting(key("a")); n > 10 {
			t.Errorf("%d jobs wait", n)
		}
		o.stop()
	})
}

// Nothing grows with jobs that are gone.
func TestNothingGrowsInDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		schedule := DefaultSchedule()
		schedule.PollIntervalMin, schedule.PollIntervalMax = 5*time.Minute, 5*time.Minute
		schedule.ListInterval, schedule.ListTrust = 5*time.Minute, time.Hour
		c := newCluster()
		o := newScheduled(t, c, 0, schedule)
		p := newProject(1, nil)
		o.set(func() { o.answer, o.list = p.status, p.list })
		var sizes []int
		const jobs, days = 12, 4
		for day := range days {
			for part := range 4 {
				fresh := make([]*life, jobs)
				p.mu.Lock()
				for i := range fresh {
					start := time.Now().Add(time.Duration(i) * time.Minute)
					fresh[i] = &life{fmt.Sprintf("job-%d-%d-%d", day, part, i), start, start, start.Add(5 * time.Hour)}
					p.byID[fresh[i].id] = fresh[i]
				}
				p.jobs = fresh
				p.mu.Unlock()
				for _, l := range fresh {
					o.watch("a", 0, l.id)
				}
				o.run(6 * time.Hour)
				o.mu.Lock()
				o.asks, o.stored, o.nth, o.lists = nil, map[string][]stored{}, map[string]int{}, nil
				clear(o.targets)
				o.mu.Unlock()
			}
			sizes = append(sizes, o.poller.size())
		}
		if first, last := sizes[1], sizes[days-1]; last > first {
			t.Errorf("%d entries after two days, %d after %d", first, last, days)
		}
		if len(o.poller.jobs) > 0 {
			t.Errorf("%d jobs are left", len(o.poller.jobs))
		}
		t.Logf("entries after each day: %v", slices.Compact(sizes))
		o.stop()
	})
}

// size counts the entries of everything that could grow.
func (p *Poller) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.jobs) + len(p.queues)
	for _, q := range p.queues {
		n += len(q.jobs) + len(q.later) + len(q.lastTurn) + q.waitingJobs() + len(q.lists.ended) + len(q.lists.rounds)
	}
	return n
}

// A takeover polls jobs with a fixed interval as far apart as before.
func TestTakeoverIsSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.limitRate(200)
		o := newOperator(t, c, 0)
		began := time.Now()
		for _, job := range names("job", 200) {
			o.change(job, func(target *Target) {
				*target = Target{Key: key(job), UID: types.UID(job), JobID: job, Connection: key("a"), Interval: 20 * time.Second, Known: &Known{
					State: dli.StateRunning, LastPoll: began.Add(-time.Hour), Age: time.Hour, Running: time.Hour,
				}}
			})
		}
		o.run(time.Minute)
		if got := most(o.since(began), time.Second); got > 30 {
			t.Errorf("%d polls within a second, want about 10", got)
		}
		if took := o.allAfter(began); took > 21*time.Second {
			t.Errorf("it took %v until all jobs were polled", took)
		}
	})
}
