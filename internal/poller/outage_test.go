// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// A failing endpoint causes few requests, and recovers without a thundering herd.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, dead := range map[string]struct {
		answer func(asked) answer
		// settled is when only probes are sent, and every the time between two: a second
		// while a single job may be the cause.
		settled, every time.Duration
	}{
		"refuses connections": {always(dli.Error{Kind: dli.KindUnreachable}, time.Millisecond), 6 * time.Second, 30 * time.Second},
		"never responds":      {always(dli.Error{}, timeout), 2 * time.Minute, time.Second},
		"answers HTTP 502":    {always(dli.Error{Kind: dli.KindRetry, HTTPStatus: 502}, usual), 2 * time.Minute, time.Second},
	} {
		simulate(t, name, func(o *operator) {
			t := o.T
			o.watch("a", 5*time.Second, names("job", 1000)...)
			o.run(time.Minute)
			o.says(dead.answer)
			began := time.Now()
			o.run(dead.settled)
			first := len(o.since(began))
			settled := time.Now()
			o.run(20 * time.Minute)
			probes := o.since(settled)
			if got := most(probes, dead.every*29/30); got > 1 {
				t.Errorf("%d requests within %v", got, dead.every)
			}
			if want := int(20 * time.Minute / dead.every); len(probes) < want*9/10 {
				t.Errorf("%d probes in twenty minutes, want almost %d", len(probes), want)
			}
			if different := jobsOf(probes); different < min(len(probes), 1000) {
				t.Errorf("%d probes of %d jobs", len(probes), different)
			}
			if h := o.health("a"); h.Reason != v1alpha1.ReasonCircuitOpen {
				t.Errorf("the connection reports %+v", h)
			}
			t.Logf("%d requests in the first %v, %d in twenty minutes more", first, dead.settled, len(probes))
			checkHealing(o, time.Minute)
		})
	}

	simulate(t, "responds with error codes", func(o *operator) {
		t := o.T
		o.watch("a", 5*time.Second, names("job", 300)...)
		o.run(time.Minute)
		o.says(always(dli.Error{Kind: dli.KindRetry, HTTPStatus: 500, Code: "DLI.10001"}, usual))
		began := time.Now()
		o.run(20 * time.Minute)
		// Every job backs off individually: after 1, 2, 4 ... 60 s.
		if got := len(o.since(began)); got > 26*300 {
			t.Errorf("%d requests in twenty minutes for 300 jobs", got)
		}
		t.Logf("%d requests in twenty minutes", len(o.since(began)))
		// At the rate limit, the last to be due waits for all that could be read again.
		checkHealing(o, 2*time.Minute)
	})

	simulate(t, "ends even if the probing jobs were deleted", func(o *operator) {
		t := o.T
		o.watch("a", 5*time.Second, names("job", 200)...)
		o.says(always(dli.Error{Kind: dli.KindUnreachable}, time.Millisecond))
		o.run(8 * time.Minute)
		for i := range 150 {
			o.leave(fmt.Sprint("job", i))
		}
		o.says(well)
		back := time.Now()
		o.run(2 * time.Minute)
		if first := o.firstAfter(back); first > 31*time.Second {
			t.Errorf("the first request was sent after %v", first)
		}
		if took := o.allAfter(back); took > time.Minute {
			t.Errorf("all jobs were polled after %v", took)
		}
	})
}

// lateness is a recorder that has how late a poll was at most.
type lateness struct {
	script
	worst time.Duration
}

func (l *lateness) PollLateness(late time.Duration) { l.worst = max(l.worst, late) }

// A short outage is reported for the jobs that it made fail or that failed before, and for the
// others once it lasts.
func TestWhoIsToldOfAnOutage(t *testing.T) {
	t.Parallel()
	simulate(t, "of 31 jobs", func(o *operator) {
		t := o.T
		isOut := false
		o.says(func(a asked) answer {
			switch {
			case isOut:
				return answer{took: time.Millisecond, err: &dli.Error{Kind: dli.KindUnreachable, Message: "connection refused"}}
			case a.job == "bad" && a.nth > 1:
				return answer{took: usual, err: &dli.Error{Kind: dli.KindRetry, HTTPStatus: 500, Code: "DLI.10001"}}
			}
			return running
		})
		good := names("good", 30)
		o.watch("a", 5*time.Second, good...)
		o.watch("a", 5*time.Second, "bad")
		o.run(20 * time.Second) // the bad one is polled again within the next 20 s
		told := func(jobs ...string) (n int) {
			for _, job := range jobs {
				all := o.storedOf(job)
				if last := all[len(all)-1].Failure; last != nil && last.Reason == v1alpha1.ReasonEndpointUnreachable {
					n++
				}
			}
			return n
		}
		o.set(func() { isOut = true })
		o.run(25 * time.Second)
		if n := told(good...); n > 10 || told("bad") != 1 { // as many as were sent before the circuit opened
			t.Errorf("%d of 30 healthy jobs are told at once, and %d that failed before", n, told("bad"))
		}
		o.run(40 * time.Second)
		if n := told(good...); n != 30 {
			t.Errorf("%d of 30 healthy jobs are told when it lasts", n)
		}
		late := &lateness{}
		o.poller.mu.Lock()
		o.poller.config.Recorder = late
		o.poller.mu.Unlock()
		o.set(func() { isOut = false })
		o.run(time.Minute)
		if late.worst == 0 || late.worst > 10*time.Second {
			t.Errorf("a job was polled %v late after it; how long it lasted does not count", late.worst)
		}
	})
}

