// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"maps"
	"slices"
	"time"
)

// Stats are the counters of a server since it started.
type Stats struct {
	// Requests is the number of requests; Authenticated is the number per access key with a
	// valid signature. Tokens are counted as "token".
	Requests      int64            `json:"requests"`
	Authenticated map[string]int64 `json:"authenticated,omitempty"`
	// AuthFailures is the number per access key without a valid one; "" for requests without
	// an access key.
	AuthFailures map[string]int64 `json:"authFailures,omitempty"`
	// ByCall is the number of requests per call; "" for unknown calls.
	ByCall map[Call]int64 `json:"byCall,omitempty"`
	// ByCode is the number of answers per HTTP status; 0 means no answer.
	ByCode map[int]int64 `json:"byCode,omitempty"`
	// Connections is the number of opened connections.
	Connections int64 `json:"connections"`
	// InFlight is the number of requests in progress.
	InFlight int64 `json:"inFlight"`
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Authenticated, stats.AuthFailures = maps.Clone(stats.Authenticated), maps.Clone(stats.AuthFailures)
	stats.ByCall, stats.ByCode = maps.Clone(stats.ByCall), maps.Clone(stats.ByCode)
	return stats
}

// Requests is the number of status requests for a job, whatever the answers.
func (s *Server) Requests(jobID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entry(jobID).requests
}

// Log is when the latest requests for the status of a job arrived, at most 1000 of them, by
// the server's clock.
func (s *Server) Log(jobID string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entry(jobID).arrivals)
}

// Attention describes how well clients keep up with the jobs that have started, active and
// ended.
type Attention struct {
	// Active is the number of active jobs, and Waiting how many of them were neither
	// requested nor shown in a list since a given time.
	Active  int `json:"active"`
	Waiting int `json:"waiting"`
	// Oldest is the last request for the job that has waited longest, or its start if there
	// was none.
	Oldest time.Time `json:"oldest,omitzero"`
	// Told is when the end of each job was first reported, for those since that time.
	Told map[string]time.Time `json:"told,omitempty"`
}

// Attention returns the Attention of all jobs.
func (s *Server) Attention(since time.Time) Attention {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	a := Attention{Told: map[string]time.Time{}}
	for id, e := range s.jobs {
		if !e.told.IsZero() && !e.told.Before(since) {
			a.Told[id] = e.told
		}
		if e.job == nil || e.job.Start.IsZero() || e.job.Start.After(now) || e.job.phaseAt(now).ends() {
			continue
		}
		last := e.last
		if last.IsZero() {
			last = e.job.Start
		}
		a.Active++
		if last.Before(since) {
			a.Waiting++
		}
		if a.Oldest.IsZero() || last.Before(a.Oldest) {
			a.Oldest = last
		}
	}
	return a
}

const logged = 1000

func (e *entry) arrive(now time.Time) {
	e.requests++
	e.last = now
	if len(e.arrivals) == logged {
		e.arrivals = slices.Delete(e.arrivals, 0, 1)
	}
	e.arrivals = append(e.arrivals, now)
}

// answered counts an answer; status 0 is none.
func (s *Server) answered(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.ByCode[status]++
}
