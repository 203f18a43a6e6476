// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import "time"

// answerProgress answers with the progress of a job.
func (s *Server) answerProgress(q question) (any, *Response) {
	job, refusal := s.jobOf(q)
	if refusal != nil {
		return nil, refusal
	}
	p := job.wordAt(q.now)
	answer := map[string]any{"is_success": true, "message": "", "job_id": job.ID, "status": p.Status}
	if fraction, ok := job.progress(p, q.now); ok {
		answer["progress"] = fraction
	}
	if p.Status != launching && !p.ends() {
		answer["sub_job_id"], answer["sub_jobs"] = 0, []any{map[string]any{"id": 0, "name": "stage"}}
	}
	return answer, nil
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
