// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// recreate replaces a connection by one with the same name and generation, as if a watch
// had missed the deletion.
func (c *cluster) recreate(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	object := c.connections[key(name)].DeepCopy()
	object.UID += types.UID("-anew")
	c.connections[key(name)] = object
	c.tell(key(name))
}

func TestReconfiguredConnection(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*operator){
		"of another project":        func(o *operator) { o.edit("a", func(s *v1alpha1.DLIConnectionSpec) { s.ProjectID = "b" }) },
		"of an object that is gone": func(o *operator) { o.recreate("a") },
	} {
		simulate(t, "does not believe a response "+name, func(o *operator) {
			t := o.T
			changed := false
			o.says(func(asked) answer {
				if changed {
					return running
				}
				return answer{took: 5 * time.Second, status: &dli.JobStatus{Status: "FAILED", State: dli.StateFailed}}
			})
			o.watch("a", 0, "job")
			o.run(time.Second)
			changed = true
			change(o)
			o.run(time.Minute)
			for _, s := range o.storedOf("job") {
				if s.Status == nil || s.Status.State != dli.StateRunning {
					t.Errorf("stored: %+v", s.Result)
				}
			}
			if len(o.storedOf("job")) == 0 {
				t.Error("nothing was stored")
			}
		})
	}
}

// A healthy job is polled soon after an endpoint answers again, whatever the others get,
// and the connection no longer blames the outage.
func TestHealthyJobAfterAnOutage(t *testing.T) {
	t.Parallel()
	for name, healthy := range map[string]int{"beside unreadable ones": 1, "without it": 0} {
		simulate(t, name, func(o *operator) {
			t := o.T
			refused := false
			o.says(func(a asked) answer {
				switch {
				case refused:
					return answer{took: time.Millisecond, err: &dli.Error{Kind: dli.KindUnreachable, Message: "connection refused"}}
				case a.job == "healthy0":
					return running
				}
				return answer{took: usual, err: &dli.Error{Kind: dli.KindInvalid, HTTPStatus: 200, Message: "a web page"}}
			})
			o.watch("a", 5*time.Second, names("healthy", healthy)...)
			o.watch("a", 5*time.Second, names("bad", 20)...)
			o.run(5 * time.Minute)
			o.set(func() { refused = true })
			o.run(30 * time.Second)
			o.set(func() { refused = false })
			back := time.Now()
			o.run(40 * time.Second)
			if h := o.health("a"); h.Reason == v1alpha1.ReasonCircuitOpen {
				t.Errorf("the connection still reports %+v", h)
			}
			if healthy == 0 {
				return
			}
			for _, a := range o.since(back) {
				if a.job == "healthy0" {
					if took := a.at.Sub(back); took > 31*time.Second {
						t.Errorf("it was polled after %v", took)
					}
					return
				}
			}
			t.Error("it was not polled")
		})
	}
}