// checkHealing lets DLI respond again, and checks that all jobs are polled soon, but
// within the rate limit.
func checkHealing(o *operator, within time.Duration) {
	o.Helper()
	back := time.Now()
	o.says(well)
	o.run(3 * time.Minute)
	first := o.firstAfter(back)
	if first > 31*time.Second {
		o.Errorf("the first request was sent %v after the recovery", first)
	}
	all := o.allAfter(back.Add(first))
	if all > within {
		o.Errorf("it took %v until all jobs were polled", all)
	}
	peak := most(o.since(back), time.Second)
	if peak > 40 {
		o.Errorf("%d requests within a second, want at most rate plus burst, 40", peak)
	}
	if h := o.health("a"); h.Reason != v1alpha1.ReasonConnected {
		o.Errorf("the connection reports %+v", h)
	}
	o.Logf("first request %v after recovery, all jobs %v later, at most %d in a second", first, all, peak)
}

func jobsOf(asks []asked) int {
	jobs := map[string]bool{}
	for _, a := range asks {
		jobs[a.job] = true
	}
	return len(jobs)
}

func TestRateIsShared(t *testing.T) {
	t.Parallel()
	t.Run("fairly", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			// A thousand jobs want 200 requests a second and get 20.
			o := newOperator(t, newCluster(), 0)
			o.watch("a", 5*time.Second, names("job", 1000)...)
			o.run(2 * time.Minute)
			settled := time.Now()
			o.run(5 * time.Minute)
			shortest, longest := time.Hour, time.Duration(0)
			last := map[string]time.Time{}
			for _, a := range o.since(settled) {
				if at, known := last[a.job]; known {
					shortest, longest = min(shortest, a.at.Sub(at)), max(longest, a.at.Sub(at))
				}
				last[a.job] = a.at
			}
			if ratio := float64(longest) / float64(shortest); ratio > 1.2 {
				t.Errorf("the longest wait, %v, is %.2f times the shortest, %v", longest, ratio, shortest)
			}
			if rate := float64(len(o.since(settled))) / (5 * 60); rate < 19.9 || rate > 20.1 {
				t.Errorf("%.2f requests a second, want 20", rate)
			}
		})
	})

	simulate(t, "among the jobs that remain", func(o *operator) {
		t := o.T
		jobs := names("job", 2000)
		o.watch("a", 5*time.Second, jobs...)
		o.run(10 * time.Second)
		for i, job := range jobs {
			if i%100 != 0 {
				o.leave(job)
			}
		}
		left := time.Now()
		o.watch("a", 5*time.Second, "new")
		o.run(time.Minute)
		fresh := o.since(left)
		if i := slices.IndexFunc(fresh, func(a asked) bool { return a.job == "new" }); i < 0 || fresh[i].at.Sub(left) > 2*time.Second {
			t.Errorf("a new job waited for deleted ones")
		}
		if took := o.allAfter(left); took > 10*time.Second {
			t.Errorf("it took %v until the others were polled", took)
		}
		if got := most(fresh, time.Second); got > 40 {
			t.Errorf("%d requests within a second, want at most rate plus burst, 40", got)
		}
	})
}

