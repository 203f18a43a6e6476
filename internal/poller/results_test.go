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

func TestResults(t *testing.T) {
	t.Run("the second failure of a healthy job is delivered, the first is not", func(t *testing.T) {
		for failures, want := range []int{1, 1, 3} {
			synctest.Test(t, func(t *testing.T) {
				o := newOperator(t, newCluster(), 0)
				o.says(func(a asked) answer {
					if a.nth > 5 && a.nth <= 5+failures {
						return answer{err: &dli.Error{Kind: dli.KindRetry, HTTPStatus: 502}}
					}
					return running
				})
				o.watch("a", time.Second, "job")
				o.run(time.Minute)
				if got := len(o.storedOf("job")); got != want {
					t.Errorf("%d failures caused %d deliveries, want %d", failures, got, want)
				}
			})
		}
	})

	simulate(t, "the newest result is kept until it is stored", func(o *operator) {
		t := o.T
		o.writable = false
		o.says(inTurn(running, finished))
		o.watch("a", 5*time.Second, "job")
		o.run(2 * time.Second)
		first := o.poller.Latest(key("job")).Result
		o.run(time.Hour)
		newest := o.poller.Latest(key("job")).Result
		if newest.Status.State != dli.StateFinished || !newest.Ended || len(o.asks) != 2 {
			t.Errorf("after %d polls the result is %+v", len(o.asks), newest)
		}
		o.poller.Stored(key("job"), first)
		if o.poller.Latest(key("job")).Result != newest {
			t.Error("a newer result is dropped when an older one was stored")
		}
		o.watch("a", 5*time.Second, "job") // like after a conflict
		o.run(time.Hour)
		if len(o.asks) != 2 {
			t.Error("a job that has ended is polled again before its outcome is stored")
		}
	})

	simulate(t, "an outcome is kept despite failures until it is stored", func(o *operator) {
		t := o.T
		o.writable = false
		o.says(inTurn(running, finished, answer{err: &dli.Error{Kind: dli.KindNotFound, HTTPStatus: 404}}))
		o.watch("a", 5*time.Second, "job")
		o.run(10 * time.Second)
		o.poller.PollNow(key("job"))
		o.run(time.Minute)
		o.change("job", func(t *Target) { t.Connection, t.Failure = o.find("none") })
		if r := o.poller.Latest(key("job")).Result; r.Status == nil || r.Status.State != dli.StateFinished || !r.Ended {
			t.Errorf("the result is %+v", r)
		}
	})

	simulate(t, "the confirmation of a missing job continues after a restart", func(o *operator) {
		t := o.T
		o.says(always(dli.Error{Kind: dli.KindNotFound, HTTPStatus: 404, Code: "DLI.0023"}, usual))
		since := time.Now().Add(-100 * time.Second)
		o.change("job", func(target *Target) {
			*target = Target{Key: key("job"), JobID: "job", Known: &Known{
				Failures: FailureStreak{Count: 1, Reason: v1alpha1.ReasonJobNotFound, NotFound: 2, NotFoundSince: since},
			}}
			target.Connection, target.Failure = o.find("a")
		})
		o.run(21 * time.Second)
		r, streak := o.storedOf("job"), o.poller.Latest(key("job")).Failures
		if last := r[len(r)-1]; !streak.ConfirmsNotFound(last.SentAt, 2*time.Minute) || !streak.NotFoundSince.Equal(since) {
			t.Errorf("the streak is %+v", streak)
		}
	})
}

// The lateness of an end is only known if the job was seen active before.
func TestEnded(t *testing.T) {
	end := &dli.JobStatus{Status: "FINISHED", State: dli.StateFinished}
	first, second := &job{failures: noFailures}, &job{failures: noFailures}
	first.recordStatus(end, noon, noon, time.Minute)
	if first.result.Ended {
		t.Error("a job that was never active has ended")
	}
	second.recordStatus(running.status, noon, noon, time.Minute)
	for _, request := range []string{"", "again"} {
		second.pollRequest = request
		second.recordStatus(end, noon, noon, time.Minute)
		if !second.result.Ended {
			t.Errorf("after poll request %q, the result is %+v", request, second.result)
		}
	}
}

// After a restart, the first response is no news if its word is the stored one, whatever else it
// says, and neither is a row of a list. What differs from them later is.
func TestNewsAfterARestart(t *testing.T) {
	response := func(word string, rows int64) *dli.JobStatus {
		return &dli.JobStatus{Status: word, State: dli.ParseState(word), Figures: dli.Figures{ResultCount: &rows}}
	}
	restarted := func() *job {
		return newJob(Target{Known: &Known{State: dli.StateRunning, LastPoll: noon.Add(-time.Hour), Status: "RUNNING"}}, noon)
	}
	at := noon
	poll := func(j *job, word string, rows int64) bool {
		at = at.Add(time.Minute)
		return j.recordStatus(response(word, rows), at, at, time.Minute)
	}
	list := func(j *job, rows int64) bool {
		at = at.Add(time.Minute)
		return j.recordRow(&dli.JobRow{Figures: response("", rows).Figures}, at, at, time.Minute)
	}
	j := restarted()
	for i, want := range []bool{false, false, true} {
		if rows := int64(max(i, 1)); poll(j, "RUNNING", rows) != want {
			t.Errorf("poll %d, of %d rows, is news: %v", i+1, rows, !want)
		}
	}
	if j := restarted(); list(j, 1) || list(j, 2) || poll(j, "RUNNING", 2) || !list(j, 3) {
		t.Error("not the count after the first poll alone is news")
	}
	if !poll(restarted(), "SCALING", 1) || !poll(restarted(), "FINISHED", 1) {
		t.Error("another status is no news")
	}
}
