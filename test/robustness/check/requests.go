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

package check

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Request is a request that reached DLI.
type Request struct {
	At      time.Time
	Job     string
	Process string
	// Connection is the connection whose rate limit applies, and Key the access key.
	Connection, Key string
	// Rejected is set if the key was not accepted.
	Rejected bool
	// During names the faults that were injected at the time.
	During string
}

// ByTime sorts requests by arrival.
func ByTime(requests []Request) []Request {
	sorted := slices.Clone(requests)
	slices.SortStableFunc(sorted, func(a, b Request) int { return a.At.Compare(b.At) })
	return sorted
}

// Overlaps finds jobs that two processes polled for longer than a lease: the one that
// started first continued, or started again, after the other one had started, which also
// continued. A process that loses the lease exits, so none may resume.
func Overlaps(requests []Request, lease time.Duration) (checked int, found []Violation) {
	type asking struct{ first, last time.Time }
	byJob := map[string]map[string]*asking{}
	// again is when a process first polled after another one that started later.
	again := map[[3]string]time.Time{}
	reported := map[[3]string]bool{}
	for _, r := range requests {
		checked++
		// Requests for lists have no job.
		job := cmp.Or(r.Job, "list of "+r.Connection)
		processes := byJob[job]
		if processes == nil {
			processes = map[string]*asking{}
			byJob[job] = processes
		}
		mine := processes[r.Process]
		if mine == nil {
			mine = &asking{first: r.At}
			processes[r.Process] = mine
		}
		mine.last = r.At
		for name, other := range processes {
			elder, younger, both := r.Process, name, other.last
			switch {
			case name == r.Process:
				continue
			case other.first.After(mine.first):
				if key := [3]string{job, elder, younger}; again[key].IsZero() {
					again[key] = r.At
				}
			default:
				elder, younger = name, r.Process
			}
			key := [3]string{job, elder, younger}
			if since := again[key]; !since.IsZero() && both.Sub(since) > lease && !reported[key] {
				reported[key] = true
				found = append(found, Violation{Overlap, r.At, r.During, job, fmt.Sprintf("%s and %s have polled in parallel for %v", elder, younger, both.Sub(since).Round(time.Millisecond))})
			}
		}
	}
	return checked, found
}

// Limit is a connection's rate limit.
type Limit struct{ PerSecond, Burst float64 }

// Grant is when a connection was recreated, which renews its burst.
type Grant struct {
	Connection string
	At         time.Time
}

// Rates finds connections with more requests than their limit allows. Each process
// starts with a full burst. slack is how many requests may arrive early or late.
func Rates(requests []Request, limits map[string]Limit, grants []Grant, slack float64) (checked int, found []Violation) {
	type bucket struct {
		tokens, extra float64
		at            time.Time
		granted       int
	}
	slices.SortFunc(grants, func(a, b Grant) int { return a.At.Compare(b.At) })
	buckets := map[[2]string]*bucket{}
	for _, r := range requests {
		limit, ok := limits[r.Connection]
		if !ok {
			continue
		}
		checked++
		key := [2]string{r.Connection, r.Process}
		b := buckets[key]
		if b == nil {
			b = &bucket{tokens: limit.Burst, at: r.At}
			buckets[key] = b
		}
		for ; b.granted < len(grants) && !grants[b.granted].At.After(r.At); b.granted++ {
			if g := grants[b.granted]; g.Connection == r.Connection {
				b.extra = limit.Burst
			}
		}
		b.tokens = min(limit.Burst, b.tokens+r.At.Sub(b.at).Seconds()*limit.PerSecond) - 1
		b.at = r.At
		if b.tokens < 0 && b.extra > 0 {
			b.tokens, b.extra = b.tokens+1, b.extra-1
		}
		if b.tokens < -slack {
			found = append(found, Violation{Rate, r.At, r.During, r.Connection, fmt.Sprintf("%s sent %.1f requests more than %v per second with a burst of %v allow", r.Process, -b.tokens, limit.PerSecond, limit.Burst)})
			b.tokens = 0
		}
	}
	return checked, found
}

// Outage is a time in which every request failed.
type Outage struct {
	From, To time.Time
	// Grace is how long it takes until a process can detect it.
	Grace time.Duration
}

// Outages finds processes that kept polling a dead endpoint: after the grace period,
// only probes at growing intervals are allowed, and one poll of each other job, because
// a single job may be the cause.
func Outages(requests []Request, outages []Outage) (checked int, found []Violation) {
	for _, o := range outages {
		type caller struct {
			first  time.Time
			asked  map[string]bool
			probes int
		}
		callers := map[[2]string]*caller{}
		for _, r := range requests {
			if r.At.After(o.To) {
				break
			}
			key := [2]string{r.Connection, r.Process}
			c := callers[key]
			if c == nil {
				c = &caller{asked: map[string]bool{}}
				callers[key] = c
			}
			if r.At.Before(o.From) {
				continue
			}
			again := c.asked[r.Job]
			c.asked[r.Job] = true
			if c.first.IsZero() {
				c.first = r.At
			}
			checked++
			since := r.At.Sub(c.first) - o.Grace
			if since < 0 || !again {
				continue
			}
			c.probes++
			if allowed := 4 + int(math.Log2(1+since.Seconds())); c.probes > allowed {
				found = append(found, Violation{Breaker, r.At, r.During, r.Connection, fmt.Sprintf("%s polls a dead endpoint for the %dth time, %v after the grace period", r.Process, c.probes, since.Round(time.Millisecond))})
				break
			}
		}
	}
	return checked, found
}

// Rejections finds access keys that were rejected more often than the guard allows in any
// window. Requests within together of the first rejection in a row were in flight with it.
func Rejections(requests []Request, window time.Duration, most int, together time.Duration) (checked int, found []Violation) {
	byKey := map[string][]Request{}
	for _, r := range requests {
		if r.Rejected {
			byKey[r.Key] = append(byKey[r.Key], r)
		}
	}
	for key, rejected := range byKey {
		var counted []Request
		for i, r := range rejected {
			checked++
			if i > 0 && len(counted) > 0 && r.At.Sub(counted[len(counted)-1].At) <= together {
				continue
			}
			counted = append(counted, r)
			if n := len(counted); n > most && r.At.Sub(counted[n-1-most].At) < window {
				found = append(found, Violation{Lockout, r.At, r.During, key, fmt.Sprintf("rejected %d times within %v", most+1, r.At.Sub(counted[n-1-most].At).Round(time.Second))})
			}
		}
	}
	slices.SortFunc(found, func(a, b Violation) int { return cmp.Compare(a.About, b.About) })
	return checked, found
}
