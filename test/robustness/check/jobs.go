// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

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

// tolerance allows for times in whole seconds in the API, and for responses that arrive
// at almost the same time.
const tolerance = 2 * time.Second

// Answer is a complete response from DLI about a job.
type Answer struct {
	// Status and Duration are DLI's, without an error.
	Status   string
	Duration *int64
	// NotFound is set if there is no such job.
	NotFound bool
	// Row is set for a row of a list, which gives no outcome.
	Row bool
}

// response is an answer and when it was sent.
type response struct {
	Answer

	at time.Time
}

func (r response) outcome() v1alpha1.Outcome {
	if r.Row {
		return ""
	}
	return map[string]v1alpha1.Outcome{
		"FINISHED": v1alpha1.OutcomeSucceeded, "FAILED": v1alpha1.OutcomeFailed, "CANCELLED": v1alpha1.OutcomeCancelled,
		"success": v1alpha1.OutcomeSucceeded, "dead": v1alpha1.OutcomeFailed,
	}[r.Status]
}

// Answered records an answer. It must be called before the operator can have it.
func (h *History) Answered(at time.Time, job string, answer Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.responses[job] = append(h.responses[job], response{answer, at})
}

// object is what was observed of one DLIJob.
type object struct {
	// last is the latest version written by the operator; nil if there is none that a new
	// version must be consistent with.
	last *v1alpha1.DLIJob
	// answered is when DLI sent what last shows.
	answered time.Time
	// forged are the statuses that something else wrote.
	forged      []v1alpha1.DLIJobStatus
	versions    int
	faultsAtAge int
	over        bool
	// lost is when Synced became False while two operators saw it, in the last minute.
	lost []time.Time
}

// ByOtherHand records that something else is about to write a status: versions of the
// object with it are not the operator's, and later ones need not be consistent with
// earlier ones.
func (h *History) ByOtherHand(uid types.UID, status v1alpha1.DLIJobStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.object(uid)
	o.forged = append(o.forged, *status.DeepCopy())
}

func (h *History) object(uid types.UID) *object {
	o := h.objects[uid]
	if o == nil {
		o = &object{faultsAtAge: h.faults}
		h.objects[uid] = o
	}
	return o
}

// Gone records that an object was deleted.
func (h *History) Gone(uid types.UID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.objects, uid)
}

// Saw checks a version of a DLIJob that was observed at a time, with its kstatus.
func (h *History) Saw(at time.Time, job *v1alpha1.DLIJob, kstatus string) {
	h.mu.Lock()
	defer h.mu.Unlock()
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
	h.cause(at, job)
	if o.last != nil {
		h.kept(at, o.last, job)
		h.forward(at, o, job)
		h.written(at, o, job)
		h.fights(at, o, job)
	}
	if sent := h.answered(at, job); !sent.IsZero() || o.last == nil {
		o.answered = sent
	}
	o.last = job
}

// answered returns when DLI sent what an object shows of a running job, for the last time
// before at; zero if it did not.
func (h *History) answered(at time.Time, job *v1alpha1.DLIJob) time.Time {
	for _, r := range slices.Backward(h.responses[job.Spec.JobID]) {
		if !r.at.After(at) && r.Status == job.Status.JobStatus && equality.Semantic.DeepEqual(r.Duration, job.Status.DurationMilliseconds) {
			return r.at
		}
	}
	return time.Time{}
}

// forward checks that a running job shows nothing older than before.
func (h *History) forward(at time.Time, o *object, job *v1alpha1.DLIJob) {
	if o.answered.IsZero() || job.Status.Outcome != "" || o.last.Status.Outcome != "" {
		return
	}
	sent := h.answered(at, job)
	if sent.IsZero() && job.Status.JobStatus != "" {
		// The duration was counted on from an earlier one, as for a job in a list.
		before, after := durationOf(o.last), durationOf(job)
		h.hold(after >= before-tolerance, at, Forward, job.Name, "shows %s after %s", runningFigures(job), runningFigures(o.last))
		return
	}
	h.hold(!sent.Before(o.answered.Add(-tolerance)), at, Forward, job.Name, "shows %s after %s, from %s before",
		runningFigures(job), runningFigures(o.last), o.answered.Sub(sent).Round(time.Millisecond))
}

func durationOf(job *v1alpha1.DLIJob) time.Duration {
	if job.Status.DurationMilliseconds == nil {
		return 0
	}
	return time.Duration(*job.Status.DurationMilliseconds) * time.Millisecond
}

// runningFigures returns what readers see of a running job.
func runningFigures(job *v1alpha1.DLIJob) string {
	return fmt.Sprintf("%q, %q", job.Status.JobStatus, job.Status.Duration)
}

