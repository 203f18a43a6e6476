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

// A wrong key is tried at most five times in any five minutes: after that, DLI locks it for
// all its users.
func TestLockout(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, o ...*operator) {
		t.Helper()
		var asks []asked
		for _, o := range o {
			asks = append(asks, o.since(time.Time{})...)
		}
		slices.SortFunc(asks, func(a, b asked) int { return a.at.Compare(b.at) })
		if got := most(asks, 5*time.Minute); got > 5 {
			t.Errorf("%d requests with the key within five minutes", got)
		}
		t.Logf("%d requests, at most %d in five minutes", len(asks), most(asks, 5*time.Minute))
	}

	t.Run("by a thousand jobs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, newCluster(), 0)
			o.says(rejecting)
			o.watch("a", 5*time.Second, names("job", 1000)...)
			o.run(3 * time.Hour)
			check(t, o)
			if len(o.asks) < 3*33 {
				t.Errorf("%d requests in three hours, want almost one in 100 s", len(o.asks))
			}
			if h := o.health("a"); h.Reason != v1alpha1.ReasonCredentialsRejected {
				t.Errorf("the connection reports %+v", h)
			}
			if len(o.stored) != 1000 {
				t.Errorf("%d jobs report it", len(o.stored))
			}
		})
	})

	t.Run("even if the endpoint fails sometimes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, newCluster(), 0)
			n := 0
			o.says(func(asked) answer {
				n++
				if n > 1 && n%2 == 0 {
					return answer{took: time.Second, err: &dli.Error{Kind: dli.KindRetry, HTTPStatus: 502}}
				}
				return answer{took: time.Second, err: &dli.Error{Kind: dli.KindAuth}}
			})
			o.watch("a", 5*time.Second, names("job", 100)...)
			o.run(time.Hour)
			check(t, o)
		})
	})

	t.Run("even if responses are slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, newCluster(), 0)
			o.says(always(dli.Error{Kind: dli.KindAuth, HTTPStatus: 401}, 9*time.Second))
			o.watch("a", 5*time.Second, names("job", 100)...)
			o.run(time.Hour)
			check(t, o)
		})
	})

	t.Run("by two operators together", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			a, b := newOperator(t, c, 0), newOperator(t, c, 0)
			good := time.Now().Add(time.Hour)
			for _, o := range []*operator{a, b} {
				o.says(func(ask asked) answer {
					said := running
					if ask.at.Before(good) {
						said = rejecting(ask)
					}
					said.took += time.Duration(rand.Int64N(int64(usual))) // never two at the same time
					return said
				})
				o.watch("a", 5*time.Second, names("job", 20)...)
			}
			a.run(time.Hour)
			check(t, a, b)
			if n, m := len(a.since(time.Time{})), len(b.since(time.Time{})); n == 0 || m == 0 {
				t.Errorf("one sent %d requests and the other %d", n, m)
			}
			c.mu.Lock()
			c.writes = 0
			c.mu.Unlock()
			a.run(6 * time.Minute)
			for _, o := range []*operator{a, b} {
				if h := o.health("a"); !h.Ready {
					t.Errorf("once the key is accepted, the connection reports %+v", h)
				}
			}
			if c.writes > 4 {
				t.Errorf("%d writes: they overwrite each other", c.writes)
			}
		})
	})

	t.Run("that is revoked with requests in flight", func(t *testing.T) {
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
	})
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	t.Run("that are new are used immediately, without a stampede", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, newCluster(), 0)
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
	})

	t.Run("that are rotated are read within a minute, without a failure", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, newCluster(), 0)
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
