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

// at is a time of the histories below.
func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// story is a hand-written history.
type story struct {
	*History

	versions int
}

func newStory() *story {
	return &story{History: New(Budget{NotFoundAfter: 10 * time.Second, Refresh: 10 * time.Second, Versions: 6, PerFault: 2})}
}

// shows has the object be seen in a new version.
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

// requested has a status be that of after a requested poll.
func requested(change func(*v1alpha1.DLIJobStatus)) func(*v1alpha1.DLIJobStatus) {
	return func(status *v1alpha1.DLIJobStatus) {
		change(status)
		status.LastHandledPollRequest = "once more"
	}
}

func TestHistory(t *testing.T) {
	tests := map[string]struct {
		tell func(s *story)
		// want is the invariant that is violated, "" for none.
		want Invariant
	}{
		"an outcome that DLI gave is fine": {func(s *story) {
			s.Answered(at(1), "job", "RUNNING", false)
			s.shows(2, running)
			s.Answered(at(3), "job", "FINISHED", false)
			s.shows(4, finished(4))
		}, ""},
		"an outcome that DLI never gave": {func(s *story) {
			s.Answered(at(1), "job", "RUNNING", false)
			s.shows(2, finished(4))
		}, Given},
		"an outcome that DLI gave of another job": {func(s *story) {
			s.Answered(at(1), "other", "FINISHED", false)
			s.shows(2, finished(4))
		}, Given},
		"an outcome that DLI gave later": {func(s *story) {
			s.Answered(at(3), "job", "FINISHED", false)
			s.shows(2, finished(4))
		}, Given},
		"another outcome than the one that DLI gave": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, ended(v1alpha1.OutcomeFailed))
		}, Given},
		"not found, said often and for long enough": {func(s *story) {
			for _, seconds := range []float64{1, 6, 12} {
				s.Answered(at(seconds), "job", "", true)
			}
			s.shows(12.1, ended(v1alpha1.OutcomeNotFound))
		}, ""},
		"not found, said once": {func(s *story) {
			s.Answered(at(1), "job", "", true)
			s.shows(12, ended(v1alpha1.OutcomeNotFound))
		}, Given},
		"not found, said often within a moment": {func(s *story) {
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
		"an outcome that changes to one that DLI gave, too": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.Answered(at(2), "job", "FAILED", false)
			s.shows(3, finished(4))
			s.shows(4, ended(v1alpha1.OutcomeFailed))
		}, Kept},
		"an outcome that goes away": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, finished(4))
			s.shows(3, running)
		}, Kept},
		"an outcome that stays while the job's word goes back": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, finished(4))
			s.shows(3, func(status *v1alpha1.DLIJobStatus) { finished(4)(status); status.JobStatus = "RUNNING" })
		}, Kept},
		"not found is lifted by a poll that was requested": {func(s *story) {
			for _, seconds := range []float64{1, 6, 12} {
				s.Answered(at(seconds), "job", "", true)
			}
			s.shows(12.1, ended(v1alpha1.OutcomeNotFound))
			s.Answered(at(20), "job", "RUNNING", false)
			s.shows(21, requested(running))
		}, ""},
		"a figure of a completed job that changes by itself": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, finished(4))
			s.shows(3, finished(5))
		}, Figures},
		"a figure that changes with a poll that was requested": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, finished(4))
			s.shows(3, requested(finished(5)))
		}, ""},
		"a condition that is true without an outcome": {func(s *story) {
			s.shows(1, func(status *v1alpha1.DLIJobStatus) { conditions(status, metav1.ConditionTrue) })
		}, Gate},
		"what kstatus takes for done": {func(s *story) {
			s.Saw(at(1), &v1alpha1.DLIJob{}, "Current")
		}, Gate},
		"a write of what was there": {func(s *story) {
			s.shows(1, running)
			s.shows(2, running)
		}, Writes},
		"the same version, listed again": {func(s *story) {
			s.shows(1, running)
			s.shows(1, running)
		}, ""},
		"figures that move, written within the refresh": {func(s *story) {
			s.shows(1, polledAt(1, 10))
			s.shows(3, polledAt(3, 20))
		}, Writes},
		"figures that move, written after the refresh": {func(s *story) {
			s.shows(1, polledAt(1, 10))
			s.shows(11, polledAt(11, 20))
		}, ""},
		"a status that goes to and fro": {func(s *story) {
			for n := range 20 {
				s.shows(float64(n), func(status *v1alpha1.DLIJobStatus) {
					running(status)
					status.QueueName = strings.Repeat("q", n%2)
				})
			}
		}, Writes},
		"what another hand wrote is not the operator's": {func(s *story) {
			s.shows(1, running)
			forged := v1alpha1.DLIJobStatus{}
			finished(1)(&forged)
			s.ByOtherHand("uid", forged)
			s.shows(2, finished(1))
			s.shows(3, running)
		}, ""},
		"what the operator makes of it is": {func(s *story) {
			s.shows(1, running)
			forged := v1alpha1.DLIJobStatus{}
			finished(1)(&forged)
			s.ByOtherHand("uid", forged)
			s.shows(2, finished(1))
			s.shows(3, finished(2))
		}, Given},
		"a restore may take an outcome back": {func(s *story) {
			s.Answered(at(1), "job", "FINISHED", false)
			s.shows(2, finished(4))
			s.Restored()
			s.shows(0, running)
			s.shows(3, finished(4))
		}, ""},
		"an object of the same name is another one": {func(s *story) {
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

// expect checks that there are violations of that invariant and no other.
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

func TestHistoryCountsWhatItChecks(t *testing.T) {
	s := newStory()
	s.During("a fault", 1)
	s.shows(1, running)
	if got := s.Checked("a fault")[Gate]; got != 4 {
		t.Errorf("got %d checks of gates during a fault, want 4", got)
	}
	if got := s.Total()[Gate]; got != 4 {
		t.Errorf("got %d checks of gates in all, want 4", got)
	}
}
