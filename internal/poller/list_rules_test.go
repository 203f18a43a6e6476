// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// A row only says something of a job in the row's state, without a later poll of its own.
func TestShowsJob(t *testing.T) {
	round := newListRound(listed{state: dli.StateRunning}, noon)
	for name, test := range map[string]struct {
		change func(*job)
		want   bool
	}{
		"that was polled before":      {func(*job) {}, true},
		"that was polled since":       {func(j *job) { j.sentAt = noon.Add(time.Second) }, false},
		"that is being polled":        {func(j *job) { j.inFlight = true }, false},
		"that is in another state":    {func(j *job) { j.state = dli.StateLaunching }, false},
		"that could not be read":      {func(j *job) { j.failures = &FailureStreak{Count: 1, Reason: "x"} }, false},
		"with an interval of its own": {func(j *job) { j.target.Interval = time.Minute }, false},
		"that has ended":              {func(j *job) { j.active = false }, false},
		"whose outcome is stored":     {func(j *job) { j.target.Completed = true }, false},
		"of another type":             {func(j *job) { j.target.Type = dli.JobTypeSpark }, false},
	} {
		t.Run("a job "+name, func(t *testing.T) {
			j := &job{failures: noFailures, state: dli.StateRunning, active: true, sentAt: noon.Add(-time.Second)}
			test.change(j)
			if got := round.showsJob(j, noon); got != test.want || got != !j.shownAt.IsZero() {
				t.Errorf("shown: %v", got)
			}
		})
	}
}

// Lists that are wrong about more than a few jobs are not used for a while.
func TestDistrust(t *testing.T) {
	running := &job{failures: noFailures, state: dli.StateRunning}
	for name, test := range map[string]struct {
		wrong func(l *lists, r *listRound)
		most  int
		note  string
	}{
		"rows in other states": {func(l *lists, r *listRound) {
			l.addRow(r, &dli.JobRow{State: dli.StateLaunching}, noon, noon)
		}, minMismatches, "a status other than the requested one"},
		"active jobs that they lack": {func(l *lists, _ *listRound) {
			running.shownAt = noon
			if !l.compareStatus(running, dli.StateRunning, noon) {
				t.Error("the difference is not counted")
			}
		}, 200 / mismatchShare, "active jobs are missing"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newListRound(listed{state: dli.StateRunning}, noon)
			l := &lists{rounds: []*listRound{r}, covered: 200}
			for range test.most {
				test.wrong(l, r)
			}
			if l.note != "" {
				t.Errorf("after %d: %s", test.most, l.note)
			}
			if test.wrong(l, r); !strings.Contains(l.note, test.note) || !l.pausedUntil.Equal(noon.Add(longPause)) || l.rounds != nil {
				t.Errorf("after one more: %q, paused until %v", l.note, l.pausedUntil)
			}
		})
	}
}

// A job that a list lacks although it is active counts once, and not if no list has ever shown
// it; one that a list shows for too long after its end counts at once.
func TestMismatches(t *testing.T) {
	l, missing := &lists{}, &job{failures: noFailures, state: dli.StateRunning, shownAt: noon}
	if !l.compareStatus(missing, dli.StateRunning, noon) || l.compareStatus(missing, dli.StateRunning, noon) {
		t.Error("a missing job does not count once")
	}
	if l.compareStatus(&job{failures: noFailures, state: dli.StateRunning}, dli.StateRunning, noon) {
		t.Error("a job that no list shows counts")
	}
	for name, test := range map[string]struct {
		state      dli.State
		after      time.Duration
		distrusted bool
	}{
		"an ended job": {dli.StateFinished, maxLag + 1, true},
		"an ended job that a list may still show":   {dli.StateFinished, maxLag, false},
		"a job of which DLI said it runs after all": {dli.StateRunning, maxLag + 1, false},
	} {
		r := newListRound(listed{state: dli.StateRunning}, noon)
		l := &lists{rounds: []*listRound{r}, ended: []*job{{target: Target{JobID: "A"}, state: test.state, sentAt: noon}}}
		if !l.addRow(r, &dli.JobRow{JobID: "a", State: dli.StateRunning}, noon.Add(test.after), noon) != test.distrusted {
			t.Errorf("%s: %q", name, l.note)
		}
	}
	for i := range 100 { // of many ends some are old enough to tell
		j := &job{failures: noFailures, sentAt: noon.Add(time.Duration(i) * time.Second)}
		l.compareStatus(j, dli.StateFinished, j.sentAt)
	}
	if n, age := len(l.ended), noon.Add(99*time.Second).Sub(l.ended[0].sentAt); n > maxEnded || age <= maxLag {
		t.Errorf("%d ends are remembered, the first for %v", n, age)
	}
}

// The first page says how many there are, and their rows whether the list is whole.
func TestPages(t *testing.T) {
	for name, test := range map[string]struct {
		total, rows, pages int
		isWhole            bool
	}{
		"one page":                     {30, 30, 1, true},
		"none":                         {0, 0, 0, true},
		"three pages":                  {250, 100, 3, false},
		"pages smaller than requested": {250, 50, 5, false},
		"a few rows fewer":             {30, 25, 2, true},
		"more than a few fewer":        {30, 24, 2, false},
		"a tenth fewer":                {100, 90, 2, true},
		"more than a tenth fewer":      {100, 89, 2, false},
	} {
		r := newListRound(listed{}, noon)
		r.addPage(r.takePage(), dli.MaxPageSize, &dli.JobList{Total: test.total, Jobs: make([]dli.JobRow, test.rows)})
		if r.pages != test.pages || r.isWhole() != test.isWhole {
			t.Errorf("%s: %d pages, whole: %v", name, r.pages, r.isWhole())
		}
	}
}

