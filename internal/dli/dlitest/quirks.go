// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"math/rand/v2"
	"time"
)

// ListQuirks are the ways in which lists deviate from the documentation; the zero value
// is none. The status call is always correct.
type ListQuirks struct {
	// Lag is how far lists are behind: they show the jobs as they were then.
	Lag time.Duration
	// Missing is the fraction of the jobs, from 0 to 1, that a list omits, different ones
	// for each request. job_count does not include them.
	Missing float64
	// WrongStatus is the fraction of the rows, from 0 to 1, with a wrong status; the filter
	// uses the job's actual one.
	WrongStatus float64
	// Seed determines which jobs are missing and wrong in a sequence of requests.
	Seed uint64
}

// SetListQuirks replaces the quirks, from the next list on.
func (s *Server) SetListQuirks(q ListQuirks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quirks = q
	s.dice = rand.New(rand.NewPCG(q.Seed, q.Seed))
}

// words are the possible statuses of a wrong row.
var words = []string{launching, running, "SCALING", finished, failed, cancelled}

// chance returns true for that fraction of the calls.
func (s *Server) chance(fraction float64) bool {
	return fraction > 0 && s.dice.Float64() < fraction
}

// wrong is a phase like p with another status.
func (s *Server) wrong(p Phase) Phase {
	word := p.Status
	for word == p.Status {
		word = words[s.dice.IntN(len(words))]
	}
	p.Status = word
	return p
}
