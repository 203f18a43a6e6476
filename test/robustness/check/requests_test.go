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
	"fmt"
	"testing"
	"time"
)

// asks returns n requests of a process for a job, one every step seconds.
func asks(process, job string, from, step float64, n int) (requests []Request) {
	for i := range n {
		requests = append(requests, Request{At: at(from + float64(i)*step), Job: job, Process: process, Connection: "c", Key: "AK"})
	}
	return requests
}

func together(all ...[]Request) []Request {
	var joined []Request
	for _, some := range all {
		joined = append(joined, some...)
	}
	return ByTime(joined)
}

func TestOverlaps(t *testing.T) {
	tests := map[string]struct {
		requests []Request
		want     Invariant
	}{
		"one polls after the other":                {together(asks("a1", "job", 0, 1, 30), asks("b1", "job", 30, 1, 30)), ""},
		"both poll for less than a lease":          {together(asks("a1", "job", 0, 1, 30), asks("b1", "job", 20, 1, 30)), ""},
		"both poll for longer":                     {together(asks("a1", "job", 0, 1, 60), asks("b1", "job", 20, 1, 60)), Overlap},
		"one resumes briefly":                      {together(asks("a1", "job", 0, 1, 10), asks("b1", "job", 10, 1, 90), asks("a1", "job", 60, 1, 3)), ""},
		"one resumes for long":                     {together(asks("a1", "job", 0, 1, 10), asks("b1", "job", 10, 1, 90), asks("a1", "job", 60, 1, 30)), Overlap},
		"one resumes with one poll of a newer job": {together(asks("b1", "job", 10, 1, 90), asks("a1", "job", 60, 1, 1)), ""},
		"one leads again as a new process":         {together(asks("a1", "job", 0, 1, 10), asks("b1", "job", 10, 1, 50), asks("a2", "job", 60, 1, 50)), ""},
		"each polls another job":                   {together(asks("a1", "job", 0, 1, 60), asks("b1", "other", 0, 1, 60)), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, found := Overlaps(test.requests, 15*time.Second)
			expect(t, found, test.want)
		})
	}
}

func TestRates(t *testing.T) {
	limits := map[string]Limit{"c": {PerSecond: 5, Burst: 5}}
	tests := map[string]struct {
		requests []Request
		grants   []Grant
		want     Invariant
	}{
		"at the rate":                    {asks("a1", "job", 0, 0.2, 100), nil, ""},
		"a burst, and the rate":          {together(asks("a1", "job", 0, 0, 5), asks("a1", "job", 0.2, 0.2, 100)), nil, ""},
		"a burst and some in flight":     {asks("a1", "job", 0, 0, 7), nil, ""},
		"faster for a long time":         {asks("a1", "job", 0, 0.1, 100), nil, Rate},
		"two bursts":                     {asks("a1", "job", 0, 0, 10), nil, Rate},
		"two bursts of a new connection": {asks("a1", "job", 1, 0, 10), []Grant{{"c", at(0)}}, ""},
		"a burst of each process":        {together(asks("a1", "job", 0, 0, 5), asks("b1", "job", 0, 0, 5)), nil, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, found := Rates(test.requests, limits, test.grants, 2)
			expect(t, found, test.want)
		})
	}
}

func TestOutages(t *testing.T) {
	outage := []Outage{{From: at(10), To: at(60), Grace: 5 * time.Second}}
	// looks returns requests for jobs that were not polled before.
	looks := func(from, step float64, n int) (requests []Request) {
		for i := range n {
			requests = append(requests, asks("a1", fmt.Sprintf("new-%d", i), from+float64(i)*step, 0, 1)...)
		}
		return requests
	}
	tests := map[string]struct {
		requests []Request
		want     Invariant
	}{
		"no more polls":               {asks("a1", "job", 0, 1, 14), ""},
		"probes at growing intervals": {together(asks("a1", "job", 0, 1, 14), asks("a1", "job", 16, 8, 5)), ""},
		"polls that continue":         {asks("a1", "job", 0, 1, 60), Breaker},
		"one poll of each new job":    {together(asks("a1", "job", 0, 1, 14), looks(15, 0.5, 40)), ""},
		"before and after the outage": {together(asks("a1", "job", 0, 1, 10), asks("a1", "job", 61, 1, 100)), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, found := Outages(test.requests, outage)
			expect(t, found, test.want)
		})
	}
}

func TestRejections(t *testing.T) {
	rejected := func(requests []Request) []Request {
		for i := range requests {
			requests[i].Rejected = true
		}
		return requests
	}
	tests := map[string]struct {
		requests []Request
		want     Invariant
	}{
		"five in a window":           {rejected(asks("a1", "job", 0, 30, 5)), ""},
		"six in a window":            {rejected(asks("a1", "job", 0, 30, 6)), Lockout},
		"six in two windows":         {rejected(asks("a1", "job", 0, 70, 6)), ""},
		"many at the same time":      {rejected(asks("a1", "job", 0, 0.01, 20)), ""},
		"of two processes":           {together(rejected(asks("a1", "job", 0, 30, 3)), rejected(asks("b1", "job", 100, 30, 3))), Lockout},
		"requests that are accepted": {asks("a1", "job", 0, 1, 60), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, found := Rejections(test.requests, 5*time.Minute, 5, time.Second)
			expect(t, found, test.want)
		})
	}
}