// How long lists pause after a failure, and whether the connection says so.
func TestListPauses(t *testing.T) {
	s := DefaultSchedule()
	for name, test := range map[string]struct {
		failure connection.Failure
		pause   time.Duration
		isNoted bool
	}{
		"forbidden":            {connection.Failure{Kind: dli.KindPermission}, longPause, true},
		"rejected credentials": {connection.Failure{Kind: dli.KindAuth, Reason: v1alpha1.ReasonCredentialsRejected}, shortPause, true},
		"no such API":          {connection.Failure{Kind: dli.KindNotFound}, longPause, true},
		"a server error":       {connection.Failure{Kind: dli.KindRetry}, s.ListInterval, false},
		"throttled":            {connection.Failure{Kind: dli.KindThrottle, RetryAfter: 10 * time.Minute}, 10 * time.Minute, false},
	} {
		l := &lists{}
		l.handleFailure(&test.failure, s, noon)
		if got := l.pausedUntil.Sub(noon); got != test.pause || (l.note != "") != test.isNoted {
			t.Errorf("%s: a pause of %v, note %q", name, got, l.note)
		}
	}
	l := &lists{}
	for _, want := range []time.Duration{0, longPause} {
		l.handleFailure(&connection.Failure{Kind: dli.KindRejected, Reason: v1alpha1.ReasonRequestRejected}, s, noon)
		if got := max(l.pausedUntil.Sub(noon), 0); got != want || l.pageSize != dli.MaxPageSize/2 {
			t.Errorf("rejected: pages of %d, a pause of %v, want %v", l.pageSize, got, want)
		}
	}
}

// A job that a list lacks although it was expected is polled once because of that, and expected
// again when its state changes.
func TestMissingFromAList(t *testing.T) {
	j := &job{failures: noFailures, state: dli.StateRunning, active: true, isExpected: true, sentAt: noon}
	missing := func() int {
		r := newListRound(listed{state: j.state}, noon.Add(time.Second))
		return len((&lists{}).finishRound(r, map[string][]*job{"job": {j}}, DefaultSchedule(), noon.Add(2*time.Second)))
	}
	if first, again := missing(), missing(); first != 1 || again != 0 {
		t.Errorf("missing %d times in one list, and %d in the next one", first, again)
	}
	j.recordStatus(&dli.JobStatus{Status: "RUNNING", State: dli.StateRunning}, noon, noon, time.Minute)
	j.isExpected = false
	j.recordStatus(&dli.JobStatus{Status: "SCALING", State: dli.StateScaling}, noon, noon, time.Minute)
	if n := missing(); n != 1 {
		t.Errorf("missing %d times in a list of its new state", n)
	}
	j.isExpected, j.isSpotCheck, j.shownAt = false, true, noon
	q := &queue{jobs: map[string][]*job{}}
	q.addJob(j)
	if q.removeJob(j); !j.isExpected || j.isSpotCheck || !j.shownAt.IsZero() {
		t.Errorf("through another connection, lists are expected to show %+v", j)
	}
}

// Spot checks are of the listed jobs that were polled longest ago, in a number that reaches each
// within ListTrust, and no row puts them off.
func TestSpotChecks(t *testing.T) {
	at := func(seconds int, change func(*job)) *job {
		j := &job{failures: noFailures, state: dli.StateRunning, active: true, isExpected: true, sentAt: noon.Add(time.Duration(seconds) * time.Second)}
		change(j)
		return j
	}
	nothing := func(*job) {}
	oldest, old := at(1, nothing), at(2, nothing)
	covered := []*job{at(3, nothing), old, at(0, func(j *job) { j.isExpected = false }), oldest, at(0, func(j *job) { j.inFlight = true })}
	if chosen := chooseSpotChecks(covered, 2); len(chosen) != 2 || chosen[0] != oldest || chosen[1] != old || !old.isSpotCheck {
		t.Errorf("chosen: %+v", chosen)
	}

	s, l := DefaultSchedule(), &lists{}
	for name, test := range map[string]struct {
		startedAt time.Time
		want      int
	}{
		"of the first lists":    {time.Time{}, 1 + 9000*5/900},
		"after an interval":     {noon.Add(-5 * time.Second), 1 + 9000*5/900},
		"after a minute":        {noon.Add(-time.Minute), 1 + 9000*60/900},
		"after a longer pause":  {noon.Add(-time.Hour), 1 + 9000*60/900},
		"after a shorter pause": {noon.Add(-time.Second), 1 + 9000*5/900},
	} {
		if l.startedAt = test.startedAt; l.spotChecks(9000, s, noon) != test.want {
			t.Errorf("%s: %d of 9000 jobs, want %d", name, l.spotChecks(9000, s, noon), test.want)
		}
	}
	if most := (&lists{polls: 1e9, budget: 1e9}); !most.costsLittle(dli.MaxPage) || most.costsLittle(dli.MaxPage+1) {
		t.Error("lists have at most MaxPage pages")
	}

	q := &queue{shared: &shared{config: Config{Schedule: s, Jitter: func() float64 { return 0 }}}}
	requested := at(3, func(j *job) { j.target.PollRequest = "now" })
	for _, j := range []*job{old, requested, at(3, nothing)} {
		q.pollAt(j, noon)
		q.handleRow(t.Context(), j, &dli.JobRow{}, noon, noon)
		if isPutOff, mayBe := j.dueAt.After(noon), !j.isSpotCheck && j != requested; isPutOff != mayBe {
			t.Errorf("put off: %v, want %v: %+v", isPutOff, mayBe, j)
		}
	}
}
