// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/internal/text"
)

const (
	// batchType is the JobType of every batch: DLI has none for them.
	batchType = "SPARK"
	// maxLogLines is how many lines of a batch's log are read. DLI sends as many.
	maxLogLines = 10
)

// batchLimits apply to an answer about one batch. Each line of its log may have the error
// code.
var batchLimits = limits{stream: 64 << 20, text: 128 << 10, named: map[string]int{"req_body": 0}}

// BatchStatus returns the status of a Spark job, which DLI calls a batch. It has its
// applicationID, name and image, and in Message, if the batch is dead, the last lines of
// its log. It has no rows, columns or statement. The error is as that of JobStatus.
func (c *Client) BatchStatus(ctx context.Context, creds Credentials, batchID string) (*JobStatus, error) {
	if err := checkJobID(batchID); err != nil {
		return nil, err
	}
	q := question{path: c.batchesPath() + "/" + url.PathEscape(batchID), limits: batchLimits}
	return ask(ctx, c, creds, q, batchOf(batchID))
}

// batchesPath is the path of the project's batches.
func (c *Client) batchesPath() string {
	return "/v2.0/" + url.PathEscape(c.projectID) + "/batches"
}

// batchOf returns a reader for answers about batchID.
func batchOf(batchID string) reader[JobStatus] {
	return func(a answer, hide *secrets) (*JobStatus, *Error) { return decodeBatch(a, batchID, hide) }
}

func decodeBatch(a answer, batchID string, hide *secrets) (*JobStatus, *Error) {
	var body batchBody
	if err := readAnswer(a, &body); err != nil {
		return nil, err
	}
	word, fault := statusWord(body.State)
	switch {
	case body.IsSuccess.known && !body.IsSuccess.set:
		return nil, refusal(a, body.Message, hide)
	case !sameJob(string(body.ID), batchID):
		return nil, invalid(otherJob)
	case fault != "":
		return nil, invalid(fault)
	}
	word = hide.in(word)
	state, start := stateOf(JobTypeSpark, word), timeOf(body.CreateTime)
	status := &JobStatus{
		JobID:         string(body.ID),
		Status:        word,
		State:         state,
		JobType:       batchType,
		ApplicationID: applicationID(body.AppID, hide),
		Name:          nameOf(body.Name, hide),
		Image:         pathOf(body.Image, hide),
		QueueName:     firstOf(nameOf(body.Queue, hide), nameOf(body.ClusterName, hide)),
		Owner:         nameOf(body.Owner, hide),
		Date:          a.date(),
		StartTime:     start,
		Figures:       Figures{Duration: batchDuration(body.Duration, state, start, timeOf(body.UpdateTime))},
	}
	if state == StateFailed {
		status.Message = logText(body.Log, hide)
	}
	return status, nil
}

// batchDuration is how long a batch has run. Older editions do not say so; once it has
// ended, the time of its last change is that of its end, or close to it.
func batchDuration(milliseconds lenientInteger, state State, start, updated time.Time) *time.Duration {
	if duration := durationOf(milliseconds, start); duration != nil {
		return duration
	}
	if !state.HasEnded() || start.IsZero() || updated.Before(start) {
		return nil
	}
	duration := updated.Sub(start)
	return &duration
}

// applicationID is a string, or the last one of an array: a batch that is started again
// has a new one.
func applicationID(id rawJSON, hide *secrets) string {
	last := id.value
	for element := range id.elements() {
		last = element
	}
	if len(last) > maxScalarBytes {
		return ""
	}
	return nameOf(lenientText(last.text()), hide)
}

// logText returns the last lines of a log as one message. If they are too long, each is
// truncated to an equal share; the first error code in them is kept.
func logText(log rawJSON, hide *secrets) string {
	var quoted []value
	for line := range log.elements() {
		if line.isString() {
			quoted = append(quoted, line)
		}
	}
	quoted = quoted[max(0, len(quoted)-maxLogLines):]
	lines, code := make([]string, 0, len(quoted)), ""
	for _, line := range quoted {
		shown := strings.TrimRight(prose{line}.read(maxProseBytes, text.Printable, hide), "\n")
		lines = append(lines, shown)
		// What is not decoded counts, too.
		code = firstOf(code, ErrorCode(shown), string(jobErrorCode.Find(line)))
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" })
	if message := strings.Join(lines, "\n"); len(message) <= maxProseBytes {
		return withCode(message, code)
	}
	share := maxProseBytes/len(lines) - len("\n")
	for i, line := range lines {
		lines[i] = text.Ellipsize(line, share)
	}
	return withCode(strings.Join(lines, "\n"), code)
}
