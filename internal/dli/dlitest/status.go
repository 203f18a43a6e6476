// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import "net/http"

// answerStatus appends the status of a SQL job to body.
func (s *Server) answerStatus(body []byte, q question) ([]byte, *Response) {
	job, phase, instead := s.phaseOf(q)
	if instead != nil {
		return nil, instead
	}
	return job.appendStatus(body, phase, q.now), nil
}

// phaseOf returns the requested job and its phase, or the response to send instead.
func (s *Server) phaseOf(q question) (*Job, Phase, *Response) {
	e := q.entry
	if e == nil {
		e = s.entry(q.id)
	}
	if response := e.response.Load(); response != nil && (!response.Once || e.response.CompareAndSwap(response, nil)) {
		return nil, Phase{}, response
	}
	job, refusal := s.find(e, q)
	if refusal != nil {
		return nil, Phase{}, refusal
	}
	phase := job.phaseAt(q.now)
	if phase.Response != nil {
		return nil, Phase{}, phase.Response
	}
	if phase.ends() && e.told.Load() == 0 {
		e.told.CompareAndSwap(0, s.now().UnixNano())
	}
	return job, phase, nil
}

// find returns the requested job, or the answer that it does not exist.
func (s *Server) find(e *entry, q question) (*Job, *Response) {
	job := s.begun(e, q.now)
	switch isMissing := job == nil || job.Start.After(q.now) || job.ProjectID != "" && job.ProjectID != q.project ||
		job.Batch != q.call.isAboutBatches(); {
	case isMissing && q.call.isAboutBatches():
		return nil, DLIError(http.StatusBadRequest, "DLI.0002", "The batch "+q.id+" does not exist.")
	case isMissing:
		return nil, DLIError(http.StatusNotFound, "DLI.0023", "The job "+q.id+" does not exist.")
	}
	return job, nil
}
