// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"net/url"
)

// Progress is how much of a job is done. It is informational: nothing is decided by it.
type Progress struct {
	// JobID is the ID in the response. It equals the requested one, except for case.
	JobID string
	// Status and State are as in JobStatus; Status is "" when absent.
	Status string
	State  State
	// Fraction is from 0 to 1, of the whole job or of its running part; nil if DLI reports
	// none, or anything else.
	Fraction *float64
}

// JobProgress requests the progress of a job. Its errors are those of JobStatus; DLI also
// has one, of KindRetry, for a queue that is busy or too old to report progress.
func (c *Client) JobProgress(ctx context.Context, creds Credentials, jobID string) (*Progress, error) {
	if err := checkJobID(jobID); err != nil {
		return nil, err
	}
	// Only this call has this version.
	q := question{path: c.jobsPath("v1") + "/" + url.PathEscape(jobID) + "/progress", limits: jobLimits}
	return ask(ctx, c, creds, q, progressOf(jobID))
}

// progressOf reads an answer about jobID.
func progressOf(jobID string) reader[Progress] {
	return func(a answer, hide *secrets) (*Progress, *Error) { return decodeProgress(a, jobID, hide) }
}

func decodeProgress(a answer, jobID string, hide *secrets) (*Progress, *Error) {
	var body progressBody
	if err := readAnswer(a, &body); err != nil {
		return nil, err
	}
	switch {
	case body.IsSuccess.known && !body.IsSuccess.set:
		return nil, refusal(a, body.Message, hide)
	case !sameJob(string(body.JobID), jobID):
		return nil, invalid(otherJob)
	}
	word, fault := statusWord(body.Status)
	if fault != "" {
		word = ""
	}
	word = hide.in(word)
	progress := &Progress{JobID: string(body.JobID), Status: word, State: stateOf(JobTypeSQL, word)}
	if fraction := body.Progress.value; fraction != nil && *fraction >= 0 && *fraction <= 1 {
		progress.Fraction = fraction
	}
	return progress, nil
}
