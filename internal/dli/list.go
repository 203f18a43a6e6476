// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"cmp"
	"context"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// MaxPageSize is the maximum number of jobs on a page, and MaxPage the last page that can
// be requested.
const (
	MaxPageSize = 100
	MaxPage     = 100
)

// ListOptions select the jobs and the page.
type ListOptions struct {
	// Status selects the jobs that have it; "" selects all. DLI may ignore this filter,
	// so check the status of each row.
	Status string
	// JobID selects one job; "" selects all. DLI may ignore this filter, too.
	JobID string
	// Page is from 1 to MaxPage; 0 means 1.
	Page int
	// PageSize is from 1 to MaxPageSize; 0 means MaxPageSize.
	PageSize int
}

// JobList is one page of a project's jobs, in the order in which they started. Jobs start
// and end between the requests for two pages, so a job can be on none of them or on two:
// that a list lacks a job is a hint, never a fact.
type JobList struct {
	// Total is the number of jobs on all pages: job_count.
	Total int
	// Jobs are the rows that have an ID and a status, at most PageSize.
	Jobs []JobRow
	// Date is the time of the response by DLI's clock, as in JobStatus.
	Date time.Time
}

// JobRow is a job as a list describes it. Its fields are those of JobStatus, with the same
// bounds.
type JobRow struct {
	JobID  string
	Status string
	State  State

	StartTime time.Time
	Figures
	Cost

	JobType, QueueName, Owner, DatabaseName, TableName string
}

// Cost is what only a list reports of a job that has ended.
type Cost struct {
	// EndTime is end_time, in UTC, and zero if unknown.
	EndTime time.Time
	// CPUCost is cpu_cost, the CPU that the job has used in total, in a unit that the API's
	// documentation does not name, and OutputBytes output_byte; nil if unknown.
	CPUCost, OutputBytes *int64
}

// statusForm is the form of the statuses that can be selected.
var statusForm = regexp.MustCompile(`^[A-Za-z_]{0,64}$`)

// ListJobs requests a page of the project's jobs. Its errors are those of JobStatus;
// invalid options are an error without a request.
func (c *Client) ListJobs(ctx context.Context, creds Credentials, options ListOptions) (*JobList, error) {
	options, err := options.checked()
	if err != nil {
		return nil, err
	}
	return ask(ctx, c, creds, c.listQuestion(options), listOf(options.PageSize))
}

// checked returns the options with their defaults; an error if they are invalid.
func (options ListOptions) checked() (ListOptions, error) {
	options.Page = cmp.Or(options.Page, 1)
	options.PageSize = cmp.Or(options.PageSize, MaxPageSize)
	why := ""
	switch {
	case options.Page < 1 || options.Page > MaxPage:
		why = "there are pages 1 to 100 of a list of jobs"
	case options.PageSize < 1 || options.PageSize > MaxPageSize:
		why = "a page has 1 to 100 jobs"
	case !statusForm.MatchString(options.Status):
		why = "the status of the jobs to list must be a word of at most 64 letters"
	case options.JobID != "" && !jobIDForm.MatchString(options.JobID):
		why = "the ID of the job to list is not one of a job"
	}
	if why != "" {
		return options, &Error{Kind: KindRejected, Message: why}
	}
	return options, nil
}

func (c *Client) listQuestion(options ListOptions) question {
	query := url.Values{
		"current-page": {strconv.Itoa(options.Page)},
		"page-size":    {strconv.Itoa(options.PageSize)},
		// The API's documentation does not say whether no type means every type.
		"job-type": {"ALL"},
		// A job that starts meanwhile comes last, and shifts no page.
		"order": {"start_time_asc"},
	}
	if options.Status != "" {
		query.Set("job-status", options.Status)
	}
	if options.JobID != "" {
		query.Set("job-id", options.JobID)
	}
	return question{path: c.jobsPath("v1.0"), query: query, limits: pageLimits}
}

// listOf reads an answer of at most that many rows.
func listOf(rows int) reader[JobList] {
	return func(a answer, hide *secrets) (*JobList, *Error) { return decodeList(a, rows, hide) }
}

// decodeList reads an HTTP 200 answer to a question for a list. A row that cannot be read
// is left out without affecting the others; so are more rows than were requested.
func decodeList(a answer, rows int, hide *secrets) (*JobList, *Error) {
	var body listBody
	if err := readAnswer(a, &body); err != nil {
		return nil, err
	}
	total := countOf(body.JobCount)
	switch {
	case body.IsSuccess.known && !body.IsSuccess.set:
		return nil, refusal(a, body.Message, hide)
	case total == nil || *total > math.MaxInt32:
		return nil, invalid("the answer does not say how many jobs there are")
	case *total > 0 && !body.Jobs.isArray() && !body.Jobs.isNull():
		// A page after the last one may have null instead of an empty list.
		return nil, invalid("the answer has no list of jobs")
	}
	return listRows(a, int(*total), rows, body.Jobs, func(element value) (JobRow, bool) { return readRow(element, hide) }), nil
}

// listRows returns a list of the rows that can be read, at most that many.
func listRows(a answer, total, rows int, jobs rawJSON, read func(value) (JobRow, bool)) *JobList {
	list := &JobList{
		Total: total,
		Jobs:  make([]JobRow, 0, min(rows, total)),
		Date:  a.date(),
	}
	for element := range jobs.elements() {
		if len(list.Jobs) == rows {
			break
		}
		if row, ok := read(element); ok {
			list.Jobs = append(list.Jobs, row)
		}
	}
	return list
}

func readRow(element value, hide *secrets) (JobRow, bool) {
	var body rowBody
	readObject(element, &body)
	id := string(body.JobID)
	word, fault := statusWord(body.Status)
	if fault != "" || !jobIDForm.MatchString(id) || hide.in(id) != id {
		return JobRow{}, false
	}
	word = hide.in(word)
	start := timeOf(body.StartTime)
	return JobRow{
		JobID:     id,
		Status:    word,
		State:     stateOf(JobTypeSQL, word),
		StartTime: start,
		Figures: Figures{
			Duration:      durationOf(body.Duration, start),
			InputRowCount: countOf(body.InputRowCount),
			BadRowCount:   countOf(body.BadRowCount),
			ResultCount:   countOf(body.ResultCount),
			InputBytes:    countOf(body.InputSize),
		},
		Cost: Cost{
			EndTime:     timeOf(body.EndTime),
			CPUCost:     countOf(body.CPUCost),
			OutputBytes: countOf(body.OutputByte),
		},
		JobType:      wordOf(body.JobType, hide),
		QueueName:    nameOf(body.QueueName, hide),
		Owner:        nameOf(body.Owner, hide),
		DatabaseName: nameOf(body.DatabaseName, hide),
		TableName:    nameOf(body.TableName, hide),
	}, true
}
