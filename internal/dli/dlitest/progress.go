/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

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
	if end, ok := j.EndsAt(); ok {
		whole = end.Sub(j.Start)
	}
	if whole <= 0 {
		return 0, true
	}
	return min(now.Sub(j.Start).Seconds()/whole.Seconds(), 0.99), true
}
