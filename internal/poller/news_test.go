// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/utils/ptr"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// The one rule of news.
func TestNews(t *testing.T) {
	status := func(word string, change func(*dli.JobStatus)) *dli.JobStatus {
		s := &dli.JobStatus{Status: word, State: dli.ParseState(word), Statement: "select"}
		s.Duration, s.ResultCount = ptr.To(time.Minute), ptr.To[int64](1)
		if change != nil {
			change(s)
		}
		return s
	}
	running := status("RUNNING", nil)
	refused := connection.Failf(v1alpha1.ReasonPermissionDenied, "refused")
	for name, test := range map[string]struct {
		next  *dli.JobStatus
		fails *connection.Failure
		row   *dli.JobRow
		after time.Duration
		want  bool
	}{
		"another status is delivered at once":              {next: status("SCALING", nil), want: true},
		"an outcome is delivered at once":                  {next: status("FINISHED", nil), want: true},
		"a failure is delivered at once":                   {fails: refused, want: true},
		"the same status is not":                           {next: running, after: time.Hour},
		"another count waits for the refresh interval":     {next: status("RUNNING", func(s *dli.JobStatus) { s.ResultCount = ptr.To[int64](2) }), after: 59 * time.Second},
		"and is delivered then":                            {next: status("RUNNING", func(s *dli.JobStatus) { s.ResultCount = ptr.To[int64](2) }), after: time.Minute, want: true},
		"a count that is gone is delivered then":           {next: status("RUNNING", func(s *dli.JobStatus) { s.ResultCount = nil }), after: time.Minute, want: true},
		"another statement waits for the refresh interval": {next: status("RUNNING", func(s *dli.JobStatus) { s.Statement = "insert" }), after: 59 * time.Second},
		"and a statement is delivered then":                {next: status("RUNNING", func(s *dli.JobStatus) { s.Statement = "insert" }), after: time.Minute, want: true},
		"other columns wait for the refresh interval":      {next: status("RUNNING", func(s *dli.JobStatus) { s.Columns = []dli.Column{{Name: "c"}} }), after: 59 * time.Second},
		"a longer duration alone is not":                   {next: status("RUNNING", func(s *dli.JobStatus) { s.Duration = ptr.To(119 * time.Second) }), after: time.Hour},
		"a doubled duration waits for five of them":        {next: status("RUNNING", func(s *dli.JobStatus) { s.Duration = ptr.To(2 * time.Minute) }), after: 5*time.Minute - time.Second},
		"and a doubled duration is delivered then":         {next: status("RUNNING", func(s *dli.JobStatus) { s.Duration = ptr.To(2 * time.Minute) }), after: 5 * time.Minute, want: true},
		"a row with fewer figures is not":                  {row: &dli.JobRow{}, after: time.Hour},
		"a row with another count waits":                   {row: &dli.JobRow{Figures: dli.Figures{ResultCount: ptr.To[int64](2)}}, after: 59 * time.Second},
		"and a row's count is delivered then":              {row: &dli.JobRow{Figures: dli.Figures{ResultCount: ptr.To[int64](2)}}, after: time.Minute, want: true},
		"a row with another duration is not":               {row: &dli.JobRow{Figures: dli.Figures{Duration: ptr.To(time.Hour)}}, after: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			j := &job{failures: noFailures}
			if !j.recordStatus(running, noon, noon, time.Minute) {
				t.Fatal("the first status is not delivered")
			}
			j.result = nil // stored
			now, got := noon.Add(test.after), false
			switch {
			case test.fails != nil:
				got = j.recordFailure(test.fails, now, now, time.Minute)
			case test.row != nil:
				got = j.recordRow(test.row, now, now, time.Minute)
			default:
				got = j.recordStatus(test.next, now, now, time.Minute)
			}
			if got != test.want || got != (j.result != nil) {
				t.Errorf("delivered: %v, result %+v", got, j.result)
			}
		})
	}
}

// A job that flaps is delivered a few times a minute at most; its outcome at once.
func TestFlapping(t *testing.T) {
	j := &job{failures: noFailures}
	delivered, now := 0, noon
	for i := range 120 { // ten minutes
		word := []string{"LAUNCHING", "RUNNING"}[i%2]
		if j.recordStatus(&dli.JobStatus{Status: word, State: dli.ParseState(word)}, now, now, time.Minute) {
			delivered++
		}
		now = now.Add(5 * time.Second)
	}
	if delivered < 10 || delivered > 20 {
		t.Errorf("%d deliveries in ten minutes, want about one per minute after a few", delivered)
	}
	if !j.recordStatus(&dli.JobStatus{Status: "FINISHED", State: dli.StateFinished}, now, now, time.Minute) {
		t.Error("the outcome is not delivered at once")
	}
	calm := &job{failures: noFailures}
	for i, word := range []string{"LAUNCHING", "RUNNING", "SCALING", "RUNNING"} {
		at := noon.Add(time.Duration(i) * 5 * time.Second)
		if !calm.recordStatus(&dli.JobStatus{Status: word, State: dli.ParseState(word)}, at, at, time.Minute) {
			t.Errorf("change %d is not delivered", i)
		}
	}
}

