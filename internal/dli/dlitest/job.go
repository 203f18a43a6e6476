// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"cmp"
	"slices"
	"time"
)

// The status words of DLI.
const (
	launching = "LAUNCHING"
	running   = "RUNNING"
	finished  = "FINISHED"
	failed    = "FAILED"
	cancelled = "CANCELLED"
)

// Job is a job and its timeline. Empty strings are omitted from answers.
type Job struct {
	ID string `json:"id"`
	// ProjectID is the project of the job; every project has it if empty.
	ProjectID string `json:"projectID,omitempty"`
	// Start is when the job was submitted; it is not found before. If zero, the server
	// sets it when the job is added; see also WithStartOnRequest.
	Start time.Time `json:"start,omitzero"`
	// Timeline are the phases of the job. It is LAUNCHING until the first one.
	Timeline []Phase `json:"timeline,omitempty"`

	// Batch makes it a Spark job, which the calls of batches answer about, and no others.
	Batch bool   `json:"batch,omitempty"`
	Name  string `json:"name,omitempty"`
	Image string `json:"image,omitempty"`

	Type       string `json:"type,omitempty"`
	Mode       string `json:"mode,omitempty"`
	Queue      string `json:"queue,omitempty"`
	Owner      string `json:"owner,omitempty"`
	Database   string `json:"database,omitempty"`
	Table      string `json:"table,omitempty"`
	ResultPath string `json:"resultPath,omitempty"`
	// Statement is the SQL text, or the submission of a batch.
	Statement string `json:"statement,omitempty"`
	// Detail is the schema of the result: JSON, which answers contain as a string once
	// the job has finished.
	Detail string `json:"detail,omitempty"`
	// CPUCost and OutputBytes are what lists show once the job has ended, and 0 before.
	CPUCost     int64 `json:"cpuCost,omitempty"`
	OutputBytes int64 `json:"outputBytes,omitempty"`

	// elapsed is when the next phase begins, for the methods that add one.
	elapsed time.Duration
}

// Phase is a job from After its start until the next phase.
type Phase struct {
	After   time.Duration `json:"after"`
	Status  string        `json:"status,omitempty"`
	Message string        `json:"message,omitempty"`
	// Rows is result_count. Like the other figures, it is omitted if nil.
	Rows       *int64 `json:"rows,omitempty"`
	InputRows  *int64 `json:"inputRows,omitempty"`
	BadRows    *int64 `json:"badRows,omitempty"`
	InputBytes *int64 `json:"inputBytes,omitempty"`
	// Response is sent instead of a status.
	Response *Response `json:"response,omitempty"`
}

// Query is a select statement without a timeline yet.
func Query(id string) Job {
	return Job{
		ID: id, Type: "QUERY", Mode: "async", Queue: "default", Owner: "test",
		Database: "dbtest", Table: "tbtest", Statement: "select * from t1",
		Detail: `{"type":"struct","fields":[` +
			`{"name":"id","type":"integer","nullable":true,"metadata":{}},` +
			`{"name":"name","type":"string","nullable":true,"metadata":{}}]}`,
	}
}

// Insert is an insert statement without a timeline yet.
func Insert(id string) Job {
	return Job{
		ID: id, Type: "INSERT", Mode: "async", Queue: "default", Owner: "test",
		Database: "dbtest", Table: "tbtest", Statement: "insert into tbtest select * from t1",
		Detail: `{"type":"struct","fields":[]}`,
	}
}

// Launching adds a phase LAUNCHING of length d.
func (j Job) Launching(d time.Duration) Job { return j.Being(launching, d) }

// Running adds a phase RUNNING of length d.
func (j Job) Running(d time.Duration) Job { return j.Being(running, d) }

// Being adds a phase of any status of length d.
func (j Job) Being(status string, d time.Duration) Job {
	j = j.then(Phase{Status: status})
	j.elapsed += d
	return j
}

// Finishes ends the job successfully, with that many rows returned.
func (j Job) Finishes(rows int64) Job {
	return j.then(Phase{Status: finished, Rows: &rows, InputBytes: new(22 * rows)})
}

