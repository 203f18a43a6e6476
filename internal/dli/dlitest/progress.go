// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"strconv"
	"time"
)

// answerProgress appends the progress of a job to b.
func (s *Server) answerProgress(b []byte, q question) ([]byte, *Response) {
	job, refusal := s.find(s.entry(q.id), q)
	if refusal != nil {
		return nil, refusal
	}
	p, _, _ := job.wordAt(q.now)
	b = append(b, `{"is_success":true,"message":"","job_id":`...)
	b = appendJSONString(b, job.ID)
	b = append(b, `,"status":`...)
	b = appendJSONString(b, p.Status)
	if fraction, ok := job.progress(*p, q.now); ok {
		b = strconv.AppendFloat(appendName(b, "progress"), fraction, 'g', 4, 64)
	}
	if p.Status != launching && !p.ends() {
		b = append(b, `,"sub_job_id":0,"sub_jobs":[{"id":0,"name":"stage"}]`...)
	}
	return append(b, '}'), nil
}

// progress is the fraction of its runtime that a job has run; false for one that ended
// early.
func (j *Job) progress(p Phase, now time.Time) (fraction float64, ok bool) {
	switch {
	case p.Status == launching:
		return 0, true
	case p.Status == finished:
		return 1, true
	case p.ends():
		return 0, false
	}
	whole := 2 * now.Sub(j.Start)
	if end, ok := j.endsAt(); ok {
		whole = end.Sub(j.Start)
	}
	if whole <= 0 {
		return 0, true
	}
	return min(now.Sub(j.Start).Seconds()/whole.Seconds(), 0.99), true
}
