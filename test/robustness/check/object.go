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
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// tolerance allows for times in whole seconds in the API.
const tolerance = 2 * time.Second

// Gone records that an object was deleted.
func (h *History) Gone(uid types.UID) { delete(h.objects, uid) }

// Saw checks a version of a DLIJob that was observed at a time, with its kstatus.
func (h *History) Saw(at time.Time, job *v1alpha1.DLIJob, kstatus string) {
	o := h.object(job.UID)
	if o.last != nil && o.last.ResourceVersion == job.ResourceVersion {
		return // listed again
	}
	if slices.ContainsFunc(o.forged, func(s v1alpha1.DLIJobStatus) bool { return equality.Semantic.DeepEqual(s, job.Status) }) {
		o.last = nil
		return // not restored yet
	}
	h.given(at, job)
	h.gate(at, job, kstatus)
	if o.last != nil {
		h.kept(at, o.last, job)
		h.written(at, o, job)
	}
	o.last = job
}

// given checks that DLI has reported the outcome of an object.
func (h *History) given(at time.Time, job *v1alpha1.DLIJob) {
	outcome := job.Status.Outcome
	if outcome == "" {
		return
	}
	if outcome == v1alpha1.OutcomeNotFound {
		n, over := h.longestAbsence(job.Spec.JobID, at)
		h.hold(n >= 3 && over >= h.budget.NotFoundAfter-tolerance, at, Given, job.Name,
			"shows NotFound after %d such responses in a row over %v", n, over.Round(time.Millisecond))
		return
	}
	for _, t := range h.told[job.Spec.JobID] {
		if t.outcome == outcome && !t.at.After(at) {
			h.hold(true, at, Given, job.Name, "")
			return
		}
	}
	h.hold(false, at, Given, job.Name, "shows %s, which DLI did not report", outcome)
}

// longestAbsence returns the longest run of consecutive responses, up to a time, that
// there is no such job.
func (h *History) longestAbsence(job string, at time.Time) (longest int, over time.Duration) {
	n, since := 0, time.Time{}
	for _, t := range h.told[job] {
		switch {
		case t.at.After(at):
			return longest, over
		case !t.notFound:
			n = 0
			continue
		case n == 0:
			since = t.at
		}
		n++
		longest, over = max(longest, n), max(over, t.at.Sub(since))
	}
	return longest, over
}

// shown returns what readers see of a completed job.
func shown(job *v1alpha1.DLIJob) string {
	words := []string{string(job.Status.Outcome), job.Status.JobStatus}
	for _, name := range []string{v1alpha1.ReadyCondition, v1alpha1.SucceededCondition, v1alpha1.CompletedCondition} {
		if c := meta.FindStatusCondition(job.Status.Conditions, name); c != nil {
			words = append(words, fmt.Sprintf("%s=%s/%s", name, c.Status, c.Reason))
		}
	}
	return strings.Join(words, " ")
}

// kept checks that a completed job does not change.
func (h *History) kept(at time.Time, was, is *v1alpha1.DLIJob) {
	if was.Status.Outcome == "" {
		return
	}
	requested := was.Status.LastHandledPollRequest != is.Status.LastHandledPollRequest
	if was.Status.Outcome == v1alpha1.OutcomeNotFound && requested {
		return // lifted by a requested poll
	}
	h.hold(shown(was) == shown(is), at, Kept, is.Name, "showed %s, and now %s", shown(was), shown(is))
	if was.Status.Outcome != is.Status.Outcome {
		return
	}
	h.hold(requested || equality.Semantic.DeepEqual(figures(was), figures(is)), at, Figures, is.Name,
		"%v became %v without a requested poll", figures(was), figures(is))
}

// figures returns the figures of a completed job, and the related texts.
func figures(job *v1alpha1.DLIJob) map[string]string {
	s := &job.Status
	all := map[string]string{"duration": s.Duration, "message": s.Message, "statement": s.Statement, "resultPath": s.ResultPath}
	for name, t := range map[string]*metav1.Time{"startTime": s.StartTime, "completionTime": s.CompletionTime} {
		if t != nil {
			all[name] = t.UTC().Format(time.RFC3339)
		}
	}
	for name, n := range map[string]*int64{
		"durationMilliseconds": s.DurationMilliseconds, "inputRowCount": s.InputRowCount, "badRowCount": s.BadRowCount,
		"resultCount": s.ResultCount, "inputBytes": s.InputBytes,
	} {
		if n != nil {
			all[name] = fmt.Sprint(*n)
		}
	}
	if s.Error != nil {
		all["error"] = s.Error.Code + " " + s.Error.Message
	}
	return all
}

// gate checks the conditions that pipelines wait for.
func (h *History) gate(at time.Time, job *v1alpha1.DLIJob, kstatus string) {
	succeeded := job.Status.Outcome == v1alpha1.OutcomeSucceeded
	h.hold((kstatus == "Current") == succeeded, at, Gate, job.Name, "kstatus is %s, the outcome %q", kstatus, job.Status.Outcome)
	h.hold((job.Status.Phase == v1alpha1.PhaseSucceeded) == succeeded, at, Gate, job.Name, "the phase is %s, the outcome %q", job.Status.Phase, job.Status.Outcome)
	for _, name := range []string{v1alpha1.ReadyCondition, v1alpha1.SucceededCondition} {
		open := meta.IsStatusConditionTrue(job.Status.Conditions, name)
		h.hold(open == succeeded, at, Gate, job.Name, "%s=%v, the outcome %q", name, open, job.Status.Outcome)
	}
}

// written checks that a write was necessary.
func (h *History) written(at time.Time, o *object, job *v1alpha1.DLIJob) {
	was := o.last
	if !sameBesideStatus(was, job) {
		return // not the operator's write
	}
	o.versions++
	allowed := h.budget.Versions + h.budget.PerFault*(1+h.faults-o.faultsAtAge)
	h.hold(o.versions <= allowed || o.over, at, Writes, job.Name, "was written %d times, the budget is %d", o.versions, allowed)
	o.over = o.over || o.versions > allowed
	h.hold(!equality.Semantic.DeepEqual(was.Status, job.Status), at, Writes, job.Name, "was written without a change")
	if job.Status.Outcome != "" || !onlyMoved(&was.Status, &job.Status) || was.Status.LastPollTime == nil || job.Status.LastPollTime == nil {
		return
	}
	apart := job.Status.LastPollTime.Sub(was.Status.LastPollTime.Time)
	h.hold(apart >= h.budget.Refresh-tolerance, at, Writes, job.Name, "figures were refreshed %v after the last time", apart)
}

func sameBesideStatus(a, b *v1alpha1.DLIJob) bool {
	return equality.Semantic.DeepEqual(a.Spec, b.Spec) && equality.Semantic.DeepEqual(a.Annotations, b.Annotations) &&
		equality.Semantic.DeepEqual(a.Labels, b.Labels) && a.DeletionTimestamp.Equal(b.DeletionTimestamp)
}

// onlyMoved reports whether only figures that change while a job runs differ.
func onlyMoved(a, b *v1alpha1.DLIJobStatus) bool {
	still := func(s *v1alpha1.DLIJobStatus) *v1alpha1.DLIJobStatus {
		s = s.DeepCopy()
		s.LastPollTime, s.DurationMilliseconds, s.Duration = nil, nil, ""
		s.InputRowCount, s.BadRowCount, s.ResultCount, s.InputBytes, s.Message = nil, nil, nil, nil, ""
		return s
	}
	return equality.Semantic.DeepEqual(still(a), still(b))
}
