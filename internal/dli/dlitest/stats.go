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
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Stats counts what a server has seen since it started.
type Stats struct {
	// Requests is how many arrived; Authenticated is how many per access key
	// were accepted as coming from its owner. Tokens are counted as "token".
	Requests      int64            `json:"requests"`
	Authenticated map[string]int64 `json:"authenticated,omitempty"`
	// AuthFailures is how many per access key were not; "" stands for requests
	// without one.
	AuthFailures map[string]int64 `json:"authFailures,omitempty"`
	// ByCall is how many of the requests were which call; "" stands for those that
	// are none of the service's.
	ByCall map[Call]int64 `json:"byCall,omitempty"`
	// ByCode is the number of answers per HTTP status; 0 is no answer at all.
	ByCode map[int]int64 `json:"byCode,omitempty"`
	// Connections is how many were opened.
	Connections int64 `json:"connections"`
	// PeakPerSecond is the most requests that arrived in one second of the clock.
	PeakPerSecond int64 `json:"peakPerSecond"`
	// InFlight is how many are being answered now.
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
		PeakPerSecond: s.counters.arrivals.highest(),
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

// Requests is how many requests asked for the status of a job, whatever they were
// answered.
func (s *Server) Requests(jobID string) int { return int(s.entry(jobID).requests.Load()) }

// Log is when the latest requests for the status of a job arrived, at most 1000 of them, by
// the server's clock. It is empty without WithRequestLog.
func (s *Server) Log(jobID string) []time.Time {
	e := s.entry(jobID)
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.arrivals)
}

// Attention is how well somebody looks after the jobs: those that have begun and
// not ended, and those that have.
type Attention struct {
	// Active is how many these are, and Waiting how many of them nobody asked about,
	// or was shown in a list, since a given time.
	Active  int `json:"active"`
	Waiting int `json:"waiting"`
	// Oldest is when the job was asked about that waits longest, or when it began
	// if it never was.
	Oldest time.Time `json:"oldest,omitzero"`
	// Told is, of each job whose end somebody was first told of since then, when
	// that was.
	Told map[string]time.Time `json:"told,omitempty"`
}

// Attention looks through all jobs.
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
	arrivals                        window
	byCode                          [600]atomic.Int64
	// byCall is an *atomic.Int64 for each Call.
	byCall sync.Map
}

func (c *counters) arrive(now time.Time, call Call) {
	n, ok := c.byCall.Load(call)
	if !ok {
		n, _ = c.byCall.LoadOrStore(call, new(atomic.Int64))
	}
	n.(*atomic.Int64).Add(1)
	c.requests.Add(1)
	c.inFlight.Add(1)
	c.arrivals.add(now)
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
	mu                  sync.Mutex
	second, count, peak int64
}

// add counts one more and returns how many there were in this second.
func (w *window) add(now time.Time) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if second := now.Unix(); second != w.second {
		w.second, w.count = second, 0
	}
	w.count++
	w.peak = max(w.peak, w.count)
	return w.count
}

func (w *window) highest() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peak
}
