// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// at returns a time in the histories below.
func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// story is a hand-written history.
type story struct{ *History }

func newStory() *story {
	return &story{History: New(Budget{NotFoundAfter: 10 * time.Second, Refresh: 10 * time.Second, Versions: 6, PerFault: 2, ConnectionVersions: 3, ConnectionPerProcess: 5}, nil)}
}

// shows records a new version of the object.
func (s *story) shows(seconds float64, change func(*v1alpha1.DLIJobStatus)) *v1alpha1.DLIJob {
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Name: "job", UID: types.UID("uid"), ResourceVersion: at(seconds).Format(time.RFC3339Nano)},
		Spec:       v1alpha1.DLIJobSpec{JobID: "job"},
	}
	change(&job.Status)
	word := "InProgress"
	switch job.Status.Outcome {
	case v1alpha1.OutcomeSucceeded:
		word = "Current"
	case v1alpha1.OutcomeFailed, v1alpha1.OutcomeCancelled, v1alpha1.OutcomeNotFound:
		word = "Failed"
	}
	s.Saw(at(seconds), job, word)
	return job
}

func conditions(status *v1alpha1.DLIJobStatus, ready metav1.ConditionStatus) {
	status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ReadyCondition, Status: ready, Reason: "A"}, {Type: v1alpha1.SucceededCondition, Status: ready, Reason: "A"},
	}
}

func running(status *v1alpha1.DLIJobStatus) {
	status.JobStatus = "RUNNING"
	conditions(status, metav1.ConditionUnknown)
}

func finished(rows int64) func(*v1alpha1.DLIJobStatus) {
	return func(status *v1alpha1.DLIJobStatus) {
		status.JobStatus, status.Outcome, status.ResultCount = "FINISHED", v1alpha1.OutcomeSucceeded, &rows
		status.Phase = v1alpha1.PhaseSucceeded
		conditions(status, metav1.ConditionTrue)
	}
}

func ended(outcome v1alpha1.Outcome) func(*v1alpha1.DLIJobStatus) {
	return func(status *v1alpha1.DLIJobStatus) {
		status.Outcome, status.Phase = outcome, v1alpha1.Phase(outcome)
		conditions(status, metav1.ConditionFalse)
	}
}

func polledAt(seconds, duration float64) func(*v1alpha1.DLIJobStatus) {
	return func(status *v1alpha1.DLIJobStatus) {
		running(status)
		status.LastPollTime = &metav1.Time{Time: at(seconds)}
		status.DurationMilliseconds = new(int64(duration * 1000))
	}
}

func synced(status *v1alpha1.DLIJobStatus) {
	running(status)
	status.Conditions = append(status.Conditions, metav1.Condition{Type: v1alpha1.SyncedCondition, Status: metav1.ConditionTrue})
}

func notSynced(reason string) func(*v1alpha1.DLIJobStatus) {
	return func(status *v1alpha1.DLIJobStatus) {
		running(status)
		status.Conditions = append(status.Conditions, metav1.Condition{Type: v1alpha1.SyncedCondition, Status: metav1.ConditionFalse, Reason: reason})
	}
}

// step is a step of a story.
type step func(s *story)

// answered is a status that DLI reports.
func answered(seconds float64, status string) step {
	return func(s *story) { s.Answered(at(seconds), "job", Answer{Status: status}) }
}

// ran is that DLI reports a running job with a duration in seconds.
func ran(seconds, duration float64) step {
	return func(s *story) {
		s.Answered(at(seconds), "job", Answer{Status: "RUNNING", Duration: new(int64(duration * 1000))})
	}
}

// missing is that DLI has no such job at some times.
func missing(times ...float64) step {
	return func(s *story) {
		for _, seconds := range times {
			s.Answered(at(seconds), "job", Answer{NotFound: true})
		}
	}
}

// version is a new version of the object.
func version(seconds float64, change func(*v1alpha1.DLIJobStatus)) step {
	return func(s *story) { s.shows(seconds, change) }
}

// written is that a DLIConnection is written so often, at these intervals.
func written(times int, interval float64) step {
	return func(s *story) {
		for n := range times {
			s.SawConnection(at(float64(n)*interval), &v1alpha1.DLIConnection{})
		}
	}
}

func gone(s *story)       { s.Gone("uid") }
func shared(s *story)     { s.Shared(true) }
func badKey(s *story)     { s.Foreign("CredentialsRejected") }
func newProcess(s *story) { s.Requested(Request{At: at(0), Process: "a.2"}) }
func etcdBack(s *story)   { s.Restored(at(2.4), at(2.5)) }
func otherHand(s *story) {
	forged := v1alpha1.DLIJobStatus{}
	finished(1)(&forged)
	s.ByOtherHand("uid", forged)
}

