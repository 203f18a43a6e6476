// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"net/http"
	"time"
)

// answerStatus answers with the status of a SQL job, or the details of a batch.
func (s *Server) answerStatus(q question) (any, *Response) {
	e := s.entry(q.id)
	if response := e.response; response != nil {
		if response.Once {
			e.response = nil
		}
		return nil, response
	}
	job, refusal := s.jobOf(q)
	if refusal != nil {
		return nil, refusal
	}
	phase := job.phaseAt(q.now)
	if phase.Response != nil {
		return nil, phase.Response
	}
	if phase.ends() && e.told.IsZero() {
		e.told = s.now()
	}
	if job.Batch {
		return job.batchDetails(phase, q.now), nil
	}
	return sqlStatus{Success: true, Mode: job.Mode, sqlJob: job.sqlJob(phase, q.now)}, nil
}

// jobOf returns the requested job, or the answer that it does not exist. It starts the
// timeline of a job that was waiting for a request.
func (s *Server) jobOf(q question) (*Job, *Response) {
	job := s.entry(q.id).job
	if job != nil && job.Start.IsZero() {
		job.Start, s.sorted = q.now, nil
	}
	isMissing := job == nil || job.Start.After(q.now) || !job.isIn(q.project) || job.Batch != q.call.isAboutBatches()
	switch {
	case isMissing && q.call.isAboutBatches():
		return nil, DLIError(http.StatusBadRequest, "DLI.0002", "The batch "+q.id+" does not exist.")
	case isMissing:
		return nil, DLIError(http.StatusNotFound, "DLI.0023", "The job "+q.id+" does not exist.")
	}
	return job, nil
}

func (j *Job) isIn(project string) bool { return j.ProjectID == "" || j.ProjectID == project }

// entry is the server's state for one job ID, whether or not the job exists.
type entry struct {
	job      *Job
	response *Response
	requests int
	// last is when the latest request arrived, or a list showed the job.
	last time.Time
	// told is when the end of the job was first reported.
	told     time.Time
	arrivals []time.Time
}

func (s *Server) entry(id string) *entry {
	e := s.jobs[id]
	if e == nil {
		e = &entry{}
		s.jobs[id] = e
	}
	return e
}