// The time that a request was sent counts for NotFound, not that of a late response.
func TestNotFoundCountsFromTheRequest(t *testing.T) {
	gone := connection.Failf(v1alpha1.ReasonJobNotFound, "gone")
	j := &job{failures: noFailures}
	for _, sent := range []time.Duration{0, 30 * time.Second, 60 * time.Second} {
		j.recordFailure(gone, noon.Add(sent), noon.Add(sent+3*time.Minute), time.Minute)
	}
	if j.failures.ConfirmsNotFound(j.result.ArrivedAt, 2*time.Minute) {
		t.Error("requests over one minute confirm NotFound")
	}
	j.recordFailure(gone, noon.Add(2*time.Minute), noon.Add(2*time.Minute), time.Minute)
	if !j.failures.ConfirmsNotFound(j.result.SentAt, 2*time.Minute) {
		t.Error("requests over two minutes do not")
	}
	j.recordStatus(&dli.JobStatus{Status: "RUNNING", State: dli.StateRunning}, noon, noon, time.Minute)
	if j.failures.NotFound != 0 {
		t.Error("a response that has the job does not reset the count")
	}
}

// A panic while the response for one job is read or handled is that job's failure; the
// others are polled on time.
func TestPanic(t *testing.T) {
	for name, panics := range map[string]func(o *operator, job string){
		"reading the response": func(o *operator, job string) {
			o.says(func(a asked) answer {
				if a.job == job {
					return answer{panics: true}
				}
				return running
			})
		},
		"handling it": func(o *operator, job string) {
			o.says(func(a asked) answer {
				if a.job == job {
					return answer{} // neither a status nor an error
				}
				return running
			})
		},
	} {
		simulate(t, name, func(o *operator) {
			t := o.T
			var stacks atomic.Int32
			o.poller.config.Log = funcr.New(func(_, args string) {
				if strings.Contains(args, "goroutine") {
					stacks.Add(1)
				}
			}, funcr.Options{})
			panics(o, "bad")
			o.watch("a", 5*time.Second, names("good", 20)...)
			o.watch("a", 5*time.Second, "bad")
			o.run(10 * time.Minute)
			last := o.poller.Latest(key("bad"))
			if last.Failures.Count < 8 || last.Failures.Reason != v1alpha1.ReasonInvalidResponse {
				t.Errorf("the failing job has %+v", last.Failures)
			}
			for _, job := range names("good", 20) {
				if n := len(o.asksOf(job)); n < 118 {
					t.Errorf("%s was polled %d times in ten minutes", job, n)
				}
			}
			if stacks.Load() != 1 {
				t.Errorf("%d stacks in the log", stacks.Load())
			}
			if h := o.health("a"); !h.Ready {
				t.Errorf("the connection is %+v", h)
			}
		})
	}
}

// A process that no longer leads sends nothing, also if requests have been admitted.
func TestMayPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, newCluster(), 0)
		var leads atomic.Bool
		leads.Store(true)
		o.poller.config.MayPoll = func(time.Time) bool { return leads.Load() }
		o.watch("a", 5*time.Second, names("job", 20)...)
		o.run(time.Minute)
		leads.Store(false)
		lost := time.Now()
		o.run(30 * time.Second)
		if n := len(o.since(lost)); n > 0 {
			t.Errorf("%d requests", n)
		}
		leads.Store(true)
		back := time.Now()
		o.run(10 * time.Second)
		if took := o.allAfter(back); took > 7*time.Second {
			t.Errorf("all jobs were polled %v after it leads again", took)
		}
		if h := o.health("a"); !h.Ready {
			t.Errorf("the connection is %+v", h)
		}
	})
}

// Healthy is for a liveness probe: it reports a loop that hangs, without waiting for it.
func TestHealthy(t *testing.T) {
	p := New(Config{})
	if err := p.Healthy(noon); err != nil {
		t.Errorf("before the start: %v", err)
	}
	p.lastRun.Store(&noon)
	p.mu.Lock() // as if the loop hung
	defer p.mu.Unlock()
	if err := p.Healthy(noon.Add(20 * time.Second)); err != nil {
		t.Errorf("after 20 s: %v", err)
	}
	if p.Healthy(noon.Add(21*time.Second)) == nil {
		t.Error("a loop that hangs is healthy")
	}
}
