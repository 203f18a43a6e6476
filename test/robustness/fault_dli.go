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

package main

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/robustness/check"
)

const (
	tooMany  = `{"error_msg":"The throttling threshold has been reached: policy user over ratelimit,limit:5,time:1 second","error_code":"APIGW.0308","request_id":"0"}`
	internal = `{"error_code":"DLI.0999","error_msg":"internal error"}`
)

// dliFaults are the faults of DLI and of the network to it.
func dliFaults() []fault {
	faults := []fault{
		{name: "dli-down", inject: func(ctx context.Context, i injection) error {
			i.dli.down()
			err := wait(ctx, i.lasts)
			if up := i.dli.up(); up != nil {
				return up
			}
			return err
		}},
		// How long detection takes: the time for five failures of three jobs, and the
		// request timeout.
		{name: "dli-hanging", to: seconds(22), inject: dead(hangs, 13*time.Second)},
		{name: "dli-slow-bytes", to: seconds(22), inject: dead(drips, 13*time.Second)},
		{name: "dli-502", to: seconds(20), inject: dead(says(http.StatusBadGateway, "<html>Bad Gateway</html>"), 6*time.Second)},
		{name: "dli-reset-in-body", to: seconds(20), inject: dead(resets, 6*time.Second)},
		{name: "dli-hangs-for-some", inject: lying(hangs)},
		{name: "dli-resets-some", inject: lying(resets)},
		{name: "dli-errs-for-some", inject: lying(says(http.StatusInternalServerError, internal))},
		{name: "dli-answers-of-other-jobs", inject: lying(confuses)},
		{name: "dli-goes-back", inject: lying(goesBack)},
		{name: "dli-garbage", inject: lying(babbles)},
		{name: "dli-huge-answers", inject: lying(swells)},
		{name: "dli-gzip-bombs", inject: lying(explodes)},
		{name: "dli-lists-lag", to: seconds(25), inject: listing(dlitest.ListQuirks{Lag: 20 * time.Second})},
		{name: "dli-lists-lack-rows", to: seconds(25), inject: listing(dlitest.ListQuirks{Missing: 0.3})},
		{name: "dli-lists-have-wrong-rows", to: seconds(25), inject: listing(dlitest.ListQuirks{WrongStatus: 0.3})},
		{name: "dli-throttles", inject: func(ctx context.Context, i injection) error {
			l := lie{everybody, says(http.StatusTooManyRequests, tooMany, "Content-Type", "application/json", "Retry-After", "2")}
			return i.during(ctx, func() { i.dli.begin("throttles", l) }, func() { i.dli.end("throttles") })
		}},
	}
	for n := range faults {
		f := &faults[n]
		f.group, f.from, f.to = onDLI, seconds(6), cmp.Or(f.to, seconds(15))
	}
	return faults
}

func byName(faults []fault) {
	slices.SortFunc(faults, func(a, b fault) int { return cmp.Compare(a.name, b.name) })
}

// lying sends wrong responses for k of n jobs; k is less than n.
func lying(tell teller) func(context.Context, injection) error {
	return func(ctx context.Context, i injection) error {
		l := lie{some(i.random, 1+i.random.Uint32N(6), 7), tell}
		return i.during(ctx, func() { i.dli.begin("some", l) }, func() { i.dli.end("some") })
	}
}

// listing makes lists incorrect.
func listing(quirks dlitest.ListQuirks) func(context.Context, injection) error {
	return func(ctx context.Context, i injection) error {
		return i.during(ctx, func() { i.dli.sim.SetListQuirks(quirks) }, func() { i.dli.sim.SetListQuirks(dlitest.ListQuirks{}) })
	}
}

// dead makes every request fail.
func dead(tell teller, grace time.Duration) func(context.Context, injection) error {
	return func(ctx context.Context, i injection) error {
		from := time.Now()
		err := i.during(ctx, func() { i.dli.begin("dead", lie{everybody, tell}) }, func() { i.dli.end("dead") })
		i.mu.Lock()
		defer i.mu.Unlock()
		i.outages = append(i.outages, check.Outage{From: from, To: time.Now(), Grace: grace})
		return err
	}
}
