// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"math"
	"net/url"
	"strconv"
)

// ListBatches asks DLI for a page of the project's Spark jobs. The error is as that of
// ListJobs.
func (c *Client) ListBatches(ctx context.Context, creds Credentials, options ListOptions) (*JobList, error) {
	options, err := options.checked()
	if err != nil {
		return nil, err
	}
	query := url.Values{
		"from": {strconv.Itoa((options.Page - 1) * options.PageSize)},
		"size": {strconv.Itoa(options.PageSize)},
		// A batch that starts now is appended, and shifts no page.
		"order": {"CREATE_TIME_ASC"},
	}
	if options.Status != "" {
		query.Set("state", options.Status)
	}
	if options.JobID != "" {
		query.Set("job-id", options.JobID)
	}
	q := question{path: c.batchesPath(), query: query, limits: pageLimits}
	return ask(ctx, c, creds, q, batchListOf(options.PageSize))
}

// batchListOf reads an answer of at most that many rows.
func batchListOf(rows int) reader[JobList] {
	return func(a answer, hide *secrets) (*JobList, *Error) { return decodeBatchList(a, rows, hide) }
}

func decodeBatchList(a answer, rows int, hide *secrets) (*JobList, *Error) {
	var body batchListBody
	if err := readAnswer(a, &body); err != nil {
		return nil, err
	}
	total := countOf(body.Total)
	switch {
	case body.IsSuccess.known && !body.IsSuccess.set:
		return nil, refusal(a, body.Message, hide)
	case total == nil || *total > math.MaxInt32:
		return nil, invalid("the answer does not say how many jobs there are")
	case *total > 0 && !body.Sessions.isArray() && !body.Sessions.isNull():
		return nil, invalid("the answer has no list of jobs")
	}
	return listRows(a, int(*total), rows, body.Sessions, func(element value) (JobRow, bool) { return readBatchRow(element, hide) }), nil
}

func readBatchRow(element value, hide *secrets) (JobRow, bool) {
	var body batchRowBody
	readObject(element, &body)
	id := string(body.ID)
	word, fault := statusWord(body.State)
	if fault != "" || !jobIDForm.MatchString(id) || hide.in(id) != id {
		return JobRow{}, false
	}
	word = hide.in(word)
	state, start := stateOf(JobTypeSpark, word), timeOf(body.CreateTime)
	row := JobRow{
		JobID:     id,
		Status:    word,
		State:     state,
		StartTime: start,
		Figures:   Figures{Duration: batchDuration(body.Duration, state, start, timeOf(body.UpdateTime))},
		JobType:   batchType,
		QueueName: firstOf(nameOf(body.Queue, hide), nameOf(body.ClusterName, hide)),
		Owner:     nameOf(body.Owner, hide),
	}
	if row.Duration != nil && state.HasEnded() {
		row.EndTime = start.Add(*row.Duration)
	}
	return row, true
}
