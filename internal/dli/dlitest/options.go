// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"math/rand/v2"
	"sync"
	"time"
)

type options struct {
	address    string
	anyAddress bool
	tls        bool
	now        func() time.Time
	// dated is set if now is not the machine's clock, which net/http would use for the
	// header Date.
	dated      bool
	latency    time.Duration
	log        bool
	lazy       bool
	ratePerSec int64
	retryAfter time.Duration

	errorRate float64
	dice      *rand.Rand
	diceMu    sync.Mutex
}

// Option configures NewServer.
type Option func(*options)

// WithAddress listens on a host:port instead of a free port of 127.0.0.1. The host must
// be a loopback address unless WithAnyAddress is also given.
func WithAddress(address string) Option { return func(o *options) { o.address = address } }

// WithAnyAddress permits WithAddress an address that other machines can reach. The
// simulator is not hardened against untrusted clients.
func WithAnyAddress() Option { return func(o *options) { o.anyAddress = true } }

// WithTLS serves https and HTTP/2 with a generated certificate; see Server.CABundle.
func WithTLS() Option { return func(o *options) { o.tls = true } }

// WithClock uses now as the time of jobs, signatures, limits and the header Date.
// Latency and Response.Delay still use real time.
func WithClock(now func() time.Time) Option {
	return func(o *options) { o.now, o.dated = now, true }
}

// WithLatency delays every answer.
func WithLatency(d time.Duration) Option { return func(o *options) { o.latency = d } }

// WithErrorRate answers that fraction of the requests, between 0 and 1, with a 502 from
// the gateway. The same seed fails the same requests of a sequence.
func WithErrorRate(fraction float64, seed uint64) Option {
	return func(o *options) {
		o.errorRate, o.dice = fraction, rand.New(rand.NewPCG(seed, seed))
	}
}

// WithRateLimit answers 429 to requests of an access key, or of all tokens together,
// beyond perSecond requests in one second of the clock; 0 is no limit. The answer has a
// Retry-After header unless retryAfter is 0.
func WithRateLimit(perSecond int, retryAfter time.Duration) Option {
	return func(o *options) { o.ratePerSec, o.retryAfter = int64(perSecond), retryAfter }
}

// WithRequestLog keeps, per job, the times of its latest requests for
// Server.Log.
func WithRequestLog() Option { return func(o *options) { o.log = true } }

// WithStartOnRequest starts the timeline of a job without a Start at the first request
// for it, rather than when it is added. Lists show it from then on.
func WithStartOnRequest() Option { return func(o *options) { o.lazy = true } }