// cause checks that a job does not give a reason that is not its own.
func (h *History) cause(at time.Time, job *v1alpha1.DLIJob) {
	if h.foreign == "" {
		return
	}
	c := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.SyncedCondition)
	h.hold(c == nil || c.Reason != h.foreign, at, Cause, job.Name, "shows %s, but only lists fail so", h.foreign)
}

// fights checks that Synced does not keep changing while two operators see a job.
func (h *History) fights(at time.Time, o *object, job *v1alpha1.DLIJob) {
	if !h.shared || isSynced(job) || !isSynced(o.last) {
		return
	}
	o.lost = append(slices.DeleteFunc(o.lost, func(t time.Time) bool { return at.Sub(t) > time.Minute }), at)
	h.hold(len(o.lost) <= 2, at, Fights, job.Name, "Synced became False %d times in a minute", len(o.lost))
}

func isSynced(job *v1alpha1.DLIJob) bool {
	return meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.SyncedCondition)
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
	reported := slices.ContainsFunc(h.responses[job.Spec.JobID], func(r response) bool { return r.outcome() == outcome && !r.at.After(at) })
	h.hold(reported, at, Given, job.Name, "shows %s, which DLI did not report", outcome)
}

// longestAbsence returns the longest run of consecutive responses, up to a time, that
// there is no such job.
func (h *History) longestAbsence(job string, at time.Time) (longest int, over time.Duration) {
	n, since := 0, time.Time{}
	for _, r := range h.responses[job] {
		switch {
		case r.at.After(at):
			return longest, over
		case !r.NotFound:
			n = 0
			continue
		case n == 0:
			since = r.at
		}
		n++
		longest, over = max(longest, n), max(over, r.at.Sub(since))
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
	h.hold(phaseAgrees(job), at, Gate, job.Name, "the phase is %s, the outcome %q", job.Status.Phase, job.Status.Outcome)
	for _, name := range []string{v1alpha1.ReadyCondition, v1alpha1.SucceededCondition} {
		open := meta.IsStatusConditionTrue(job.Status.Conditions, name)
		h.hold(open == succeeded, at, Gate, job.Name, "%s=%v, the outcome %q", name, open, job.Status.Outcome)
	}
}

// phaseAgrees reports whether the phase is the outcome, and none without one.
func phaseAgrees(job *v1alpha1.DLIJob) bool {
	switch v1alpha1.Outcome(job.Status.Phase) {
	case v1alpha1.OutcomeSucceeded, v1alpha1.OutcomeFailed, v1alpha1.OutcomeCancelled, v1alpha1.OutcomeNotFound:
		return string(job.Status.Phase) == string(job.Status.Outcome)
	default:
		return job.Status.Outcome == ""
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
	h.hold(!sameBesidePollTime(was, job), at, Writes, job.Name, "was written without news")
	if job.Status.Outcome != "" || !onlyMoved(&was.Status, &job.Status) || was.Status.LastPollTime == nil || job.Status.LastPollTime == nil {
		return
	}
	if h.callers.newest.After(was.Status.LastPollTime.Time) {
		return // a new process does not know when the former one wrote
	}
	if h.changedBetween(job, was.Status.LastPollTime.Time, job.Status.LastPollTime.Time) {
		return
	}
	apart := job.Status.LastPollTime.Sub(was.Status.LastPollTime.Time)
	h.hold(apart >= h.budget.Refresh-tolerance, at, Writes, job.Name, "figures were refreshed %v after the last time: %s after %s",
		apart, runningFigures(job), runningFigures(was))
}

// changedBetween reports whether DLI answered another status than a job shows, between two
// polls: that was news, even if a later response replaced it before it was stored.
func (h *History) changedBetween(job *v1alpha1.DLIJob, from, to time.Time) bool {
	return slices.ContainsFunc(h.responses[job.Spec.JobID], func(r response) bool {
		return r.Status != "" && r.Status != job.Status.JobStatus && r.at.After(from) && r.at.Before(to)
	})
}

func sameBesideStatus(a, b *v1alpha1.DLIJob) bool {
	return equality.Semantic.DeepEqual(a.Spec, b.Spec) && equality.Semantic.DeepEqual(a.Annotations, b.Annotations) &&
		equality.Semantic.DeepEqual(a.Labels, b.Labels) && a.DeletionTimestamp.Equal(b.DeletionTimestamp)
}

func sameBesidePollTime(a, b *v1alpha1.DLIJob) bool {
	before := a.Status.DeepCopy()
	before.LastPollTime = b.Status.LastPollTime
	return equality.Semantic.DeepEqual(*before, b.Status)
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
