// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli"
)

// What a request shows: the endpoint responded with an error, failed although a single job
// may be the cause, or failed and no job can be.
var (
	answered = &Failure{Message: "because"}
	suspect  = &Failure{Message: "because", Endpoint: true}
	certain  = &Failure{Message: "because", Endpoint: true, isCertain: true}
)

func TestCircuit(t *testing.T) {
	done := func(c *circuit, job string, failure *Failure, now time.Time) {
		c.requestSent(now)
		c.requestDone(job, failure, now, now)
	}
	for name, test := range map[string]struct {
		failure *Failure
		jobs    []string
		want    bool
	}{
		"stays closed after four failures that no single job can cause": {certain, []string{"a", "a", "a", "a"}, false},
		"opens after five":                          {certain, []string{"a", "a", "a", "a", "a"}, true},
		"stays closed if one job may be the cause":  {suspect, []string{"a", "a", "a", "a", "a", "a", "a"}, false},
		"stays closed if two jobs may be the cause": {suspect, []string{"a", "b", "a", "b", "a", "b", "a"}, false},
		"opens after failures of three jobs":        {suspect, []string{"a", "b", "a", "b", "c"}, true},
		"stays closed for errors about jobs":        {answered, []string{"a", "b", "c", "d", "e", "f"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &circuit{probe: DefaultProbeInterval}
			for _, job := range test.jobs {
				done(c, job, test.failure, noon)
			}
			if c.isOpen != test.want {
				t.Errorf("open: %v", c.isOpen)
			}
		})
	}

	open := func(failure *Failure) *circuit {
		c := &circuit{probe: DefaultProbeInterval}
		for i := range circuitFailures {
			done(c, fmt.Sprint(i), failure, noon)
		}
		return c
	}
	probes := func(c *circuit, failure *Failure, during time.Duration) (at []time.Duration) {
		for now := noon; now.Before(noon.Add(during)); now = now.Add(500 * time.Millisecond) {
			if may(c, now) {
				at = append(at, now.Sub(noon)/time.Second)
				done(c, fmt.Sprint("probe", now), failure, now)
			}
		}
		return at
	}
	t.Run("is probed once per probe interval", func(t *testing.T) {
		if got := probes(open(certain), certain, 100*time.Second); !slices.Equal(got, []time.Duration{30, 60, 90}) {
			t.Errorf("after %v s", got)
		}
	})
	t.Run("is probed an interval after the start of the last request, not after its timeout", func(t *testing.T) {
		c := &circuit{probe: DefaultProbeInterval}
		for range circuitFailures {
			c.requestDone("job", certain, noon, noon.Add(requestTimeout))
		}
		if d := c.decisionAt(noon.Add(requestTimeout)); d.RecheckAt.Sub(noon) != DefaultProbeInterval {
			t.Errorf("it decides %+v", d)
		}
	})
	t.Run("is probed every second while a job may be the cause", func(t *testing.T) {
		if got := probes(open(suspect), suspect, 100*time.Second); len(got) != 99 {
			t.Errorf("after %v s", got)
		}
	})
	t.Run("is probed again although a probe hangs", func(t *testing.T) {
		c := open(suspect)
		c.requestSent(noon.Add(time.Second))
		if may(c, noon.Add(1500*time.Millisecond)) || !may(c, noon.Add(2*time.Second)) {
			t.Error("the interval does not count from the start of the last probe")
		}
	})
	t.Run("is closed by any response of the endpoint", func(t *testing.T) {
		for name, err := range map[string]*dli.Error{
			"a status": nil, "an error of DLI": {Kind: dli.KindRetry, HTTPStatus: 500, Code: "DLI.10001"},
			"not a status": {Kind: dli.KindInvalid, HTTPStatus: 200}, "a throttled request": {Kind: dli.KindThrottle, HTTPStatus: 429},
		} {
			c := open(certain)
			c.requestDone("job", failureOf(err, "c"), noon, noon)
			if c.isOpen || c.failures > 0 {
				t.Errorf("%s does not close it", name)
			}
		}
	})
	t.Run("has the cause of the latest response", func(t *testing.T) {
		c := open(certain)
		c.requestDone("job", failureOf(&dli.Error{Kind: dli.KindRetry, HTTPStatus: 502, Message: "bad gateway"}, "c"), noon, noon)
		if d := c.decisionAt(noon); !strings.Contains(d.health.Message, "bad gateway") || d.RecheckAt.Sub(noon) != time.Second {
			t.Errorf("it decides %+v", d)
		}
	})
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		err  dli.Error
		want *Failure
	}{
		"a refused connection":      {dli.Error{Kind: dli.KindUnreachable, Err: syscall.ECONNREFUSED}, certain},
		"TLS":                       {dli.Error{Kind: dli.KindConfig}, certain},
		"no response in time":       {dli.Error{Kind: dli.KindUnreachable, Err: context.DeadlineExceeded}, suspect},
		"a truncated response":      {dli.Error{Kind: dli.KindUnreachable, Err: io.ErrUnexpectedEOF}, suspect},
		"a reset":                   {dli.Error{Kind: dli.KindUnreachable, Err: syscall.ECONNRESET}, suspect},
		"a bad gateway":             {dli.Error{Kind: dli.KindRetry, HTTPStatus: 502}, suspect},
		"a code of the gateway":     {dli.Error{Kind: dli.KindSlow, HTTPStatus: 503, Code: "APIGW.0201"}, suspect},
		"a code of DLI":             {dli.Error{Kind: dli.KindRetry, HTTPStatus: 500, Code: "DLI.10001"}, answered},
		"garbage":                   {dli.Error{Kind: dli.KindInvalid, HTTPStatus: 200}, answered},
		"a job that does not exist": {dli.Error{Kind: dli.KindNotFound, HTTPStatus: 404}, answered},
		"wrong credentials":         {dli.Error{Kind: dli.KindAuth, HTTPStatus: 401}, answered},
	} {
		if got := failureOf(&test.err, "c"); got.Endpoint != test.want.Endpoint || got.isCertain != test.want.isCertain {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
