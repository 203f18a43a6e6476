// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
)

func TestTransitions(t *testing.T) {
	derived := func(job *v1alpha1.DLIJob) *v1alpha1.DLIJob {
		deriveConditions(job, poller.Snapshot{}, noon, stallAfter)
		return job
	}
	running := derived(newJob(read(answering("RUNNING"))))
	unreadable := derived(atVersion(running, "", failing("ServerError")))
	finished := derived(newJob(read(answering("FINISHED"))))
	for name, test := range map[string]struct {
		stored, current *v1alpha1.DLIJob
		want            []string
		logged          string
	}{
		"a job starts running":         {derived(newJob(read(answering("LAUNCHING")))), running, []string{"JobRunning"}, "Ready JobRunning"},
		"a job is first seen running":  {newJob(), running, []string{"JobRunning"}, "Ready JobRunning"},
		"its figures change":           {running, derived(atVersion(running, "", read(answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = new(int64(1)) })))), nil, ""},
		"it cannot be read":            {running, unreadable, []string{"ServerError"}, "Ready ServerError"},
		"it can be read again":         {unreadable, derived(atVersion(unreadable, "", read(answering("RUNNING")))), []string{"PollSucceeded"}, "Ready JobRunning"},
		"it has ended in the meantime": {unreadable, derived(atVersion(unreadable, "", read(answering("FINISHED")))), []string{"JobFinished"}, "Ready JobFinished"},
		"its outcome is contradicted":  {finished, derived(atVersion(finished, "", read(answering("RUNNING")))), []string{"OutcomeContradicted"}, "Synced OutcomeContradicted"},
		"DLI has a new job after all":  {derived(newJob(failing("JobNotFound"))), derived(newJob(read(answering("LAUNCHING")))), []string{"JobLaunching"}, "Ready JobLaunching"},
		"DLI may not have the job":     {newJob(), derived(newJob(failing("JobNotFound"))), nil, "Ready JobNotFound"},
		"a requested poll failed":      {finished, derived(atVersion(finished, "", failing("ServerError"))), []string{"ServerError"}, "Synced ServerError"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, cause := range eventsOf(&test.stored.Status, test.current) {
				got = append(got, cause.Reason)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			line := ""
			if changed := conditionToLog(&test.stored.Status, test.current); changed != nil {
				line = changed.Type + " " + changed.Reason
			}
			if line != test.logged {
				t.Errorf("logged %q, want %q", line, test.logged)
			}
		})
	}
}
