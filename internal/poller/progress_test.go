// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
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
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.edit("a", func(spec *v1alpha1.DLIConnectionSpec) {
					spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: test.rate, Burst: test.rate}
				})
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
