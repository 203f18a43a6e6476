// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

const (
	tooMany  = `{"error_msg":"The throttling threshold has been reached: policy user over ratelimit,limit:5,time:1 second","error_code":"APIGW.0308","request_id":"0"}`
	rejected = `{"error_msg":"Incorrect IAM authentication information: verify aksk signature fail","error_code":"APIGW.0301","request_id":"0"}`
	internal = `{"error_code":"DLI.0999","error_msg":"internal error"}`
)

// dliFaults are the faults of DLI and of the network to it.
func dliFaults() []fault {
	faults := []fault{
		{name: "dli-down", inject: func(ctx context.Context, i injection) error {
			i.dli.down()
			return errors.Join(wait(ctx, i.lasts), i.dli.up())
		}},
		// How long detection takes: the time for five failures of three jobs, and the
		// request timeout.
		{name: "dli-hanging", to: seconds(22), inject: dead(hangs, 13*time.Second)},
		{name: "dli-slow-bytes", to: seconds(22), inject: dead(drips, 13*time.Second)},
		{name: "dli-502", to: seconds(20), inject: dead(says(http.StatusBadGateway, "<html>Bad Gateway</html>"), 6*time.Second)},
		{name: "dli-reset-in-body", to: seconds(20), inject: dead(resets, 6*time.Second)},
		{name: "dli-hangs-for-some", inject: forSome(hangs)},
		{name: "dli-resets-some", inject: forSome(resets)},
		{name: "dli-errs-for-some", inject: forSome(says(http.StatusInternalServerError, internal))},
		{name: "dli-answers-of-other-jobs", inject: forSome(confuses)},
		{name: "dli-goes-back", inject: forSome(goesBack)},
		{name: "dli-garbage", inject: forSome(babbles)},
		{name: "dli-huge-answers", inject: forSome(swells)},
		{name: "dli-gzip-bombs", inject: forSome(explodes)},
		{name: "dli-lists-lag", to: seconds(25), inject: listing(dlitest.ListQuirks{Lag: 20 * time.Second})},
		{name: "dli-lists-lack-rows", to: seconds(25), inject: listing(dlitest.ListQuirks{Missing: 0.3})},
		{name: "dli-lists-have-wrong-rows", to: seconds(25), inject: listing(dlitest.ListQuirks{WrongStatus: 0.3})},
		{name: "dli-lists-stand-still", from: seconds(30), to: seconds(45), inject: func(ctx context.Context, i injection) error {
			return i.lie(ctx, lie{lists, standsStill()})
		}},
		{name: "dli-lists-401", from: seconds(15), to: seconds(25), inject: badLists(says(http.StatusUnauthorized, rejected, "Content-Type", "application/json"), v1alpha1.ReasonCredentialsRejected)},
		{name: "dli-lists-429", from: seconds(15), to: seconds(25), inject: badLists(says(http.StatusTooManyRequests, tooMany, "Content-Type", "application/json", "Retry-After", "60"), v1alpha1.ReasonRateLimited)},
		{name: "dli-throttles", inject: func(ctx context.Context, i injection) error {
			return i.lie(ctx, lie{everybody, says(http.StatusTooManyRequests, tooMany, "Content-Type", "application/json", "Retry-After", "2")})
		}},
	}
	for n := range faults {
		f := &faults[n]
		f.group, f.from, f.to = onDLI, cmp.Or(f.from, seconds(6)), cmp.Or(f.to, seconds(15))
	}
	return faults
}

// forSome sends wrong responses for k of n jobs; k is less than n.
func forSome(respond responder) func(context.Context, injection) error {
	return func(ctx context.Context, i injection) error {
		return i.lie(ctx, lie{some(i.random, 1+i.random.Uint32N(6), 7), respond})
	}
}

// listing makes lists incorrect.
func listing(quirks dlitest.ListQuirks) func(context.Context, injection) error {
	return func(ctx context.Context, i injection) error {
		return i.during(ctx, func() { i.dli.sim.SetListQuirks(quirks) }, func() { i.dli.sim.SetListQuirks(dlitest.ListQuirks{}) })
	}
}

// badLists makes only lists fail, for a reason that no job may give.
func badLists(respond responder, reason string) func(context.Context, injection) error {
	return func(ctx context.Context, i injection) error {
		if i.alone {
			i.history.Foreign(reason)
			defer i.history.Foreign("")
		}
		i.dli.begin("lists", lie{lists, respond})
		return i.onTime(ctx, func() {}, func() { i.dli.end("lists") })
	}
}

// dead makes every request fail.
func dead(respond responder, grace time.Duration) func(context.Context, injection) error {
	return func(ctx context.Context, i injection) error {
		i.history.Dead(time.Now(), grace)
		defer i.history.Dead(time.Time{}, 0)
		return i.lie(ctx, lie{everybody, respond})
	}
}
