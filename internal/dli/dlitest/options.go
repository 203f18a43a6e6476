// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"math/rand/v2"
	"time"
)

type options struct {
	address string
	tls     bool
	now     func() time.Time
	// dated is set if now is not the machine's clock, which net/http would use for the
	// header Date.
	dated   bool
	latency time.Duration
	lazy    bool

	errorRate float64
	errorDice *rand.Rand
}

// Option configures NewServer.
type Option func(*options)

// WithAddress listens on a host:port instead of a free port of 127.0.0.1. The host must
// be a loopback address, because the simulator is not hardened against untrusted clients.
func WithAddress(address string) Option { return func(o *options) { o.address = address } }

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
// the gateway. The same requests of a sequence fail each time.
func WithErrorRate(fraction float64) Option {
	return func(o *options) { o.errorRate, o.errorDice = fraction, rand.New(rand.NewPCG(1, 1)) }
}

// WithStartOnRequest starts the timeline of a job without a Start at the first request
// for it, rather than when it is added. Lists show it from then on.
func WithStartOnRequest() Option { return func(o *options) { o.lazy = true } }
