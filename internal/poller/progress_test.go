// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dli-operator/dli-operator/internal/dli"
)

// The progress of a running job is requested once per refresh interval if wanted.
// Failures of these requests have no effect.
func TestPercent(t *testing.T) {
	t.Parallel()
	launching := answer{took: usual, status: &dli.JobStatus{Status: "LAUNCHING", State: dli.StateLaunching}}
	busy := &dli.Error{Kind: dli.KindRetry, HTTPStatus: 400, Code: "DLI.0999", Message: "the queue is busy"}
	for _, test := range []struct {
		name        string
		off         bool
		says        answer
		fraction    float64
		percent     answer
		rate        int32 // requests per second
		jobs        int
		least, most int // requests in ten minutes
		want        int32
	}{
		{name: "of a running job", says: running, fraction: 0.294, rate: 20, jobs: 3, least: 21, most: 33, want: 29},
		{name: "of a job that is almost done", says: running, fraction: 1, rate: 20, jobs: 1, least: 7, most: 11, want: 100},
		{name: "not wanted", off: true, says: running, fraction: 0.5, rate: 20, jobs: 3, want: -1},
		{name: "of a launching job", says: launching, fraction: 0.5, rate: 20, jobs: 3, want: -1},
		{name: "of a job that has ended", says: finished, fraction: 0.5, rate: 20, jobs: 3, want: -1},
		{name: "from a queue without progress", says: running, percent: answer{took: usual, err: busy}, rate: 20, jobs: 8, least: 56, most: 88, want: -1},
		{name: "from a queue that hangs", says: running, percent: answer{took: timeout, err: busy}, rate: 20, jobs: 3, least: 21, most: 33, want: -1},
		{name: "while polls have to wait", says: running, fraction: 0.5, rate: 1, jobs: 300, want: -1},
		{name: "while polls wait for slow ones", says: answer{took: time.Second, status: running.status}, fraction: 0.5, rate: 20, jobs: 300, want: -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.limitRate(test.rate)
				o := newOperator(t, c, 0)
				o.says(func(asked) answer { return test.says })
				o.set(func() { o.percent = func() (float64, answer) { return test.fraction, test.percent } })
				jobs := names("job", test.jobs)
				o.watch("a", 0, jobs...)
				for _, job := range jobs {
					o.change(job, func(t *Target) { t.ReportProgress = !test.off })
				}
				o.run(10 * time.Minute)
				if n := len(o.percents); n < test.least || n > test.most {
					t.Errorf("%d requests, want %d to %d", n, test.least, test.most)
				}
				if polls := len(o.since(time.Time{})); test.least > 0 && polls < 10*test.jobs {
					t.Errorf("%d polls", polls)
				}
				if health := o.health("a"); !health.Ready {
					t.Errorf("the connection is %+v", health)
				}
				got := int32(-1)
				for _, job := range jobs {
					if percent := o.poller.Latest(key(job)).Progress; percent != nil {
						got = *percent
					}
				}
				if got != test.want {
					t.Errorf("%d %%, want %d %%", got, test.want)
				}
				o.change(jobs[0], func(t *Target) { t.ReportProgress = false })
				if percent := o.poller.Latest(key(jobs[0])).Progress; percent != nil {
					t.Errorf("%d %% when it is no longer wanted", *percent)
				}
				o.stop()
			})
		})
	}
}

// The cost of a job is requested once its outcome was stored, until DLI reports it. Failures
// of these requests have no effect.
func TestCost(t *testing.T) {
	t.Parallel()
	cost := dli.Cost{EndTime: time.Unix(1509335111, 0).UTC(), CPUCost: new(int64(12)), OutputBytes: new(int64(34))}
	rows := func(id string, cost dli.Cost) listAnswer {
		return listAnswer{took: usual, list: &dli.JobList{Total: 1, Jobs: []dli.JobRow{{JobID: id, Status: "FINISHED", State: dli.StateFinished, Cost: cost}}}}
	}
	fails := func(kind dli.Kind, took time.Duration) func(string, int) listAnswer {
		return func(string, int) listAnswer {
			return listAnswer{took: took, err: &dli.Error{Kind: kind, HTTPStatus: 403, Message: "no"}}
		}
	}
	for _, test := range []struct {
		name string
		off  bool
		rate int32 // requests per second
		jobs int
		// lists returns the nth response for a job.
		lists       func(id string, nth int) listAnswer
		least, most int // requests in two minutes
		known       int // jobs with a cost
	}{
		{name: "of a job", rate: 20, jobs: 1, lists: func(id string, _ int) listAnswer { return rows(id, cost) }, least: 1, most: 1, known: 1},
		{name: "of a job whose ID DLI writes in capitals", rate: 20, jobs: 1, lists: func(id string, _ int) listAnswer { return rows(strings.ToUpper(id), cost) }, least: 1, most: 1, known: 1},
		{name: "of more jobs than the rate allows at once", rate: 2, jobs: 100, lists: func(id string, _ int) listAnswer { return rows(id, cost) }, least: 100, most: 100, known: 100},
		{name: "not wanted", off: true, rate: 20, jobs: 3, lists: func(id string, _ int) listAnswer { return rows(id, cost) }},
		{name: "which DLI knows a minute later", rate: 20, jobs: 1, lists: func(id string, nth int) listAnswer {
			if nth < 3 {
				return rows(id, dli.Cost{EndTime: cost.EndTime})
			}
			return rows(id, cost)
		}, least: 3, most: 3, known: 1},
		{name: "where the filter is unknown", rate: 20, jobs: 1, lists: func(string, int) listAnswer { return rows("another", cost) }, least: 4, most: 5},
		{name: "where lists are not allowed", rate: 20, jobs: 3, lists: fails(dli.KindPermission, usual), least: 12, most: 15},
		{name: "where lists hang", rate: 20, jobs: 3, lists: fails(dli.KindUnreachable, timeout), least: 9, most: 15},
		{name: "where lists are throttled", rate: 20, jobs: 3, lists: fails(dli.KindThrottle, usual), least: 12, most: 15},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.limitRate(test.rate)
				o := newOperator(t, c, 0)
				o.reportCost = !test.off
				nth := map[string]int{}
				o.set(func() {
					o.list = func(options dli.ListOptions) listAnswer {
						nth[options.JobID]++
						if options.PageSize != 1 || options.Status != "" {
							t.Errorf("the list %+v", options)
						}
						return test.lists(options.JobID, nth[options.JobID])
					}
				})
				o.says(func(asked) answer { return finished })
				jobs := names("job", test.jobs)
				o.watch("a", 0, jobs...)
				o.run(2 * time.Minute)
				if n := o.listsSince(time.Time{}); n < test.least || n > test.most {
					t.Errorf("%d requests, want %d to %d", n, test.least, test.most)
				}
				known := 0
				for _, job := range jobs {
					if n := len(o.storedOf(job)); n != 1 {
						t.Errorf("the outcome of %s was stored %d times", job, n)
					}
					if got := o.poller.Latest(key(job)).Cost; got != nil {
						known++
						if diff := cmp.Diff(&cost, got); diff != "" {
							t.Error(diff)
						}
					}
				}
				if known != test.known {
					t.Errorf("the cost of %d jobs is known, want %d", known, test.known)
				}
				if n := len(o.since(time.Time{})); n != test.jobs {
					t.Errorf("%d jobs were polled %d times", test.jobs, n)
				}
				if health := o.health("a"); !health.Ready {
					t.Errorf("the connection is %+v", health)
				}
				o.stop()
			})
		})
	}
}
