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
	"context"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli"
)

// fault makes a request for a job fail.
func (c *circuit) fault(job string, f fault, admit Admit, began, at time.Time) {
	r := &Request{job: job, began: began}
	r.probe = c.begin(admit, began)
	c.end(r, evidence{fault: f, answered: true, why: &Failure{Message: "because"}}, at)
}

func TestCircuit(t *testing.T) {
	fresh := func() *circuit { return &circuit{probe: DefaultProbeInterval} }
	for name, test := range map[string]struct {
		fault fault
		jobs  []string
		want  bool
	}{
		"stays closed after four failures that no single job can cause": {certainFault, []string{"a", "a", "a", "a"}, false},
		"opens after five":                          {certainFault, []string{"a", "a", "a", "a", "a"}, true},
		"stays closed if one job may be the cause":  {likelyFault, []string{"a", "a", "a", "a", "a", "a", "a"}, false},
		"stays closed if two jobs may be the cause": {likelyFault, []string{"a", "b", "a", "b", "a", "b", "a"}, false},
		"opens after failures of three jobs":        {likelyFault, []string{"a", "b", "a", "b", "c"}, true},
		"stays closed for errors about jobs":        {noFault, []string{"a", "b", "c", "d", "e", "f"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := fresh()
			for _, job := range test.jobs {
				c.fault(job, test.fault, AdmitAll, noon, noon)
			}
			if c.open != test.want {
				t.Errorf("open: %v", c.open)
			}
		})
	}

	open := func(f fault) *circuit {
		c := fresh()
		for i := range circuitFailures {
			c.fault(fmt.Sprint(i), f, AdmitAll, noon, noon)
		}
		return c
	}
	probes := func(c *circuit, f fault, during time.Duration) (at []time.Duration) {
		for now := noon; now.Before(noon.Add(during)); now = now.Add(time.Second) {
			if s := c.decide(now); s.admit == AdmitProbe && !now.Before(s.sendAt) {
				at = append(at, now.Sub(noon)/time.Second)
				c.fault(fmt.Sprint("probe", now), f, AdmitProbe, now, now)
			}
		}
		return at
	}
	t.Run("is probed once per probe interval", func(t *testing.T) {
		if got := probes(open(certainFault), certainFault, 100*time.Second); !slices.Equal(got, []time.Duration{30, 60, 90}) {
			t.Errorf("after %v s", got)
		}
	})
	t.Run("is probed at growing intervals if jobs may be the cause", func(t *testing.T) {
		if got := probes(open(likelyFault), likelyFault, 100*time.Second); !slices.Equal(got, []time.Duration{1, 2, 4, 8, 16, 32, 62, 92}) {
			t.Errorf("after %v s", got)
		}
	})
	t.Run("has one probe at a time, and requests sent before it opened are not probes", func(t *testing.T) {
		c := open(likelyFault)
		late := &Request{job: "late", began: noon}
		c.begin(AdmitProbe, noon.Add(time.Second))
		step := c.step
		c.end(late, evidence{fault: likelyFault, answered: true, why: &Failure{}}, noon.Add(2*time.Second))
		if !c.probing || c.step != step {
			t.Errorf("the circuit is %+v", c)
		}
	})
	t.Run("polls other jobs if jobs may be the cause, but only some that succeeded before", func(t *testing.T) {
		c := open(likelyFault)
		looks := map[Admit]int{}
		for now := noon; now.Before(noon.Add(10 * time.Minute)); now = now.Add(100 * time.Millisecond) {
			if s := c.decide(now); s.admit != AdmitNone && !now.Before(s.sendAt) {
				looks[s.admit]++
				c.fault("other", likelyFault, s.admit, now, now)
			}
		}
		if looks[AdmitLook] != maxLooks || looks[AdmitFirstLook] < 1000 {
			t.Errorf("%v", looks)
		}
		if s := open(certainFault).decide(noon); s.admit != AdmitProbe {
			t.Errorf("a certain fault: %+v", s)
		}
	})
	t.Run("is closed by the first success, but not by an invalid response", func(t *testing.T) {
		c := open(certainFault)
		c.end(&Request{probe: true}, evidence{}, noon)
		if !c.open {
			t.Error("an invalid response closes it")
		}
		c.end(&Request{probe: true}, evidence{answered: true}, noon)
		if c.open || c.failures > 0 {
			t.Error("a success does not close it")
		}
	})
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		err  dli.Error
		want fault
	}{
		"a refused connection":      {dli.Error{Kind: dli.KindUnreachable, Err: syscall.ECONNREFUSED}, certainFault},
		"TLS":                       {dli.Error{Kind: dli.KindConfig}, certainFault},
		"no response in time":       {dli.Error{Kind: dli.KindUnreachable, Err: context.DeadlineExceeded}, likelyFault},
		"a truncated response":      {dli.Error{Kind: dli.KindUnreachable, Err: io.ErrUnexpectedEOF}, likelyFault},
		"a reset":                   {dli.Error{Kind: dli.KindUnreachable, Err: syscall.ECONNRESET}, likelyFault},
		"a bad gateway":             {dli.Error{Kind: dli.KindRetry, HTTPStatus: 502}, likelyFault},
		"a code of the gateway":     {dli.Error{Kind: dli.KindSlow, HTTPStatus: 503, Code: "APIGW.0201"}, likelyFault},
		"a code of DLI":             {dli.Error{Kind: dli.KindRetry, HTTPStatus: 500, Code: "DLI.10001"}, noFault},
		"garbage":                   {dli.Error{Kind: dli.KindInvalid, HTTPStatus: 200}, noFault},
		"a job that does not exist": {dli.Error{Kind: dli.KindNotFound, HTTPStatus: 404}, noFault},
		"wrong credentials":         {dli.Error{Kind: dli.KindAuth, HTTPStatus: 401}, noFault},
	} {
		if got := faultOf(&test.err); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
