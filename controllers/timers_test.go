// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"math"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/poller"
)

func TestDeadline(t *testing.T) {
	within := func(seconds int64) *v1alpha1.DLIJob {
		return newJob(func(job *v1alpha1.DLIJob) { job.Spec.ActiveDeadlineSeconds = &seconds })
	}
	began, seen := noon.Add(-time.Minute), noon.Add(-time.Hour)
	for name, test := range map[string]struct {
		job    *v1alpha1.DLIJob
		latest poller.Snapshot
		want   time.Time
	}{
		"none":                      {newJob(), poller.Snapshot{Started: began, FirstSeen: seen}, farFuture},
		"from the start of the job": {within(90), poller.Snapshot{Started: began, FirstSeen: seen}, noon.Add(30 * time.Second)},
		"from the creation of the DLIJob otherwise": {within(90), poller.Snapshot{FirstSeen: seen}, seen.Add(90 * time.Second)},
		"beyond the range of time":                  {within(math.MaxInt64), poller.Snapshot{Started: began}, farFuture},
		"of a job that is not watched":              {within(1), poller.Snapshot{}, farFuture},
	} {
		t.Run(name, func(t *testing.T) {
			if got := deadlineOf(test.job, test.latest); !got.Equal(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestNextCheck(t *testing.T) {
	ttl := func(job *v1alpha1.DLIJob) { job.Spec.TTLSecondsAfterFinished = ptr.To[int32](60) }
	recorded := func(job *v1alpha1.DLIJob) {
		deriveConditions(job, poller.Snapshot{}, noon.Add(-10*time.Second), stallAfter)
	}
	for name, test := range map[string]struct {
		job    *v1alpha1.DLIJob
		latest poller.Snapshot
		want   time.Duration
	}{
		"nothing is due":              {newJob(), poller.Snapshot{FirstSeen: noon}, 0},
		"a deadline":                  {newJob(func(job *v1alpha1.DLIJob) { job.Spec.ActiveDeadlineSeconds = ptr.To[int64](10) }), poller.Snapshot{FirstSeen: noon}, 10 * time.Second},
		"the end of a grace period":   {newJob(), poller.Snapshot{Failures: blocked(time.Minute)}, stallAfter - time.Minute},
		"a grace period that is over": {newJob(), poller.Snapshot{Failures: blocked(time.Hour)}, 0},
		"a TTL":                       {newJob(read(answering("FINISHED")), ttl, recorded), poller.Snapshot{}, 50 * time.Second},
		"a TTL of a running job":      {newJob(read(answering("RUNNING")), ttl), poller.Snapshot{FirstSeen: noon}, 0},
		"nothing for a suspended job": {newJob(func(job *v1alpha1.DLIJob) { job.Spec.Suspend, job.Spec.ActiveDeadlineSeconds = true, ptr.To[int64](10) }), poller.Snapshot{FirstSeen: noon}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := nextCheck(test.job, test.latest, noon, stallAfter); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// The grace period of an unreadable job begins when this operator may say that it is.
func TestGraceFrom(t *testing.T) {
	later := noon.Add(time.Minute)
	for _, test := range []struct{ since, from, want time.Time }{
		{time.Time{}, later, time.Time{}}, {noon, time.Time{}, noon}, {noon, later, later}, {later, noon, later},
	} {
		if got := graceFrom(test.since, test.from); !got.Equal(test.want) {
			t.Errorf("unreadable since %v, failures from %v: %v", test.since, test.from, got)
		}
	}
}
