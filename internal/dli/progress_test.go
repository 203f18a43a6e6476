// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"strings"
	"testing"
)

// progress returns a response with the progress of a job.
func progress(members string) string {
	return `{"is_success":true,"message":"","job_id":"` + jobID + `","status":"RUNNING"` + members + `}`
}

func TestProgress(t *testing.T) {
	far := func(fraction float64) *Progress {
		return &Progress{JobID: jobID, Status: "RUNNING", State: StateRunning, Fraction: &fraction}
	}
	unknown := &Progress{JobID: jobID, Status: "RUNNING", State: StateRunning}
	wrong := func(message string) *Error {
		return &Error{Kind: KindInvalid, HTTPStatus: 200, Message: message}
	}
	for _, tc := range []struct {
		name, body string
		want       any
	}{
		{"a third, with all documented members", progress(`,"sub_job_id":0,"progress":0.33,"sub_jobs":[{"id":0,"name":"x"}]`), far(0.33)},
		{"nothing yet", progress(`,"progress":0`), far(0)},
		{"all", progress(`,"progress":1`), far(1)},
		{"a number in quotes", progress(`,"progress":"0.5"`), far(0.5)},
		{"a number with an exponent", progress(`,"progress":5e-1`), far(0.5)},
		{"absent", progress(``), unknown},
		{"null", progress(`,"progress":null`), unknown},
		{"per cent", progress(`,"progress":33`), unknown},
		{"a negative number", progress(`,"progress":-0.1`), unknown},
		{"NaN", progress(`,"progress":"NaN"`), unknown},
		{"infinity", progress(`,"progress":"Infinity"`), unknown},
		{"more than a float64", progress(`,"progress":1e999`), unknown},
		{"another type", progress(`,"progress":[0.5]`), unknown},
		{"no status", progress(`,"status":null`), &Progress{JobID: jobID}},
		{"an invalid status", progress(`,"status":"` + strings.Repeat("A", 65) + `"`), &Progress{JobID: jobID}},
		{"another job", progress(`,"job_id":"other"`), wrong(otherJob)},
		{"no job", `{"progress":1}`, wrong(otherJob)},
		{"not an object", `[]`, wrong("the response is not a JSON object")},
		{"not JSON", `<html>`, wrong("HTTP 200 with a body of unknown type instead of one JSON value")},
		{"an unsuccessful request", `{"is_success":false,"message":"DLI.0999: the queue is busy"}`,
			&Error{Kind: KindRetry, HTTPStatus: 200, Code: "DLI.0999", Message: "DLI.0999: the queue is busy"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := judge(tc.body, progressOf(jobID))
			check(t, got, err, tc.want)
		})
	}
	t.Run("a queue without progress is a temporary error", func(t *testing.T) {
		client, _ := serve(t, reply(400, `{"error_code":"DLI.0999","error_msg":"queue backend version too old"}`))
		got, err := client.JobProgress(background, accessKey, jobID)
		check(t, got, err, &Error{Kind: KindRetry, HTTPStatus: 400, Code: "DLI.0999", Message: "queue backend version too old"})
	})
	t.Run("an ID that is invalid in a path is not sent", func(t *testing.T) {
		var seen recorder
		client, _ := serve(t, &seen)
		if _, err := client.JobProgress(background, accessKey, "a/b"); err == nil || seen.last.Load() != nil {
			t.Errorf("got %v", err)
		}
	})
}