// Inserts ends the job successfully, with that many rows inserted and bad rows skipped.
func (j Job) Inserts(rows, bad int64) Job {
	return j.then(Phase{
		Status: finished, Rows: &rows, BadRows: &bad,
		InputRows: new(rows + bad), InputBytes: new(22 * (rows + bad)),
	})
}

// Fails ends the job as FAILED with that message.
func (j Job) Fails(message string) Job { return j.then(Phase{Status: failed, Message: message}) }

// Cancelled ends the job as CANCELLED with that message.
func (j Job) Cancelled(message string) Job {
	return j.then(Phase{Status: cancelled, Message: message})
}

func (j Job) then(p Phase) Job {
	p.After = j.elapsed
	j.Timeline = append(slices.Clip(j.Timeline), p)
	return j
}

// endsAt is when the job ends; false if it never does, or while its Start is unknown.
func (j *Job) endsAt() (time.Time, bool) {
	i := slices.IndexFunc(j.Timeline, Phase.ends)
	if i < 0 || j.Start.IsZero() {
		return time.Time{}, false
	}
	return j.Start.Add(j.Timeline[i].After), true
}

func (p Phase) ends() bool {
	return p.Response == nil &&
		(p.Status == finished || p.Status == failed || p.Status == cancelled)
}

func (j Job) ordered() Job {
	j.Timeline = slices.Clone(j.Timeline)
	slices.SortStableFunc(j.Timeline, func(a, b Phase) int { return cmp.Compare(a.After, b.After) })
	return j
}

func (j *Job) phaseAt(now time.Time) Phase {
	age := now.Sub(j.Start)
	for _, phase := range slices.Backward(j.Timeline) {
		if phase.After <= age {
			return phase
		}
	}
	return beginning
}

// wordAt is the phase that determines the job's status at now: a phase with a response may
// have none.
func (j *Job) wordAt(now time.Time) Phase {
	age := now.Sub(j.Start)
	for _, phase := range slices.Backward(j.Timeline) {
		if phase.After <= age && phase.Status != "" {
			return phase
		}
	}
	return beginning
}

// beginning is the state of a job before its first phase.
var beginning = Phase{Status: launching}

// sqlJob is what the status of a SQL job and its row in a list have in common.
type sqlJob struct {
	ID         string  `json:"job_id"`
	Type       string  `json:"job_type,omitempty"`
	Queue      string  `json:"queue_name,omitempty"`
	Owner      string  `json:"owner,omitempty"`
	Start      int64   `json:"start_time"`
	Status     string  `json:"status"`
	Duration   *int64  `json:"duration"`
	InputRows  *int64  `json:"input_row_count,omitempty"`
	BadRows    *int64  `json:"bad_row_count,omitempty"`
	InputBytes *int64  `json:"input_size"`
	Rows       *int64  `json:"result_count"`
	Database   string  `json:"database_name,omitempty"`
	Table      string  `json:"table_name,omitempty"`
	ResultPath string  `json:"result_path,omitempty"`
	Detail     *string `json:"detail"`
	Statement  string  `json:"statement,omitempty"`
	Message    string  `json:"message"`
}

func (j *Job) sqlJob(p Phase, now time.Time) sqlJob {
	answer := sqlJob{
		ID: j.ID, Type: j.Type, Queue: j.Queue, Owner: j.Owner, Start: j.Start.UnixMilli(),
		Status: p.Status, Statement: j.Statement, Message: p.Message,
	}
	if p.Status == launching {
		return answer
	}
	answer.Duration, answer.Detail = new(j.duration(p, now).Milliseconds()), new("")
	answer.InputRows, answer.BadRows, answer.InputBytes, answer.Rows = p.InputRows, p.BadRows, p.InputBytes, p.Rows
	answer.Database, answer.Table = j.Database, j.Table
	if p.Status == finished {
		answer.ResultPath, answer.Detail = j.ResultPath, &j.Detail
	}
	return answer
}

// sqlStatus is the answer about the status of a SQL job.
type sqlStatus struct {
	Success bool   `json:"is_success"`
	Mode    string `json:"job_mode,omitempty"`
	sqlJob
}

func (j *Job) duration(p Phase, now time.Time) time.Duration {
	if p.ends() {
		return p.After
	}
	return now.Sub(j.Start)
}
