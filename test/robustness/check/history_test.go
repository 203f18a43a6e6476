/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

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
type story struct {
	*History

	versions int
}

func newStory() *story {
	return &story{History: New(Budget{NotFoundAfter: 10 * time.Second, Refresh: 10 * time.Second, Versions: 6, PerFault: 2})}
}

// shows records a new version of the object.
func (s *story) shows(seconds float64, change func(*v1alpha1.DLIJobStatus)) *v1alpha1.DLIJob {
	s.versions++
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
		status.Outcome = outcome
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
			s.Answered(at(1), "job", "RUNNING", false)
			s.shows(2, running)
			s.Answered(at(3), "job", "FINISHED", false)
			s.shows(4, finished(4))
		}, ""},
		"an outcome that DLI did not report": {func(s *story) {
			s.Answered(at(1), "job", "RUNNING", false)
			s.shows(2, finished(4))
		}, Given},
		"an outcome that DLI reported for another job": {func(s *story) {
			s.Answered(at(1), "other", "FINISHED", false)
			s.shows(2, finished(4))
		}, Given},
		"an outcome that DLI reported later": {func(s *story) {
			s.Answered(at(3), "job", "FINISHED", false)
			s.shows(2, finished(4))
		}, Given},
		"an outcome other than DLI reported": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, ended(v1alpha1.OutcomeFailed))
		}, Given},
		"not found, often and for long enough": {func(s *story) {
			for _, seconds := range []float64{1, 6, 12} {
				s.Answered(at(seconds), "job", "", true)
			}
			s.shows(12.1, ended(v1alpha1.OutcomeNotFound))
		}, ""},
		"not found, once": {func(s *story) {
			s.Answered(at(1), "job", "", true)
			s.shows(12, ended(v1alpha1.OutcomeNotFound))
		}, Given},
		"not found, often but for a short time": {func(s *story) {
			for _, seconds := range []float64{1, 2, 3} {
				s.Answered(at(seconds), "job", "", true)
			}
			s.shows(4, ended(v1alpha1.OutcomeNotFound))
		}, Given},
		"not found, but found in between": {func(s *story) {
			for _, seconds := range []float64{1, 6} {
				s.Answered(at(seconds), "job", "", true)
			}
			s.Answered(at(7), "job", "RUNNING", false)
			s.Answered(at(13), "job", "", true)
			s.shows(14, ended(v1alpha1.OutcomeNotFound))
		}, Given},
		"an outcome that changes to another one that DLI reported": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.Answered(at(2), "job", "FAILED", false)
			s.shows(3, finished(4))
			s.shows(4, ended(v1alpha1.OutcomeFailed))
		}, Kept},
		"an outcome that disappears": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, finished(4))
			s.shows(3, running)
		}, Kept},
		"an outcome that stays while jobStatus goes back": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, finished(4))
			s.shows(3, func(status *v1alpha1.DLIJobStatus) { finished(4)(status); status.JobStatus = "RUNNING" })
		}, Kept},
		"not found, lifted by a requested poll": {func(s *story) {
			for _, seconds := range []float64{1, 6, 12} {
				s.Answered(at(seconds), "job", "", true)
			}
			s.shows(12.1, ended(v1alpha1.OutcomeNotFound))
			s.Answered(at(20), "job", "RUNNING", false)
			s.shows(21, requested(running))
		}, ""},
		"a figure of a completed job that changes without a requested poll": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, finished(4))
			s.shows(3, finished(5))
		}, Figures},
		"a figure of a completed job that changes after a requested poll": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, finished(4))
			s.shows(3, requested(finished(5)))
		}, ""},
		"a true condition without an outcome": {func(s *story) {
			s.shows(1, func(status *v1alpha1.DLIJobStatus) { conditions(status, metav1.ConditionTrue) })
		}, Gate},
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
			s.shows(1, polledAt(1, 10))
			s.shows(3, polledAt(3, 20))
		}, Writes},
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
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, finished(4))
			s.Restored()
			s.shows(0, running)
			s.shows(3, finished(4))
		}, ""},
		"another object of the same name": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
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
	if got := s.Checked("a fault")[Gate]; got != 4 {
		t.Errorf("got %d checks of gates during a fault, want 4", got)
	}
	if got := s.Total()[Gate]; got != 4 {
		t.Errorf("got %d checks of gates in total, want 4", got)
	}
}
