// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"slices"
	"testing"
	"time"
)

// sends returns n requests of a process, one every step seconds.
func sends(process string, from, step float64, n int) (requests []Request) {
	for i := range n {
		requests = append(requests, Request{At: at(from + float64(i)*step), Process: process, Connection: "c", Key: "AK"})
	}
	return requests
}

func together(all ...[]Request) []Request {
	joined := slices.Concat(all...)
	slices.SortStableFunc(joined, func(a, b Request) int { return a.At.Compare(b.At) })
	return joined
}

// recorded records requests in a new history.
func recorded(budget Budget, before func(*History), requests []Request) *History {
	h := New(budget, nil)
	before(h)
	for _, r := range requests {
		h.Requested(r)
	}
	return h
}

func TestRate(t *testing.T) {
	for name, test := range map[string]struct {
		requests []Request
		want     Invariant
	}{
		"at the rate":                {sends("a", 0, 0.2, 100), ""},
		"a burst, and the rate":      {together(sends("a", 0, 0, 5), sends("a", 0.2, 0.2, 100)), ""},
		"a burst and some in flight": {sends("a", 0, 0, 7), ""},
		"faster for a long time":     {sends("a", 0, 0.1, 100), Rate},
		"two bursts":                 {sends("a", 0, 0, 10), Rate},
		"a burst of each process":    {together(sends("a", 0, 0, 5), sends("b", 0, 0, 5)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			budget := Budget{Rates: map[string]Rating{"c": {PerSecond: 5, Burst: 5}}, Slack: 2}
			expect(t, recorded(budget, func(*History) {}, test.requests).Violations(), test.want)
		})
	}
	t.Run("two bursts of a connection that was created again", func(t *testing.T) {
		h := recorded(Budget{Rates: map[string]Rating{"c": {PerSecond: 5, Burst: 5}}, Slack: 2}, func(*History) {}, sends("a", 0, 0, 5))
		h.Recreated("c")
		for _, r := range sends("a", 0, 0, 5) {
			h.Requested(r)
		}
		expect(t, h.Violations(), "")
	})
}

func TestBreaker(t *testing.T) {
	for name, test := range map[string]struct {
		requests []Request
		want     Invariant
	}{
		"no more polls":               {sends("a", 10, 0.1, 50), ""},
		"probes":                      {together(sends("a", 10, 0.1, 50), sends("a", 16, 1, 50)), ""},
		"polls that continue":         {sends("a", 10, 0.2, 300), Breaker},
		"many polls before the fault": {sends("a", 0, 0.1, 100), ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := recorded(Budget{}, func(h *History) { h.Dead(at(10), 5*time.Second) }, test.requests)
			expect(t, h.Violations(), test.want)
		})
	}
}

func TestLockout(t *testing.T) {
	for name, test := range map[string]struct {
		requests []Request
		accepted bool
		want     Invariant
	}{
		"five in a window":      {sends("a", 0, 30, 5), false, ""},
		"six in a window":       {sends("a", 0, 30, 6), false, Lockout},
		"six in two windows":    {sends("a", 0, 70, 6), false, ""},
		"many at the same time": {sends("a", 0, 0.01, 20), false, ""},
		"of two processes":      {together(sends("a", 0, 30, 3), sends("b", 100, 30, 3)), false, Lockout},
		"that are accepted":     {sends("a", 0, 1, 60), true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range test.requests {
				test.requests[i].Rejected = !test.accepted
			}
			expect(t, recorded(Budget{}, func(*History) {}, test.requests).Violations(), test.want)
		})
	}
}

func TestLease(t *testing.T) {
	elected := func(requests []Request) []Request {
		for i := range requests {
			requests[i].Replica = requests[i].Process
		}
		return requests
	}
	for name, test := range map[string]struct {
		leased   func(h *History)
		requests []Request
		want     Invariant
	}{
		"that is renewed":         {func(h *History) { h.Leased("a", at(0)); h.Leased("a", at(10)) }, sends("a", 0, 1, 25), ""},
		"that expires":            {func(h *History) { h.Leased("a", at(0)) }, sends("a", 0, 1, 60), Lease},
		"of another":              {func(h *History) { h.Leased("b", at(0)) }, sends("a", 0, 1, 60), Lease},
		"that another takes":      {func(h *History) { h.Leased("a", at(0)); h.Leased("b", at(10)) }, sends("a", 0, 1, 60), Lease},
		"that is released":        {func(h *History) { h.Leased("a", at(0)); h.Leased("", at(5)) }, sends("a", 0, 1, 60), Lease},
		"after a restore of etcd": {func(h *History) { h.Leased("a", at(-20)); h.Restored(at(-1), at(0)); h.Leased("b", at(0)) }, sends("a", 0, 1, 10), ""},
		"while a restore of etcd takes long": {func(h *History) {
			h.Leased("b", at(-60))
			h.Leased("a", at(-40))
			h.Restored(at(-35), at(0))
			h.Leased("b", at(-60))
		}, sends("a", -30, 1, 10), ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := recorded(Budget{Lease: 15 * time.Second}, test.leased, elected(test.requests))
			h.Requested(Request{At: at(120), Process: "b", Replica: "b"})
			expect(t, h.Violations(), test.want)
		})
	}
}
