// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

func rejecting(asked) answer {
	return answer{took: usual, err: &dli.Error{Kind: dli.KindAuth, HTTPStatus: 401}}
}

// A key that is revoked while requests are in flight is tried at most five times in any five
// minutes: after that, DLI locks it for all its users.
func TestRevokedKey(t *testing.T) {
	t.Parallel()
	for range 3 { // in a different order each time
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, newCluster(), 0)
			revoked := time.Now().Add(time.Minute)
			o.says(func(a asked) answer {
				said := running
				if !a.at.Before(revoked) {
					said = rejecting(a)
				}
				said.took = time.Duration(rand.Int64N(int64(300 * time.Millisecond)))
				return said
			})
			o.watch("a", 5*time.Second, names("job", 1000)...)
			o.run(10 * time.Minute)
			rejected := slices.DeleteFunc(o.since(time.Time{}), func(a asked) bool { return !a.rejected })
			if got := most(rejected, 5*time.Minute); got > 5 {
				t.Errorf("%d requests within five minutes were rejected", got)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	simulate(t, "that are new are used immediately, without a stampede", func(o *operator) {
		t := o.T
		o.says(func(a asked) answer {
			if a.creds.AccessKeyID == "AK" {
				return rejecting(a)
			}
			return running
		})
		o.watch("a", 5*time.Second, names("job", 1000)...)
		o.run(10 * time.Minute)
		rotated := time.Now()
		o.rotate("NEW")
		o.run(2 * time.Minute)

		if first := o.firstAfter(rotated); first > 30*time.Second {
			t.Errorf("the new key was first used after %v", first)
		}
		used := o.reads[slices.IndexFunc(o.reads, func(at time.Time) bool { return at.After(rotated) })]
		if took := o.allAfter(used); took > time.Minute {
			t.Errorf("it took %v until all jobs were polled", took)
		}
		if got := most(o.since(rotated), time.Second); got > 40 {
			t.Errorf("%d requests within a second, want at most rate plus burst, 40", got)
		}
		if h := o.health("a"); h.Reason != v1alpha1.ReasonConnected {
			t.Errorf("the connection reports %+v", h)
		}
	})

	simulate(t, "that are rotated are read within a minute, without a failure", func(o *operator) {
		t := o.T
		o.watch("a", 5*time.Second, names("job", 1000)...)
		o.run(4 * time.Minute)
		for i := 1; i < len(o.reads); i++ {
			if gap := o.reads[i].Sub(o.reads[i-1]); gap > time.Minute || gap < 20*time.Second {
				t.Errorf("%v between two reads", gap)
			}
		}
		rotated := time.Now()
		o.rotate("NEW")
		o.run(time.Minute)
		longest, last := time.Duration(0), rotated
		asks := o.since(rotated)
		for _, a := range asks {
			longest, last = max(longest, a.at.Sub(last)), a.at
		}
		if key := asks[len(asks)-1].creds.AccessKeyID; key != "NEW" {
			t.Errorf("%q is still in use after a minute", key)
		}
		if longest > 200*time.Millisecond {
			t.Errorf("no request for %v, want no gap", longest)
		}
	})

	t.Run("that another connection tries first are used once they are accepted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			c.edit("b", nil)
			o := newOperator(t, c, 0)
			o.reconcile("b")
			slow := running
			slow.took = 900 * time.Millisecond
			o.says(func(asked) answer { return slow })
			o.watch("a", 5*time.Second, "first")
			o.run(10 * time.Millisecond)
			came := time.Now()
			o.watch("b", 5*time.Second, "second")
			o.run(10 * time.Second)
			if first := o.firstAfter(came); first > 2*time.Second {
				t.Errorf("the other connection sent its first request after %v", first)
			}
		})
	})
}