func TestRequestsInFlight(t *testing.T) {
	t.Parallel()
	simulate(t, "are limited if the endpoint is slow", func(o *operator) {
		t := o.T
		o.watch("a", 5*time.Second, names("job", 500)...)
		o.run(10 * time.Second)
		slow := running
		slow.took = 9 * time.Second
		o.says(func(asked) answer { return slow })
		o.run(5 * time.Minute)
		if o.flew != 16 {
			t.Errorf("%d requests in flight, want four times the four that a fast endpoint needs", o.flew)
		}
		o.says(well)
		quick := time.Now()
		o.run(time.Minute)
		if took := o.allAfter(quick); took > time.Minute {
			t.Errorf("it took %v until all jobs were polled after the endpoint was fast again", took)
		}
	})

	t.Run("leave capacity for other connections", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			fast := func(spec *v1alpha1.DLIConnectionSpec) {
				spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: 1000, Burst: 1000}
			}
			c.edit("a", fast)
			o := newOperator(t, c, 20)
			hangs := map[string]bool{}
			o.says(func(a asked) answer {
				if hangs[a.project] {
					return answer{took: timeout}
				}
				return running
			})
			o.run(time.Second)
			var taken []int
			for i, name := range []string{"a", "b", "c", "d", "e"} {
				c.edit(name, fast)
				if i > 0 {
					o.reconcile(name)
				}
				o.watch(name, time.Hour, name) // succeeds, and so proves the credentials
				o.run(time.Second)
				o.mu.Lock()
				before := o.flying
				hangs[name] = true
				o.mu.Unlock()
				o.watch(name, time.Hour, names(name, 100)...)
				o.run(time.Second)
				taken = append(taken, o.flying-before)
			}
			if want := []int{7, 2, 1, 1, 0}; !slices.Equal(taken, want) {
				t.Errorf("hanging connections, one after the other, take %v of 20 requests, want %v", taken, want)
			}
		})
	})

	t.Run("leave capacity for other namespaces", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			o := newOperator(t, c, 20)
			o.says(func(a asked) answer {
				if a.project == "a" {
					return running
				}
				return answer{took: timeout}
			})
			o.watch("a", 5*time.Second, "job")
			for _, name := range names("busy/hangs", 120) {
				c.edit(name, nil)
				o.reconcile(name)
			}
			o.run(time.Second)
			for _, name := range names("busy/hangs", 120) {
				o.change(name, func(target *Target) {
					*target = Target{Key: key(name), UID: types.UID(name), JobID: key(name).Name, Connection: key(name), Interval: 5 * time.Second}
				})
			}
			from := time.Now()
			o.run(5 * time.Minute)
			last := from
			for _, at := range append(o.asksOf("job"), time.Now()) {
				if gap := at.Sub(last); gap > 7500*time.Millisecond {
					t.Errorf("%v without a poll, want one every 5 s", gap)
				}
				last = at
			}
			if o.flew > 12 {
				t.Errorf("%d of 20 requests in flight, want half and a few", o.flew)
			}
		})
	})

	t.Run("start when those of another connection end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			c.edit("b", nil)
			o := newOperator(t, c, 2)
			o.reconcile("b")
			o.says(func(a asked) answer {
				if a.project == "a" {
					return answer{took: 3100 * time.Millisecond, status: running.status}
				}
				return running
			})
			o.watch("a", time.Second, names("slow", 5)...)
			o.run(time.Minute)
			o.watch("b", 5*time.Second, "job")
			from := time.Now()
			o.run(time.Minute)
			n := 0
			for _, a := range o.since(from) {
				if a.job == "job" {
					n++
				}
			}
			if n < 10 {
				t.Errorf("%d requests in a minute, want one every 5 s", n)
			}
		})
	})
}

// The namespaces that share a connection take turns: one with many jobs does not delay the
// others.
func TestNamespacesTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, newCluster(), 0)
		watch := func(namespace string, n int, interval time.Duration) {
			for _, name := range names(namespace+"/job", n) {
				o.change(name, func(target *Target) {
					*target = Target{Key: key(name), UID: types.UID(name), JobID: strings.ReplaceAll(name, "/", "-"), Connection: key("a"), Interval: interval}
				})
			}
		}
		isOverloaded := func() bool { return strings.Contains(o.health("a").Message, "longer for their turn") }
		watch("owner", 20, 5*time.Second)
		o.run(time.Minute)
		if isOverloaded() {
			t.Error("the connection is overloaded by 4 of 20 requests a second")
		}
		watch("tenant", 5000, time.Second)
		o.run(time.Minute)
		if h := o.health("a"); !h.Ready || !isOverloaded() {
			t.Errorf("the connection reports %+v, want that jobs wait", h)
		}
		from := time.Now()
		o.run(5 * time.Minute)
		last := map[string]time.Time{}
		for _, name := range names("owner-job", 20) {
			last[name] = from
		}
		for _, a := range o.since(from) {
			if at, isOwner := last[a.job]; isOwner {
				if gap := a.at.Sub(at); gap > 10*time.Second {
					t.Fatalf("%v between two polls of %s, want at most twice its interval", gap, a.job)
				}
				last[a.job] = a.at
			}
		}
		for job, at := range last {
			if gap := time.Since(at); gap > 10*time.Second {
				t.Errorf("%s was not polled for %v", job, gap)
			}
		}
		if rate := float64(len(o.since(from))) / (5 * 60); rate < 19.9 {
			t.Errorf("%.2f requests a second, want 20", rate)
		}
		for _, name := range names("tenant/job", 5000) {
			o.leave(name)
		}
		o.run(overloadFor + 10*time.Second)
		if isOverloaded() {
			t.Error("the connection is still overloaded without the tenant")
		}
	})
}
