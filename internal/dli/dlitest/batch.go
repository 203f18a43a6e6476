// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"cmp"
	"encoding/json"
	"net/http"
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

// routeBatch returns the call and batch of what follows the project in a path.
func routeBatch(method, project, rest string) question {
	if rest == "" {
		switch method {
		case http.MethodGet:
			return question{call: CallBatchList, project: project}
		case http.MethodPost:
			return question{call: CallBatchSubmit, project: project}
		}
		return question{}
	}
	plain, err := url.PathUnescape(rest)
	if method != http.MethodGet || !isSegment(rest) || err != nil {
		return question{}
	}
	return question{call: CallBatch, project: project, id: plain}
}

// answerBatch appends what a batch is.
func (s *Server) answerBatch(b []byte, q question) ([]byte, *Response) {
	job, phase, instead := s.phaseOf(q)
	if instead != nil {
		return nil, instead
	}
	return job.appendBatch(b, phase, q.now), nil
}

// appendBatch appends the details of a batch.
func (j *Job) appendBatch(b []byte, p Phase, now time.Time) []byte {
	b = j.appendBatchRow(b, p, now)
	b = b[:len(b)-1]
	b = append(b, `,"proxyUser":"","kind":"spark","sc_type":"A","feature":"basic","spark_version":"3.3.1"`...)
	b = appendText(b, "image", j.Image)
	b = appendText(b, "req_body", j.Statement)
	lines := logOf(p)
	return append(appendLog(b, lines[max(0, len(lines)-batchLogLines):]), '}')
}

// appendBatchRow appends a batch in a list.
func (j *Job) appendBatchRow(b []byte, p Phase, now time.Time) []byte {
	b = append(b, `{"id":`...)
	b = appendJSONString(b, j.ID)
	b = appendText(b, "state", batchWord(p))
	b = append(b, `,"appId":`...)
	if p.Status == launching {
		b = append(b, `""`...)
	} else {
		b = appendJSONString(b, "batch-session-"+j.ID+":30663")
	}
	b = appendText(b, "name", j.Name)
	b = appendText(b, "owner", j.Owner)
	b = appendText(b, "queue", j.Queue)
	created, ran := j.Start.UnixMilli(), j.duration(p, now).Milliseconds()
	updated := created + ran
	b = appendFigure(b, "create_time", &created)
	b = appendFigure(b, "update_time", &updated)
	b = appendFigure(b, "duration", &ran)
	return append(b, '}')
}

// logOf is the log of a phase, line by line.
func logOf(p Phase) []string {
	if p.Message == "" {
		return nil
	}
	return strings.Split(p.Message, "\n")
}

func appendLog(b []byte, lines []string) []byte {
	b = append(b, `,"log":[`...)
	for i, line := range lines {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, line)
	}
	return append(b, ']')
}

// parseBatchQuery is parseListQuery for a list of batches.
func parseBatchQuery(values url.Values) (q listQuery, why string) {
	q = listQuery{
		isBatch: true,
		status:  values.Get("state"),
		id:      values.Get("job-id"),
		order:   "start_time_desc",
		size:    maxPageSize,
	}
	var errFrom, errSize error
	if text := values.Get("from"); text != "" {
		q.from, errFrom = strconv.Atoi(text)
	}
	if text := values.Get("size"); text != "" {
		q.size, errSize = strconv.Atoi(text)
	}
	order := cmp.Or(values.Get("order"), "CREATE_TIME_DESC")
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
	if order == "CREATE_TIME_ASC" {
		q.order = "start_time_asc"
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

// answerBatchSubmit starts a batch, with the timeline of the template, and appends the
// answer to b.
func (s *Server) answerBatchSubmit(b []byte, q question) ([]byte, *Response) {
	var asked batchSubmission
	if err := json.Unmarshal(q.body, &asked); err != nil {
		return nil, parameterError("The body is not JSON of a batch.")
	}
	if strings.TrimSpace(asked.File) == "" {
		return nil, parameterError("file is empty.")
	}
	job := Batch(newID())
	job.ProjectID, job.Start, job.Timeline = q.project, q.now, s.template.Load().Timeline
	job.Statement, job.Name, job.Image, job.Queue = string(q.body), asked.Name, asked.Image, cmp.Or(asked.Queue, job.Queue)
	s.SetJob(job)
	return job.appendBatch(b, job.phaseAt(q.now), q.now), nil
}
