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

package connection

import (
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// pace is the connection's rate limit, reduced while DLI throttles.
type pace struct {
	*rate.Limiter
	burst int
}

func newPace(perSecond, burst int) pace {
	return pace{rate.NewLimiter(rate.Limit(perSecond), burst), burst}
}

// adapt sets the current rate at now. While it is not the configured one, bursts are
// not allowed: they would exceed the limit that is being approached.
func (p *pace) adapt(perSecond float64, adapted bool, now time.Time) {
	burst := p.burst
	if adapted {
		burst = min(max(1, int(perSecond/50)), p.burst)
	}
	if limit := rate.Limit(perSecond); p.Limit() != limit {
		p.SetLimitAt(now, limit)
	}
	if p.Burst() != burst {
		p.SetBurstAt(now, burst)
	}
}

// decision implements policy.
func (p *pace) decide(now time.Time) decision {
	missing := 1 - p.TokensAt(now)
	if missing <= 0 {
		return decision{}
	}
	wait := time.Duration(missing / float64(p.Limit()) * float64(time.Second))
	return decision{sendAt: now.Add(max(wait, time.Millisecond))}
}

const (
	// A request that takes longer than this frees its place for another one: a few
	// jobs that hang must not block the others.
	slowAfter = 2 * time.Second
	// Including slow requests, this many times the usual number may be in flight.
	slowFactor = 4
)

// inFlight limits the requests in flight.
type inFlight struct {
	// limit is the limit of requests that are not slow, which they become after
	// slow; most is the limit including slow ones.
	limit, most int
	slow        time.Duration
	// began holds their start times, oldest first.
	began []time.Time
}

// decision implements policy.
func (f *inFlight) decide(now time.Time) decision {
	n := len(f.began)
	switch {
	case n < f.limit:
		return decision{}
	case n >= f.most:
		return decision{admit: AdmitNone}
	}
	return decision{sendAt: f.began[n-f.limit].Add(f.slow)}
}

func (f *inFlight) begin(now time.Time) { f.began = append(f.began, now) }

func (f *inFlight) end(began time.Time) {
	if i := slices.IndexFunc(f.began, began.Equal); i >= 0 {
		f.began = slices.Delete(f.began, i, i+1)
	}
}
