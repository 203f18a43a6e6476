// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// batchLogLines is how many lines of a log the details of a batch have.
const batchLogLines = 10

// batchWords are the states of batches for the status words of a Job. Others, such as
// RECOVERING, are the same in lower case.
var batchWords = map[string]string{
	launching: "starting",
	finished:  "success",
	failed:    "dead",
	cancelled: "dead",
}

// Batch is a Spark job without a timeline yet. Its phases are those of a SQL job, told in
// the words of batches: Launching is starting, Finishes is success, and Fails and Cancelled
// are dead, with the message as the log. Being("RECOVERING", d) is recovering.
func Batch(id string) Job {
	return Job{
		ID: id, Batch: true, Name: "nightly", Queue: "spark1", Owner: "test",
		Statement: `{"file":"obs://bucket/app.jar","className":"org.example.Main","conf":{"spark.hadoop.password":"SECRETCONF"}}`,
	}
}

func batchWord(p Phase) string { return cmp.Or(batchWords[p.Status], strings.ToLower(p.Status)) }

// batchRow is a batch in a list.
type batchRow struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	AppID    string `json:"appId"`
	Name     string `json:"name,omitempty"`
	Owner    string `json:"owner,omitempty"`
	Queue    string `json:"queue,omitempty"`
	Created  int64  `json:"create_time"`
	Updated  int64  `json:"update_time"`
	Duration int64  `json:"duration"`
}

func (j *Job) batchRow(p Phase, now time.Time) batchRow {
	created, ran := j.Start.UnixMilli(), j.duration(p, now).Milliseconds()
	row := batchRow{
		ID: j.ID, State: batchWord(p), Name: j.Name, Owner: j.Owner, Queue: j.Queue,
		Created: created, Updated: created + ran, Duration: ran,
	}
	if p.Status != launching {
		row.AppID = "batch-session-" + j.ID + ":30663"
	}
	return row
}

// batchDetails is what the calls about a single batch answer.
type batchDetails struct {
	batchRow
	ProxyUser    string   `json:"proxyUser"`
	Kind         string   `json:"kind"`
	ClusterType  string   `json:"sc_type"`
	Feature      string   `json:"feature"`
	SparkVersion string   `json:"spark_version"`
	Image        string   `json:"image,omitempty"`
	Request      string   `json:"req_body,omitempty"`
	Log          []string `json:"log"`
}

func (j *Job) batchDetails(p Phase, now time.Time) batchDetails {
	details := batchDetails{
		batchRow: j.batchRow(p, now), Kind: "spark", ClusterType: "A", Feature: "basic", SparkVersion: "3.3.1",
		Image: j.Image, Request: j.Statement, Log: []string{},
	}
	if p.Message != "" {
		lines := strings.Split(p.Message, "\n")
		details.Log = lines[max(0, len(lines)-batchLogLines):]
	}
	return details
}

// parseBatchQuery is parseListQuery for a list of batches.
func parseBatchQuery(values url.Values) (q listQuery, why string) {
	order := cmp.Or(values.Get("order"), "CREATE_TIME_DESC")
	q = listQuery{
		status:      values.Get("state"),
		id:          values.Get("job-id"),
		newestFirst: order == "CREATE_TIME_DESC",
	}
	var errFrom, errSize error
	q.from, errFrom = strconv.Atoi(cmp.Or(values.Get("from"), "0"))
	q.size, errSize = strconv.Atoi(cmp.Or(values.Get("size"), strconv.Itoa(maxPageSize)))
	switch {
	case errFrom != nil || q.from < 0:
		return q, "from must be 0 or more."
	case errSize != nil || q.size < 1 || q.size > maxPageSize:
		return q, "size must be from 1 to 100."
	case len(values["state"]) > 1 || strings.Contains(q.status, ","):
		return q, "state takes one value."
	case !slices.Contains([]string{"CREATE_TIME_DESC", "CREATE_TIME_ASC"}, order):
		return q, "order is neither CREATE_TIME_DESC nor CREATE_TIME_ASC."
	}
	return q, ""
}

// batchSubmission is the body of a submission. Only the file is required.
type batchSubmission struct {
	File  string `json:"file"`
	Queue string `json:"queue"`
	Name  string `json:"name"`
	Image string `json:"image"`
}

// answerBatchSubmit starts a batch, with the timeline of the template.
func (s *Server) answerBatchSubmit(q question) (any, *Response) {
	var asked batchSubmission
	if err := json.Unmarshal(q.body, &asked); err != nil {
		return nil, parameterError("The body is not JSON of a batch.")
	}
	if strings.TrimSpace(asked.File) == "" {
		return nil, parameterError("file is empty.")
	}
	job := Batch(newID())
	job.ProjectID, job.Start, job.Timeline = q.project, q.now, s.template.Timeline
	job.Statement, job.Name, job.Image, job.Queue = string(q.body), asked.Name, asked.Image, cmp.Or(asked.Queue, job.Queue)
	s.setJob(job)
	return job.batchDetails(job.phaseAt(q.now), q.now), nil
}
