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

// answers records that DLI reports a running job.
func (s *story) answers(seconds, duration float64) {
	s.Answered(at(seconds), "job", Answer{Status: "RUNNING", Duration: new(int64(duration * 1000))})
}

// requested makes a status the result of a requested poll.
func requested(change func(*v1alpha1.DLIJobStatus)) func(*v1alpha1.DLIJobStatus) {
	return func(status *v1alpha1.DLIJobStatus) {
		change(status)
		status.LastHandledPollRequest = "again"
	}
}

func TestHistory(t *testing.T) {
	tests := map[string]struct {
		tell func(s *story)
		// want is the violated invariant; "" for none.
		want Invariant
	}{
		"an outcome that DLI reported": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "RUNNING"})
			s.shows(2, running)
			s.Answered(at(3), "job", Answer{Status: "FINISHED"})
			s.shows(4, finished(4))
		}, ""},
		"outcomes of batches": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "dead"})
			s.shows(2, ended(v1alpha1.OutcomeFailed))
			s.Gone("uid")
			s.Answered(at(3), "job", Answer{Status: "success"})
			s.shows(4, finished(0))
		}, ""},
		"an outcome of a batch that runs again": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "recovering"})
			s.shows(2, ended(v1alpha1.OutcomeFailed))
		}, Given},
		"an outcome that DLI did not report": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "RUNNING"})
			s.shows(2, finished(4))
		}, Given},
		"an outcome that DLI reported for another job": {func(s *story) {
			s.Answered(at(1), "other", Answer{Status: "FINISHED"})
			s.shows(2, finished(4))
		}, Given},
		"an outcome that DLI reported later": {func(s *story) {
			s.Answered(at(3), "job", Answer{Status: "FINISHED"})
			s.shows(2, finished(4))
		}, Given},
		"an outcome other than DLI reported": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "FINISHED"})
			s.shows(2, ended(v1alpha1.OutcomeFailed))
		}, Given},
		"not found, often and for long enough": {func(s *story) {
			for _, seconds := range []float64{1, 6, 12} {
				s.Answered(at(seconds), "job", Answer{NotFound: true})
			}
			s.shows(12.1, ended(v1alpha1.OutcomeNotFound))
		}, ""},
		"not found, once": {func(s *story) {
			s.Answered(at(1), "job", Answer{NotFound: true})
			s.shows(12, ended(v1alpha1.OutcomeNotFound))
		}, Given},
		"not found, often but for a short time": {func(s *story) {
			for _, seconds := range []float64{1, 2, 3} {
				s.Answered(at(seconds), "job", Answer{NotFound: true})
			}
			s.shows(4, ended(v1alpha1.OutcomeNotFound))
		}, Given},
		"not found, but found in between": {func(s *story) {
			for _, seconds := range []float64{1, 6} {
				s.Answered(at(seconds), "job", Answer{NotFound: true})
			}
			s.Answered(at(7), "job", Answer{Status: "RUNNING"})
			s.Answered(at(13), "job", Answer{NotFound: true})
			s.shows(14, ended(v1alpha1.OutcomeNotFound))
		}, Given},
		"an outcome that changes to another one that DLI reported": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "FINISHED"})
			s.Answered(at(2), "job", Answer{Status: "FAILED"})
			s.shows(3, finished(4))
			s.shows(4, ended(v1alpha1.OutcomeFailed))
		}, Kept},
		"an outcome that disappears": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "FINISHED"})
			s.shows(2, finished(4))
			s.shows(3, running)
		}, Kept},
		"an outcome that stays while jobStatus goes back": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "FINISHED"})
			s.shows(2, finished(4))
			s.shows(3, func(status *v1alpha1.DLIJobStatus) { finished(4)(status); status.JobStatus = "RUNNING" })
		}, Kept},
		"not found, lifted by a requested poll": {func(s *story) {
			for _, seconds := range []float64{1, 6, 12} {
				s.Answered(at(seconds), "job", Answer{NotFound: true})
			}
			s.shows(12.1, ended(v1alpha1.OutcomeNotFound))
			s.Answered(at(20), "job", Answer{Status: "RUNNING"})
			s.shows(21, requested(running))
		}, ""},
		"a figure of a completed job that changes without a requested poll": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "FINISHED"})
			s.shows(2, finished(4))
			s.shows(3, finished(5))
		}, Figures},
		"a figure of a completed job that changes after a requested poll": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "FINISHED"})
			s.shows(2, finished(4))
			s.shows(3, requested(finished(5)))
		}, ""},
		"a true condition without an outcome": {func(s *story) {
			s.shows(1, func(status *v1alpha1.DLIJobStatus) { conditions(status, metav1.ConditionTrue) })
		}, Gate},
		"a phase that lags": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "FAILED"})
			s.shows(2, func(status *v1alpha1.DLIJobStatus) {
				ended(v1alpha1.OutcomeFailed)(status)
				status.Phase = v1alpha1.PhaseRunning
			})
		}, Gate},
		"an outcome that only a list has": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "FINISHED", Row: true})
			s.shows(2, finished(4))
		}, Given},
		"figures that go back": {func(s *story) {
			s.answers(1, 10)
			s.answers(11, 20)
			s.shows(12, polledAt(11, 20))
			s.shows(30, polledAt(30, 10))
		}, Forward},
		"figures that are counted on": {func(s *story) {
			s.answers(1, 10)
			s.shows(2, polledAt(1, 10))
			s.shows(20, polledAt(20, 28))
		}, ""},
		"figures that are counted on and go back": {func(s *story) {
			s.answers(1, 30)
			s.shows(2, polledAt(1, 30))
			s.shows(20, polledAt(20, 21))
		}, Forward},
		"figures that disappear": {func(s *story) {
			s.answers(1, 10)
			s.shows(2, polledAt(1, 10))
			s.shows(20, func(status *v1alpha1.DLIJobStatus) { conditions(status, metav1.ConditionUnknown) })
		}, Forward},
		"figures that go back as DLI says": {func(s *story) {
			s.answers(1, 20)
			s.shows(2, polledAt(1, 20))
			s.answers(20, 10)
			s.shows(21, polledAt(20, 10))
		}, ""},
		"a status that goes back": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "LAUNCHING"})
			s.answers(10, 5)
			s.shows(11, polledAt(10, 5))
			s.shows(12, func(status *v1alpha1.DLIJobStatus) { running(status); status.JobStatus = "LAUNCHING" })
		}, Forward},
		"a cause that only lists have": {func(s *story) {
			s.Foreign("CredentialsRejected")
			s.shows(1, notSynced("CredentialsRejected"))
		}, Cause},
		"another cause": {func(s *story) {
			s.Foreign("CredentialsRejected")
			s.shows(1, notSynced("ServerError"))
		}, ""},
		"two operators that take turns": {func(s *story) {
			s.Shared(true)
			for n := range 4 {
				s.shows(float64(10*n), synced)
				s.shows(float64(10*n+5), notSynced("EndpointUnreachable"))
			}
		}, Fights},
		"two operators that back off": {func(s *story) {
			s.Shared(true)
			for n := range 2 {
				s.shows(float64(60*n), synced)
				s.shows(float64(60*n+30), notSynced("EndpointUnreachable"))
			}
		}, ""},
		"a DLIConnection that is written often": {func(s *story) {
			for n := range 8 {
				s.SawConnection(at(float64(n)), &v1alpha1.DLIConnection{})
			}
		}, Writes},
		"a DLIConnection that is written by a process that has just begun": {func(s *story) {
			s.Requested(Request{At: at(0), Process: "a.2"})
			for n := range 8 {
				s.SawConnection(at(float64(n)), &v1alpha1.DLIConnection{})
			}
		}, ""},
		"a DLIConnection that is written sometimes": {func(s *story) {
			for n := range 8 {
				s.SawConnection(at(float64(30*n)), &v1alpha1.DLIConnection{})
			}
		}, ""},
		"a time of the last poll without news": {func(s *story) {
			s.shows(1, polledAt(1, 10))
			s.shows(20, polledAt(20, 10))
		}, Writes},
		"kstatus Current without an outcome": {func(s *story) {
			s.Saw(at(1), &v1alpha1.DLIJob{}, "Current")
		}, Gate},
		"a write that changes nothing": {func(s *story) {
			s.shows(1, running)
			s.shows(2, running)
		}, Writes},
		"the same version, listed again": {func(s *story) {
			s.shows(1, running)
			s.shows(1, running)
		}, ""},
		"changed figures, written within the refresh interval": {func(s *story) {
			s.answers(1, 10)
			s.shows(1, polledAt(1, 10))
			s.answers(3, 20)
			s.shows(3, polledAt(3, 20))
		}, Writes},
		"changed figures, after a status that was replaced before it was stored": {func(s *story) {
			s.answers(1, 10)
			s.shows(1, polledAt(1, 10))
			s.Answered(at(2), "job", Answer{Status: "SCALING"})
			s.answers(3, 20)
			s.shows(3, polledAt(3, 20))
		}, ""},
		"changed figures, written after the refresh interval": {func(s *story) {
			s.shows(1, polledAt(1, 10))
			s.shows(11, polledAt(11, 20))
		}, ""},
		"a status that keeps changing back and forth": {func(s *story) {
			for n := range 20 {
				s.shows(float64(n), func(status *v1alpha1.DLIJobStatus) {
					running(status)
					status.QueueName = strings.Repeat("q", n%2)
				})
			}
		}, Writes},
		"a forged status that the operator corrects": {func(s *story) {
			s.shows(1, running)
			forged := v1alpha1.DLIJobStatus{}
			finished(1)(&forged)
			s.ByOtherHand("uid", forged)
			s.shows(2, finished(1))
			s.shows(3, running)
		}, ""},
		"a forged status that the operator adopts": {func(s *story) {
			s.shows(1, running)
			forged := v1alpha1.DLIJobStatus{}
			finished(1)(&forged)
			s.ByOtherHand("uid", forged)
			s.shows(2, finished(1))
			s.shows(3, finished(2))
		}, Given},
		"an outcome that a restore of etcd removes": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "FINISHED"})
			s.shows(2, finished(4))
			s.Restored(at(2.4), at(2.5))
			s.shows(0, running)
			s.shows(3, finished(4))
		}, ""},
		"another object of the same name": {func(s *story) {
			s.Answered(at(1), "job", Answer{Status: "FINISHED"})
			s.shows(2, finished(4))
			s.Gone("uid")
			s.shows(3, running)
		}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStory()
			test.tell(s)
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
