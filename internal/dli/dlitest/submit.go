// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// SetTemplate sets the timeline of jobs that are submitted from now on, and the fields that
// a submission does not set. Statements that the service does not queue, such as DDL, have
// ended when the submission is answered.
func (s *Server) SetTemplate(job Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.template = job.ordered()
}

// submission is the body of a submission. Only SQL is required.
type submission struct {
	SQL       string `json:"sql"`
	CurrentDB string `json:"currentdb"`
	QueueName string `json:"queue_name"`
}

// answerSubmit starts a job.
func (s *Server) answerSubmit(q question) (any, *Response) {
	var asked submission
	if err := json.Unmarshal(q.body, &asked); err != nil {
		return nil, parameterError("The body is not JSON of a submission.")
	}
	if strings.TrimSpace(asked.SQL) == "" {
		return nil, parameterError("sql is empty.")
	}
	job := s.submitted(asked, q)
	s.setJob(job)
	answer := map[string]any{"is_success": true, "message": "", "job_id": job.ID, "job_type": job.Type, "job_mode": job.Mode}
	if job.Mode == "sync" {
		answer["schema"], answer["rows"] = []any{}, []any{}
	}
	return answer, nil
}

func (s *Server) submitted(asked submission, q question) Job {
	job := s.template
	job.ID, job.ProjectID, job.Start, job.Statement = newID(), q.project, q.now, asked.SQL
	job.Queue, job.Database = cmp.Or(asked.QueueName, job.Queue), cmp.Or(asked.CurrentDB, job.Database)
	job.Mode = "async"
	switch kind := typeOf(asked.SQL); kind {
	case "":
	case "DDL", "DCL":
		job.Type, job.Mode, job.Detail = kind, "sync", ""
		job.Timeline = []Phase{{Status: finished, Rows: new(int64(0))}}
	default:
		job.Type = kind
	}
	return job
}

// typeOf is the job type of a statement if its first word determines it; else "".
func typeOf(sql string) string {
	switch word, _, _ := strings.Cut(strings.ToUpper(strings.Join(strings.Fields(sql), " ")), " "); word {
	case "CREATE", "ALTER", "DROP", "TRUNCATE", "DESCRIBE", "SHOW":
		return "DDL"
	case "GRANT", "REVOKE":
		return "DCL"
	case "INSERT":
		return "INSERT"
	}
	return ""
}

// newID is a UUID of version 4.
func newID() string {
	a, b := rand.Uint64(), rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}
