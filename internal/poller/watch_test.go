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

// asksOf returns when a job was polled.
func (o *operator) asksOf(job string) []time.Time {
	var at []time.Time
	for _, a := range o.since(time.Time{}) {
		if a.job == job {
			at = append(at, a.at)
		}
	}
	return at
}

func TestEdits(t *testing.T) {
	for name, test := range map[string]struct {
		change func(o *operator)
		within time.Duration
		stored int
	}{
		"a shorter interval":            {func(o *operator) { o.change("job", func(t *Target) { t.Interval = 2 * time.Second }) }, 2 * time.Second, 1},
		"a requested poll":              {func(o *operator) { o.change("job", func(t *Target) { t.PollRequest = "now" }) }, time.Second, 2},
		"a changed status":              {func(o *operator) { o.poller.PollNow(key("job")) }, time.Second, 2},
		"a new object of the same name": {func(o *operator) { o.change("job", func(t *Target) { t.UID, t.JobID = "anew", "another" }) }, time.Second, 2},
	} {
		simulate(t, name+" takes effect immediately", func(o *operator) {
			t := o.T
			o.watch("a", time.Hour, "job")
			o.run(10 * time.Minute)
			changed := time.Now()
			test.change(o)
			o.run(time.Minute)
			if took := o.firstAfter(changed); took > test.within {
				t.Errorf("took effect after %v", took)
			}
			if n := len(o.storedOf("job")); n != test.stored {
				t.Errorf("%d results were delivered, want %d", n, test.stored)
			}
		})
	}

	simulate(t, "a job that loses its connection is not polled any more", func(o *operator) {
		t := o.T
		o.watch("a", 5*time.Second, "job")
		o.run(time.Minute)
		o.change("job", func(t *Target) { t.Connection, t.Failure = o.find("none") })
		lost := time.Now()
		o.run(time.Minute)
		if n := len(o.since(lost)); n > 0 {
			t.Errorf("%d polls", n)
		}
	})

	simulate(t, "a shorter interval also takes effect immediately after a restart", func(o *operator) {
		t := o.T
		o.change("job", func(target *Target) {
			*target = Target{Key: key("job"), JobID: "job", Interval: time.Hour, Known: &Known{LastPoll: time.Now().Add(-10 * time.Minute)}}
			target.Connection, target.Failure = o.find("a")
		})
		o.run(time.Second)
		o.change("job", func(t *Target) { t.Interval = 2 * time.Second })
		o.run(time.Second)
		if len(o.asks) == 0 {
			t.Error("not polled")
		}
	})

	simulate(t, "a poll that is requested during a failing one is not delayed", func(o *operator) {
		t := o.T
		o.says(always(dli.Error{Kind: dli.KindPermission, HTTPStatus: 403}, time.Second))
		o.watch("a", time.Hour, "job")
		o.run(500 * time.Millisecond)
		o.change("job", func(t *Target) { t.PollRequest = "now" })
		o.run(time.Second)
		if asks := o.asksOf("job"); len(asks) != 2 {
			t.Errorf("polled at %v, want twice", asks)
		}
	})

	simulate(t, "one request causes one poll, even if the result cannot be stored", func(o *operator) {
		t := o.T
		o.writable = false
		o.watch("a", time.Hour, "job")
		o.run(time.Minute)
		for range 100 { // like a reconcile that fails
			o.change("job", func(t *Target) { t.PollRequest = "now" })
			o.run(300 * time.Millisecond)
		}
		o.change("job", func(t *Target) { t.PollRequest = "again" })
		o.run(time.Minute)
		if n := len(o.asksOf("job")); n != 3 {
			t.Errorf("polled %d times, want 3", n)
		}
		if result := o.poller.Latest(key("job")).Result; result == nil || result.PollRequest != "again" {
			t.Errorf("the result is %+v", result)
		}
	})

	failed := answer{err: &dli.Error{Kind: dli.KindRetry, HTTPStatus: 500, Code: "DLI.10001"}}
	gone := answer{err: &dli.Error{Kind: dli.KindNotFound, HTTPStatus: 404}}
	for name, test := range map[string]struct {
		says func(asked) answer
		want int
	}{
		"again if that fails":                 {inTurn(failed, failed, running), 3},
		"not again if DLI has it no longer":   {inTurn(gone), 1},
		"not again if DLI shows it as active": {well, 1},
	} {
		simulate(t, "a completed job is polled once on request, and "+name, func(o *operator) {
			t := o.T
			o.says(test.says)
			o.change("job", func(target *Target) {
				*target = Target{Key: key("job"), JobID: "job", Completed: true, PollRequest: "now", Known: &Known{LastPoll: time.Now()}}
				target.Connection, target.Failure = o.find("a")
			})
			o.run(time.Hour)
			if n := len(o.asksOf("job")); n != test.want {
				t.Errorf("polled %d times, want %d", n, test.want)
			}
		})
	}

	simulate(t, "another connection takes effect immediately, also for a job that fails or is being polled", func(o *operator) {
		t := o.T
		o.edit("b", nil)
		o.reconcile("b")
		o.says(func(a asked) answer {
			if a.project == "a" {
				return answer{took: 3 * time.Second, err: &dli.Error{Kind: dli.KindPermission, HTTPStatus: 403}}
			}
			return running
		})
		o.watch("b", time.Second, "other")
		o.watch("a", time.Hour, "failing")
		o.run(10 * time.Second)
		o.watch("a", time.Hour, "polled")
		o.run(time.Second)
		moved := time.Now()
		o.refind("b")
		o.run(10 * time.Second)
		if took := o.allAfter(moved); took > 3*time.Second {
			t.Errorf("took effect after %v", took)
		}
		for _, s := range o.storedOf("polled") {
			if s.Failure != nil {
				t.Errorf("a response through the former connection is stored: %v", s.Failure)
			}
		}
	})

	t.Run("an edit of a connection applies to jobs that wait, fail or are being polled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			c.edit("a", func(spec *v1alpha1.DLIConnectionSpec) { spec.ProjectID = "wrong" })
			o := newOperator(t, c, 0)
			o.says(func(a asked) answer {
				if a.project == "wrong" {
					return answer{took: 3 * time.Second, err: &dli.Error{Kind: dli.KindPermission, HTTPStatus: 403}}
				}
				return running
			})
			o.watch("a", time.Minute, names("job", 50)...)
			o.run(10 * time.Second)
			edited := time.Now()
			o.edit("a", func(spec *v1alpha1.DLIConnectionSpec) { spec.ProjectID = "right" })
			o.refind("a")
			o.run(10 * time.Second)
			if took := o.allAfter(edited); took > 5*time.Second {
				t.Errorf("took effect after %v", took)
			}
			for _, job := range names("job", 50) {
				if all := o.storedOf(job); len(all) == 0 || all[len(all)-1].Status == nil {
					t.Errorf("%s still reports a failure", job)
				}
			}
			if len(o.poller.queues) != 1 {
				t.Errorf("%d queues are kept", len(o.poller.queues))
			}
		})
	})

	t.Run("polling continues after a connection is recreated", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			o := newOperator(t, c, 0)
			o.watch("a", 5*time.Second, names("job", 100)...)
			o.run(12 * time.Second)
			c.mu.Lock()
			delete(c.connections, key("a"))
			c.tell(key("a"))
			c.mu.Unlock()
			o.run(time.Second)
			o.refind("a")
			gone := time.Now()
			o.run(time.Minute)
			if n := len(o.since(gone)); n > 0 {
				t.Errorf("%d requests without a connection", n)
			}
			if r := o.stored["job0"][len(o.stored["job0"])-1]; r.Failure == nil || r.Failure.Reason != v1alpha1.ReasonConnectionNotFound {
				t.Errorf("the job reports %+v", r)
			}
			back := time.Now()
			o.edit("a", nil)
			o.reconcile("a")
			o.refind("a")
			o.run(20 * time.Second)
			if took := o.allAfter(back); took > 6*time.Second {
				t.Errorf("all jobs were polled after %v", took)
			}
		})
	})
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, newCluster(), 0)
		slow := running
		slow.took = 3 * time.Second
		o.says(func(asked) answer { return slow })
		o.watch("a", 5*time.Second, "job")
		o.run(time.Second)
		o.leave("job") // during a poll
		o.watch("a", 5*time.Second, "job")
		o.run(time.Second)
		o.leave("job")
		o.run(time.Minute)
		if n := len(o.asks); n != 2 {
			t.Errorf("polled %d times, want 2", n)
		}
		if len(o.stored) > 0 {
			t.Error("a response for a job that is no longer watched is stored")
		}
		if len(o.poller.jobs)+len(o.poller.queues)+o.poller.inFlight > 0 {
			t.Errorf("something was not forgotten: %+v", o.poller)
		}
	})
}