// takesTurns is that two operators write that a job was read and was not, alternately.
func takesTurns(times int, interval float64) step {
	return func(s *story) {
		for n := range times {
			s.shows(float64(n)*interval, synced)
			s.shows((float64(n)+0.5)*interval, notSynced("EndpointUnreachable"))
		}
	}
}

// requested makes a status the result of a requested poll.
func requested(change func(*v1alpha1.DLIJobStatus)) func(*v1alpha1.DLIJobStatus) {
	return func(status *v1alpha1.DLIJobStatus) {
		change(status)
		status.LastHandledPollRequest = "again"
	}
}

func TestHistory(t *testing.T) {
	// with changes a status further.
	with := func(change, further func(*v1alpha1.DLIJobStatus)) func(*v1alpha1.DLIJobStatus) {
		return func(status *v1alpha1.DLIJobStatus) { change(status); further(status) }
	}
	word := func(word string) func(*v1alpha1.DLIJobStatus) {
		return func(status *v1alpha1.DLIJobStatus) { status.JobStatus = word }
	}
	failed, notFound := ended(v1alpha1.OutcomeFailed), ended(v1alpha1.OutcomeNotFound)
	for name, test := range map[string]struct {
		tell []step
		// want is the violated invariant; "" for none.
		want Invariant
	}{
		"an outcome that DLI reported":                 {[]step{answered(1, "RUNNING"), version(2, running), answered(3, "FINISHED"), version(4, finished(4))}, ""},
		"outcomes of batches":                          {[]step{answered(1, "dead"), version(2, failed), gone, answered(3, "success"), version(4, finished(0))}, ""},
		"an outcome of a batch that runs again":        {[]step{answered(1, "recovering"), version(2, failed)}, Given},
		"an outcome that DLI did not report":           {[]step{answered(1, "RUNNING"), version(2, finished(4))}, Given},
		"an outcome that DLI reported for another job": {[]step{func(s *story) { s.Answered(at(1), "other", Answer{Status: "FINISHED"}) }, version(2, finished(4))}, Given},
		"an outcome that DLI reported later":           {[]step{answered(3, "FINISHED"), version(2, finished(4))}, Given},
		"an outcome other than DLI reported":           {[]step{answered(1, "FINISHED"), version(2, failed)}, Given},
		"an outcome that only a list has":              {[]step{func(s *story) { s.Answered(at(1), "job", Answer{Status: "FINISHED", Row: true}) }, version(2, finished(4))}, Given},
		"not found, often and for long enough":         {[]step{missing(1, 6, 12), version(12.1, notFound)}, ""},
		"not found, once":                              {[]step{missing(1), version(12, notFound)}, Given},
		"not found, twice":                             {[]step{missing(1, 12), version(12.1, notFound)}, Given},
		"not found, often but for a short time":        {[]step{missing(1, 2, 3), version(4, notFound)}, Given},
		"not found, but found in between":              {[]step{missing(1, 6), answered(7, "RUNNING"), missing(13), version(14, notFound)}, Given},
		"not found, lifted by a requested poll": {
			[]step{missing(1, 6, 12), version(12.1, notFound), answered(20, "RUNNING"), version(21, requested(running))}, ""},
		"an outcome that changes to another one that DLI reported": {
			[]step{answered(1, "FINISHED"), answered(2, "FAILED"), version(3, finished(4)), version(4, failed)}, Kept},
		"an outcome that disappears": {[]step{answered(1, "FINISHED"), version(2, finished(4)), version(3, running)}, Kept},
		"an outcome that stays while jobStatus goes back": {
			[]step{answered(1, "FINISHED"), version(2, finished(4)), version(3, with(finished(4), word("RUNNING")))}, Kept},
		"a figure of a completed job that changes without a requested poll": {
			[]step{answered(1, "FINISHED"), version(2, finished(4)), version(3, finished(5))}, Figures},
		"a figure of a completed job that changes after a requested poll": {
			[]step{answered(1, "FINISHED"), version(2, finished(4)), version(3, requested(finished(5)))}, ""},
		"a true condition without an outcome": {
			[]step{version(1, func(status *v1alpha1.DLIJobStatus) { conditions(status, metav1.ConditionTrue) })}, Gate},
		"kstatus Current without an outcome": {[]step{func(s *story) { s.Saw(at(1), &v1alpha1.DLIJob{}, "Current") }}, Gate},
		"a phase that lags": {
			[]step{answered(1, "FAILED"), version(2, with(failed, func(status *v1alpha1.DLIJobStatus) { status.Phase = v1alpha1.PhaseRunning }))}, Gate},
		"figures that go back":                    {[]step{ran(1, 10), ran(11, 20), version(12, polledAt(11, 20)), version(30, polledAt(30, 10))}, Forward},
		"figures that are counted on":             {[]step{ran(1, 10), version(2, polledAt(1, 10)), version(20, polledAt(20, 28))}, ""},
		"figures that are counted on and go back": {[]step{ran(1, 30), version(2, polledAt(1, 30)), version(20, polledAt(20, 21))}, Forward},
		"figures that go back as DLI says":        {[]step{ran(1, 20), version(2, polledAt(1, 20)), ran(20, 10), version(21, polledAt(20, 10))}, ""},
		"figures that disappear": {
			[]step{ran(1, 10), version(2, polledAt(1, 10)), version(20, func(status *v1alpha1.DLIJobStatus) { conditions(status, metav1.ConditionUnknown) })}, Forward},
		"a status that goes back": {
			[]step{answered(1, "LAUNCHING"), ran(10, 5), version(11, polledAt(10, 5)), version(12, with(running, word("LAUNCHING")))}, Forward},
		"a cause that only lists have":                                     {[]step{badKey, version(1, notSynced("CredentialsRejected"))}, Cause},
		"another cause":                                                    {[]step{badKey, version(1, notSynced("ServerError"))}, ""},
		"two operators that take turns":                                    {[]step{shared, takesTurns(4, 10)}, Fights},
		"two operators that back off":                                      {[]step{shared, takesTurns(2, 60)}, ""},
		"a DLIConnection that is written often":                            {[]step{written(8, 1)}, Writes},
		"a DLIConnection that is written by a process that has just begun": {[]step{newProcess, written(8, 1)}, ""},
		"a DLIConnection that is written sometimes":                        {[]step{written(8, 30)}, ""},
		"a time of the last poll without news":                             {[]step{version(1, polledAt(1, 10)), version(20, polledAt(20, 10))}, Writes},
		"a write that changes nothing":                                     {[]step{version(1, running), version(2, running)}, Writes},
		"the same version, listed again":                                   {[]step{version(1, running), version(1, running)}, ""},
		"changed figures, written within the refresh interval":             {[]step{ran(1, 10), version(1, polledAt(1, 10)), ran(3, 20), version(3, polledAt(3, 20))}, Writes},
		"changed figures, written after the refresh interval":              {[]step{version(1, polledAt(1, 10)), version(11, polledAt(11, 20))}, ""},
		"changed figures, after a status that was replaced before it was stored": {
			[]step{ran(1, 10), version(1, polledAt(1, 10)), answered(2, "SCALING"), ran(3, 20), version(3, polledAt(3, 20))}, ""},
		"a status that keeps changing back and forth": {[]step{func(s *story) {
			for n := range 20 {
				s.shows(float64(n), with(running, func(status *v1alpha1.DLIJobStatus) { status.QueueName = strings.Repeat("q", n%2) }))
			}
		}}, Writes},
		"a forged status that the operator corrects": {[]step{version(1, running), otherHand, version(2, finished(1)), version(3, running)}, ""},
		"a forged status that the operator adopts":   {[]step{version(1, running), otherHand, version(2, finished(1)), version(3, finished(2))}, Given},
		"an outcome that a restore of etcd removes": {
			[]step{answered(1, "FINISHED"), version(2, finished(4)), etcdBack, version(0, running), version(3, finished(4))}, ""},
		"another object of the same name": {[]step{answered(1, "FINISHED"), version(2, finished(4)), gone, version(3, running)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory()
			for _, step := range test.tell {
				step(s)
			}
			expect(t, s.Violations(), test.want)
		})
	}
}

// expect checks that this invariant is violated, and no other.
func expect(t *testing.T, found []Violation, want Invariant) {
	t.Helper()
	if (len(found) > 0) != (want != "") {
		t.Errorf("got %v, want %q", found, want)
	}
	for _, v := range found {
		if v.Invariant != want {
			t.Errorf("got %v, want %q", v, want)
		}
	}
}

func TestHistoryCountsChecks(t *testing.T) {
	s := newStory()
	s.During("a fault", 1)
	s.shows(1, running)
	if got := s.Checked()["a fault"][Gate]; got != 4 {
		t.Errorf("got %d checks of gates during a fault, want 4", got)
	}
}
