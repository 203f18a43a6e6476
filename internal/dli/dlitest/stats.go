// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
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
	stats := Stats{
		Requests:      s.counters.requests.Load(),
		Authenticated: map[string]int64{},
		AuthFailures:  map[string]int64{},
		ByCall:        map[Call]int64{},
		ByCode:        map[int]int64{},
		Connections:   s.counters.connections.Load(),
		InFlight:      s.counters.inFlight.Load(),
	}
	for code := range s.counters.byCode {
		if n := s.counters.byCode[code].Load(); n > 0 {
			stats.ByCode[code] = n
		}
	}
	s.counters.byCall.Range(func(call, n any) bool {
		stats.ByCall[call.(Call)] = n.(*atomic.Int64).Load()
		return true
	})
	s.callers.Range(func(name, c any) bool {
		if n := c.(*caller).authenticated.Load(); n > 0 {
			stats.Authenticated[name.(string)] = n
		}
		if n := c.(*caller).failures.Load(); n > 0 {
			stats.AuthFailures[name.(string)] = n
		}
		return true
	})
	return stats
}

// Requests is the number of status requests for a job, whatever the answers.
func (s *Server) Requests(jobID string) int { return int(s.entry(jobID).requests.Load()) }

// Log is when the latest requests for the status of a job arrived, at most 1000 of them, by
// the server's clock. It is empty without WithRequestLog.
func (s *Server) Log(jobID string) []time.Time {
	e := s.entry(jobID)
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.arrivals)
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
func (s *Server) Attention(since time.Time) (a Attention) {
	now := s.now()
	a.Told = map[string]time.Time{}
	s.jobs.Range(func(id, value any) bool {
		e := value.(*entry)
		if told := e.told.Load(); told > 0 && told >= since.UnixNano() {
			a.Told[id.(string)] = time.Unix(0, told)
		}
		job := e.job.Load()
		if job == nil || job.Start.IsZero() || job.Start.After(now) || job.phaseAt(now).ends() {
			return true
		}
		last := job.Start
		if asked := e.last.Load(); asked > 0 {
			last = time.Unix(0, asked)
		}
		a.Active++
		if last.Before(since) {
			a.Waiting++
		}
		if a.Oldest.IsZero() || last.Before(a.Oldest) {
			a.Oldest = last
		}
		return true
	})
	return a
}

const logged = 1000

func (e *entry) arrive(now time.Time, log bool) {
	e.requests.Add(1)
	e.last.Store(now.UnixNano())
	if !log {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.arrivals) == logged {
		e.arrivals = slices.Delete(e.arrivals, 0, 1)
	}
	e.arrivals = append(e.arrivals, now)
}

type counters struct {
	requests, connections, inFlight atomic.Int64
	byCode                          [600]atomic.Int64
	// byCall is an *atomic.Int64 for each Call.
	byCall sync.Map
}

func (c *counters) arrive(call Call) {
	n, ok := c.byCall.Load(call)
	if !ok {
		n, _ = c.byCall.LoadOrStore(call, new(atomic.Int64))
	}
	n.(*atomic.Int64).Add(1)
	c.requests.Add(1)
	c.inFlight.Add(1)
}

func (c *counters) leave() { c.inFlight.Add(-1) }

func (c *counters) answered(status int) {
	if status < 0 || status >= len(c.byCode) {
		status = http.StatusInternalServerError
	}
	c.byCode[status].Add(1)
}

// window counts what happens within one second of the clock.
type window struct {
	mu            sync.Mutex
	second, count int64
}

// add counts one more and returns how many there were in this second.
func (w *window) add(now time.Time) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if second := now.Unix(); second != w.second {
		w.second, w.count = second, 0
	}
	w.count++
	return w.count
}
