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

package controllers

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// crowd is many jobs of one connection, which do what the reconciler of a job
// does, in the time of a synctest bubble: an hour of them takes a moment.
type crowd struct {
	*testing.T
	*connection
	source *wallet
	jobs   []*member
	agenda *agenda
	answer func(n int) (took time.Duration, said outcome)
	// asked is when requests began, and rejectedAt those of them that were
	// answered with a rejection of the credentials.
	asked, rejectedAt []time.Time
	refreshes         int
}

// member is a job of a crowd.
type member struct {
	interval time.Duration
	turn     turn
	due      time.Time
	held     bool
	heldAt   uint64
	failures int
	gone     bool
	asked    []time.Time
}

// wallet is a source of credentials that counts how often it is asked.
type wallet struct {
	creds   dli.Credentials
	life    time.Duration
	why     *failure
	fetches []time.Time
}

func (w *wallet) fetch(context.Context) (dli.Credentials, time.Time, *failure, error) {
	now := time.Now()
	w.fetches = append(w.fetches, now)
	if w.why != nil || w.life == 0 {
		return w.creds, time.Time{}, w.why, nil
	}
	return w.creds, now.Add(w.life), nil, nil
}

// connectionsForTest are connections without an API server.
func connectionsForTest() *Connections {
	connections := &Connections{
		Options: ConnectionOptions{AllowInsecure: true},
		News:    &News{},
		Clock:   clock.RealClock{},
	}
	var err error
	connections.Metrics, err = NewMetrics(prometheus.NewRegistry(), "", nil, connections)
	must(err)
	return connections
}

func connectionObject(name string, limit v1alpha1.RateLimit) *v1alpha1.DLIConnection {
	return &v1alpha1.DLIConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: types.UID(name), Generation: 1},
		Spec: v1alpha1.DLIConnectionSpec{
			Endpoint:    "http://127.0.0.1:1",
			ProjectID:   "p",
			Credentials: v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "s"}},
			RateLimit:   limit,
		},
	}
}

var usualLimit = v1alpha1.RateLimit{RequestsPerSecond: 20, Burst: 20}

// newCrowd gathers n jobs that come at once and are polled every interval.
func newCrowd(t *testing.T, connections *Connections, name string, limit v1alpha1.RateLimit, n int, interval time.Duration) *crowd {
	t.Helper()
	conn, _ := connections.openedOrBuilt(connectionObject(name, limit))
	c := &crowd{T: t, connection: conn, agenda: &agenda{}, source: &wallet{creds: dli.Credentials{AccessKeyID: "AK", SecretAccessKey: "SK"}}, answer: good}
	conn.source = c.source
	conn.changed = func(_ context.Context, _ types.NamespacedName, woken bool) {
		c.schedule(time.Now(), func() { c.reconcile() })
		if woken {
			c.wake()
		}
	}
	for range n {
		c.join(interval)
	}
	c.schedule(time.Now(), func() { c.reconcile() })
	return c
}

func (c *crowd) join(interval time.Duration) *member {
	j := &member{interval: interval}
	c.jobs = append(c.jobs, j)
	c.comeBack(j, 0)
	return j
}

// leave has a job deleted or suspended.
func (c *crowd) leave(j *member) {
	j.gone = true
	j.turn.leave(time.Now())
}

// reconcile is what the connection's reconciler does.
func (c *crowd) reconcile() {
	next, err := c.refresh(context.Background(), time.Now())
	if err != nil {
		c.Fatal(err)
	}
	c.refreshes++
	if due := c.refreshes; next > 0 {
		c.schedule(time.Now().Add(next), func() {
			if due == c.refreshes {
				c.reconcile()
			}
		})
	}
}

func (c *crowd) wake() {
	for _, j := range c.jobs {
		if j.held && !j.gone {
			c.comeBack(j, 0)
		}
	}
}

func (c *crowd) comeBack(j *member, wait time.Duration) {
	j.due = time.Now().Add(wait)
	due := j.due
	c.schedule(due, func() {
		if j.due.Equal(due) && !j.gone {
			c.poll(j)
		}
	})
}

// poll is what the reconciler of a job does with its connection.
func (c *crowd) poll(j *member) {
	now := time.Now()
	if j.held && j.heldAt == c.state() && now.Before(j.due) {
		return
	}
	state := c.state()
	a := c.admit(now, &j.turn)
	if !a.granted {
		j.held, j.heldAt = a.held, state
		c.comeBack(j, a.wait)
		return
	}
	j.due = time.Time{} // it is on its way
	j.asked = append(j.asked, now)
	c.asked = append(c.asked, now)
	took, said := c.answer(len(c.asked))
	if said.verified == rejected {
		c.rejectedAt = append(c.rejectedAt, now)
	}
	c.schedule(now.Add(took), func() { c.answered(j, a, now, said, state) })
}

func (c *crowd) answered(j *member, a admission, began time.Time, said outcome, state uint64) {
	now := time.Now()
	c.finish(context.Background(), began, now, a, said)
	j.held, j.failures = false, j.failures+1
	if said.why == nil {
		j.failures = 0
		c.comeBack(j, spread(j.interval, jitter()))
		return
	}
	wait, held := c.afterFailure(now, DefaultSchedule().retry(said.why, streak{Failures: j.failures}, now, jitter()))
	j.held, j.heldAt = held, state
	c.comeBack(j, wait)
	if held && c.state() != state {
		c.comeBack(j, 0)
	}
}

// run lets a time pass.
func (c *crowd) run(d time.Duration) {
	end := time.Now().Add(d)
	for len(*c.agenda) > 0 && !(*c.agenda)[0].at.After(end) {
		next := heap.Pop(c.agenda).(*happening)
		time.Sleep(time.Until(next.at)) //nolint:forbidigo // in the bubble: no time at all
		next.do()
	}
	time.Sleep(time.Until(end)) //nolint:forbidigo // in the bubble: no time at all
}

func (c *crowd) schedule(at time.Time, do func()) {
	heap.Push(c.agenda, &happening{at: at, order: rand.Int(), do: do})
}

type happening struct {
	at    time.Time
	order int // of what happens at one time: any
	do    func()
}

type agenda []*happening

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if !a[i].at.Equal(a[j].at) {
		return a[i].at.Before(a[j].at)
	}
	return a[i].order < a[j].order
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(*happening)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// The answers of DLI.

func good(int) (time.Duration, outcome) { return 50 * time.Millisecond, outcome{verified: accepted} }

func always(kind dli.Kind, took time.Duration) func(int) (time.Duration, outcome) {
	return func(int) (time.Duration, outcome) { return took, failed(&dli.Error{Kind: kind}) }
}

func failed(err *dli.Error) outcome {
	return outcome{why: explain(err, "DLIConnection team/a"), verified: verify(err), fault: faultOf(err)}
}

// most is the largest number of times within any window.
func most(times []time.Time, window time.Duration) (count int) {
	from := 0
	for i := range times {
		for times[i].Sub(times[from]) >= window {
			from++
		}
		count = max(count, i-from+1)
	}
	return count
}

// since returns the times that are not before a time.
func since(times []time.Time, from time.Time) []time.Time {
	i, _ := slices.BinarySearchFunc(times, from, time.Time.Compare)
	return times[i:]
}

// firstBy returns how long after a time it took until anybody asked.
func (c *crowd) firstBy(from time.Time) time.Duration {
	c.Helper()
	times := since(c.asked, from)
	if len(times) == 0 {
		c.Fatal("nobody has asked since")
	}
	return times[0].Sub(from)
}

// everyoneBy returns how long after a time it took until every job had asked.
func (c *crowd) everyoneBy(from time.Time) time.Duration {
	c.Helper()
	var last time.Duration
	for i, j := range c.jobs {
		times := since(j.asked, from)
		if len(times) == 0 && !j.gone {
			c.Fatalf("job %d has not asked since", i)
		}
		if !j.gone {
			last = max(last, times[0].Sub(from))
		}
	}
	return last
}

func TestAWrongKeyIsTriedAtMostFiveTimesInFiveMinutes(t *testing.T) {
	for name, n := range map[string]int{"by one job": 1, "by a thousand jobs": 1000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, connectionsForTest(), "a", usualLimit, n, 5*time.Second)
				c.answer = always(dli.KindAuth, 50*time.Millisecond)
				c.run(3 * time.Hour)
				if got := most(c.asked, 5*time.Minute); got > 5 {
					t.Errorf("%d requests within five minutes carry the key", got)
				}
				if len(c.asked) < 3*50 {
					t.Errorf("%d requests in three hours, want nearly one a minute", len(c.asked))
				}
				if h := c.healthAt(time.Now()); h.reason != v1alpha1.ReasonCredentialsRejected {
					t.Errorf("the connection says %+v", h)
				}
				t.Logf("%d requests in three hours, at most %d in five minutes", len(c.asked), most(c.asked, 5*time.Minute))
			})
		})
	}
}

func TestAWrongKeyIsTriedAtMostFiveTimesInFiveMinutesAlsoIfTheEndpointStumbles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 100, 5*time.Second)
		c.answer = func(n int) (time.Duration, outcome) {
			if n > 1 && n%2 == 0 {
				return time.Second, failed(&dli.Error{Kind: dli.KindRetry, HTTPStatus: 502})
			}
			return time.Second, failed(&dli.Error{Kind: dli.KindAuth})
		}
		c.run(time.Hour)
		if got := most(c.asked, 5*time.Minute); got > 5 {
			t.Errorf("%d requests within five minutes carry the key", got)
		}
	})
}

func TestAKeyThatIsRevokedWithRequestsInFlightIsTriedAtMostFiveTimesInFiveMinutes(t *testing.T) {
	for range 5 { // in another order each time
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, connectionsForTest(), "a", usualLimit, 1000, 5*time.Second)
			revoked := time.Now().Add(time.Minute)
			c.answer = func(int) (time.Duration, outcome) {
				took := time.Duration(rand.Int64N(int64(300 * time.Millisecond)))
				if time.Now().Before(revoked) {
					return took, outcome{verified: accepted}
				}
				return took, failed(&dli.Error{Kind: dli.KindAuth})
			}
			c.run(20 * time.Minute)
			if got := most(c.rejectedAt, 5*time.Minute); got > 5 {
				t.Errorf("%d requests within five minutes were rejected", got)
			}
		})
	}
}

func TestTwoConnectionsWithOneWrongKeyShareTheFiveAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connections := connectionsForTest()
		a := newCrowd(t, connections, "a", usualLimit, 100, 5*time.Second)
		b := newCrowd(t, connections, "b", usualLimit, 100, 5*time.Second)
		for _, next := range *b.agenda {
			heap.Push(a.agenda, next)
		}
		b.agenda = a.agenda
		a.answer = always(dli.KindAuth, 50*time.Millisecond)
		b.answer = a.answer
		a.run(time.Hour) // and b with it
		asked := append(slices.Clone(a.asked), b.asked...)
		slices.SortFunc(asked, time.Time.Compare)
		if got := most(asked, 5*time.Minute); got > 5 {
			t.Errorf("%d requests within five minutes carry the key", got)
		}
		if len(a.asked) == 0 || len(b.asked) == 0 {
			t.Errorf("a asked %d times and b %d times", len(a.asked), len(b.asked))
		}
	})
}

func TestNewCredentialsEndAHoldAtOnceAndWithoutAStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 1000, 5*time.Second)
		c.answer = func(int) (time.Duration, outcome) {
			if c.source.creds.AccessKeyID == "AK" {
				return 50 * time.Millisecond, failed(&dli.Error{Kind: dli.KindAuth})
			}
			return good(0)
		}
		c.run(10 * time.Minute)
		rotated := time.Now()
		c.source.creds = dli.Credentials{AccessKeyID: "NEW", SecretAccessKey: "SK"}
		c.run(2 * time.Minute)

		if first := c.firstBy(rotated); first > 30*time.Second {
			t.Errorf("the new key was first used after %v", first)
		}
		used := c.source.fetches[slices.IndexFunc(c.source.fetches, func(at time.Time) bool { return at.After(rotated) })]
		if took := c.everyoneBy(used); took > 60*time.Second {
			t.Errorf("it took %v until all jobs were polled", took)
		}
		if got := most(since(c.asked, rotated), time.Second); got > 40 {
			t.Errorf("%d requests within a second, want at most rate and burst, 40", got)
		}
		if h := c.healthAt(time.Now()); h.reason != v1alpha1.ReasonConnected {
			t.Errorf("the connection says %+v", h)
		}
		t.Logf("first request %v after the rotation, everyone %v after the Secret was read, at most %d in a second",
			c.firstBy(rotated), c.everyoneBy(used), most(since(c.asked, rotated), time.Second))
	})
}

func TestADeadEndpointIsProbedOnceInAWhileAndComesBackWithoutAStampede(t *testing.T) {
	for name, dead := range map[string]func(int) (time.Duration, outcome){
		"that refuses connections": always(dli.KindUnreachable, time.Millisecond),
		"that never answers":       always(dli.KindUnreachable, requestTimeout),
		"that is a captive portal": always(dli.KindInvalid, 50*time.Millisecond),
		"that answers HTTP 502":    always(dli.KindRetry, 50*time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, connectionsForTest(), "a", usualLimit, 1000, 5*time.Second)
				c.run(2 * time.Minute)
				c.answer = dead
				c.run(2 * time.Minute)
				open := time.Now()
				c.run(20 * time.Minute)
				probes := since(c.asked, open)
				if got := most(probes, 29*time.Second); got > 1 {
					t.Errorf("%d requests within 29 s", got)
				}
				if len(probes) < 36 {
					t.Errorf("%d probes in twenty minutes, want nearly 40", len(probes))
				}
				if h := c.healthAt(time.Now()); h.reason != v1alpha1.ReasonCircuitOpen {
					t.Errorf("the connection says %+v", h)
				}

				back := time.Now()
				c.answer = good
				c.run(3 * time.Minute)
				first := back.Add(c.firstBy(back))
				if first.Sub(back) > 31*time.Second {
					t.Errorf("the first request came %v after the endpoint had come back", first.Sub(back))
				}
				if took := c.everyoneBy(first); took > time.Minute {
					t.Errorf("it took %v until all jobs were polled", took)
				}
				if got := most(since(c.asked, back), time.Second); got > 40 {
					t.Errorf("%d requests within a second, want at most rate and burst, 40", got)
				}
				t.Logf("%d probes in twenty minutes; first request %v after recovery, everyone %v later, at most %d in a second",
					len(probes), first.Sub(back), c.everyoneBy(first), most(since(c.asked, back), time.Second))
			})
		})
	}
}

func TestAnEndpointIsProbedAlsoWhenTheJobsAreGoneThatWereToDoIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 200, 5*time.Second)
		c.answer = always(dli.KindUnreachable, time.Millisecond)
		c.run(8 * time.Minute)
		for _, j := range c.jobs {
			if time.Until(j.due) < time.Minute {
				c.leave(j)
			}
		}
		c.answer = good
		back := time.Now()
		c.run(2 * time.Minute)
		if first := c.firstBy(back); first > time.Minute {
			t.Errorf("the endpoint was first asked after %v", first)
		}
		c.everyoneBy(back)
	})
}

func TestAThrottledConnectionRestsAsLongAsItIsToldAndReturnsToItsRate(t *testing.T) {
	for name, test := range map[string]struct{ told, rests time.Duration }{
		"with a hint":          {7 * time.Second, 7 * time.Second},
		"without a hint":       {0, throttleRetry},
		"with an unusual hint": {24 * time.Hour, pauseMax},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, connectionsForTest(), "a", usualLimit, 1000, 5*time.Second)
				c.run(2 * time.Minute)
				throttled := time.Now()
				c.answer = throttling(test.told)
				c.run(time.Second)
				c.answer = good
				c.run(test.rests + 2*time.Minute)

				during := since(c.asked, throttled)
				resumed := slices.IndexFunc(during, func(at time.Time) bool { return at.Sub(throttled) > time.Second })
				if rest := during[resumed].Sub(during[resumed-1]); rest < test.rests || rest > test.rests+time.Second {
					t.Errorf("rested for %v, want %v", rest, test.rests)
				}
				if resumed > c.places+1 {
					t.Errorf("%d requests while it was throttled", resumed)
				}
				lastMinute := since(c.asked, time.Now().Add(-time.Minute))
				if got := len(lastMinute); got < 60*20*95/100 {
					t.Errorf("%d requests in a minute after, want the full rate, 1200", got)
				}
				if got := most(since(c.asked, throttled), time.Second); got > 40 {
					t.Errorf("%d requests within a second, want at most rate and burst, 40", got)
				}
				if h := c.healthAt(time.Now()); h.reason != v1alpha1.ReasonConnected {
					t.Errorf("the connection says %+v", h)
				}
			})
		})
	}
}

func throttling(told time.Duration) func(int) (time.Duration, outcome) {
	return func(int) (time.Duration, outcome) {
		return 50 * time.Millisecond, failed(&dli.Error{Kind: dli.KindThrottle, HTTPStatus: 429, RetryAfter: told})
	}
}

func TestAConnectionThatIsThrottledAgainAndAgainSaysSoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 1000, 5*time.Second)
		c.answer = func(n int) (time.Duration, outcome) {
			if n%10 == 0 {
				return throttling(time.Second)(n)
			}
			return good(n)
		}
		c.run(time.Minute)
		changes, last := 0, c.healthAt(time.Now())
		for range 600 {
			c.run(time.Second)
			if h := c.healthAt(time.Now()); h != last {
				changes, last = changes+1, h
			}
		}
		if changes > 0 || last.reason != v1alpha1.ReasonRateLimited {
			t.Errorf("%d changes in ten minutes, now %+v", changes, last)
		}
	})
}

func TestTheRateIsSharedFairly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A thousand jobs want 200 requests a second and get 20.
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 1000, 5*time.Second)
		settled := time.Now().Add(5 * time.Minute)
		c.run(30 * time.Minute)
		shortest, longest := time.Hour, time.Duration(0)
		for _, j := range c.jobs {
			times := since(j.asked, settled)
			for i := 1; i < len(times); i++ {
				gap := times[i].Sub(times[i-1])
				shortest, longest = min(shortest, gap), max(longest, gap)
			}
		}
		if ratio := float64(longest) / float64(shortest); ratio > 1.2 {
			t.Errorf("the longest wait, %v, is %.2f times the shortest, %v", longest, ratio, shortest)
		}
		if rate := float64(len(since(c.asked, settled))) / (25 * 60); rate < 19.9 || rate > 20.1 {
			t.Errorf("%.2f requests a second, want 20", rate)
		}
		t.Logf("waits from %v to %v: ratio %.3f", shortest, longest, float64(longest)/float64(shortest))
	})
}

func TestAStallDoesNotEndInAStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 1000, 5*time.Second)
		c.run(2 * time.Minute)
		time.Sleep(30 * time.Second) //nolint:forbidigo // in the bubble: nobody works, as when the API server hangs
		resumed := time.Now()
		c.run(2 * time.Minute)
		if got := most(since(c.asked, resumed), time.Second); got > 40 {
			t.Errorf("%d requests within a second, want at most rate and burst, 40", got)
		}
		if took := c.everyoneBy(resumed); took > 90*time.Second {
			t.Errorf("it took %v until all jobs were polled", took)
		}
	})
}

func TestThoseWhoStayDoNotWaitForThoseWhoLeaveTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 20000, 5*time.Second)
		c.run(10 * time.Second)
		for i, j := range c.jobs {
			if i%1000 != 0 {
				c.leave(j)
			}
		}
		left := time.Now()
		fresh := c.join(5 * time.Second)
		c.run(2 * time.Minute)
		if waited := fresh.asked[0].Sub(left); waited > 2*time.Second {
			t.Errorf("a new job waited %v, though nobody was before it", waited)
		}
		if took := c.everyoneBy(left); took > lineCheck+5*time.Second {
			t.Errorf("it took %v until the others were polled", took)
		}
		if got := most(since(c.asked, left), time.Second); got > 40 {
			t.Errorf("%d requests within a second, want at most rate and burst, 40", got)
		}
	})
}

func TestASlowEndpointHasItsPlacesAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 500, 5*time.Second)
		slow := true
		inFlight := 0
		c.answer = func(int) (time.Duration, outcome) {
			inFlight = max(inFlight, c.inFlight)
			if slow {
				return 9 * time.Second, outcome{verified: accepted}
			}
			return good(0)
		}
		c.run(10 * time.Minute)
		if inFlight != 4 {
			t.Errorf("%d requests in flight, want 4", inFlight)
		}
		slow = false
		quick := time.Now()
		c.run(2 * time.Minute)
		if took := c.everyoneBy(quick); took > time.Minute {
			t.Errorf("it took %v until all jobs were polled once the endpoint was quick again", took)
		}
	})
}

func TestConnectionsThatHangLeaveWorkersForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connections := connectionsForTest()
		connections.workers.total = 20
		var taken []int
		for i := range 5 {
			conn, _ := connections.openedOrBuilt(connectionObject(fmt.Sprint(i), v1alpha1.RateLimit{RequestsPerSecond: 1000, Burst: 1000}))
			conn.source = &wallet{creds: dli.Credentials{Token: fmt.Sprint(i)}}
			if _, err := conn.refresh(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
			a := conn.admit(time.Now(), &turn{}) // that is answered, and proves the credentials
			conn.finish(t.Context(), time.Now(), time.Now(), a, outcome{verified: accepted})
			for conn.admit(time.Now(), &turn{}).granted {
			}
			taken = append(taken, conn.inFlight)
		}
		if want := []int{10, 5, 3, 1, 1}; !slices.Equal(taken, want) {
			t.Errorf("connections that hang, one after the other, take %v of 20 workers, want %v", taken, want)
		}
	})
}

func TestTemporaryCredentialsAreRenewedInTimeAndNeverPerRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 4, 5*time.Second)
		c.source.life = time.Hour
		c.run(12 * time.Hour)
		if n := len(c.source.fetches); n < 12 || n > 16 {
			t.Errorf("%d fetches in twelve hours of keys that live one", n)
		}
		for i := 1; i < len(c.source.fetches); i++ {
			if left := time.Hour - c.source.fetches[i].Sub(c.source.fetches[i-1]); left < 11*time.Minute || left > 13*time.Minute {
				t.Errorf("renewed with %v to go, want a fifth of its life", left)
			}
		}
		t.Logf("%d fetches for %d requests", len(c.source.fetches), len(c.asked))
	})
}

func TestTemporaryCredentialsAreUsedUntilTheyEndIfNoneCanBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 10, 5*time.Second)
		c.source.life = time.Hour
		c.run(time.Minute)
		c.source.why = failf(v1alpha1.ReasonCredentialsRejected, "no identity")
		c.run(58 * time.Minute)
		if got := len(since(c.asked, time.Now().Add(-time.Minute))); got < 100 {
			t.Errorf("%d requests in the last minute of the credentials' life", got)
		}
		c.run(2 * time.Minute)
		ended := time.Now()
		c.run(10 * time.Minute)
		if got := len(since(c.asked, ended)); got != 0 {
			t.Errorf("%d requests with expired credentials", got)
		}
		if h := c.healthAt(time.Now()); h.reason != v1alpha1.ReasonCredentialsRejected {
			t.Errorf("the connection says %+v", h)
		}
		c.source.why = nil
		healed := time.Now()
		c.run(time.Minute)
		if took := c.everyoneBy(healed); took > 30*time.Second {
			t.Errorf("it took %v until all jobs were polled again", took)
		}
	})
}

func TestARotatedSecretIsReadWithinAMinuteAndNobodyNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, connectionsForTest(), "a", usualLimit, 1000, 5*time.Second)
		c.run(10 * time.Minute)
		for i := 1; i < len(c.source.fetches); i++ {
			if gap := c.source.fetches[i].Sub(c.source.fetches[i-1]); gap > time.Minute || gap < 20*time.Second {
				t.Errorf("%v between two reads", gap)
			}
		}
		rotated := time.Now()
		c.source.creds = dli.Credentials{AccessKeyID: "NEW", SecretAccessKey: "SK"}
		c.run(time.Minute)
		if c.credentials.creds != c.source.creds {
			t.Error("the old key is still in use after a minute")
		}
		longest, last := time.Duration(0), rotated
		for _, at := range since(c.asked, rotated) {
			longest, last = max(longest, at.Sub(last)), at
		}
		if longest > 200*time.Millisecond {
			t.Errorf("no request for %v, want no gap", longest)
		}
	})
}

func TestAReplacedConnectionAdmitsNobody(t *testing.T) {
	connections := connectionsForTest()
	object := connectionObject("a", usualLimit)
	old, _ := connections.openedOrBuilt(object)
	old.source = &wallet{creds: dli.Credentials{Token: "t"}}
	now := noon
	if _, err := old.refresh(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	var waiting turn
	old.limiter.ReserveN(now, 20)
	old.admit(now, &waiting)
	a := old.admit(now, &turn{})
	if a.granted || a.wait == 0 {
		t.Fatalf("the limit admits %+v", a)
	}

	object = object.DeepCopy()
	object.Generation++
	object.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll
	next, isNew := connections.openedOrBuilt(object)
	if !isNew || next == old {
		t.Fatal("the connection was not replaced")
	}
	if a := old.admit(now.Add(time.Hour), &turn{}); a.granted || a.held || a.wait <= 0 {
		t.Errorf("the old connection says %+v", a)
	}
	if next.limiter != old.limiter {
		t.Error("the jobs have lost their turns")
	}
	if stale, isNew := connections.openedOrBuilt(connectionObject("a", usualLimit)); isNew || stale != next {
		t.Error("an older object replaces a newer one")
	}

	object = object.DeepCopy()
	object.Generation++
	object.Spec.RateLimit.RequestsPerSecond = 50
	if faster, _ := connections.openedOrBuilt(object); faster.limiter == old.limiter {
		t.Error("the new limit is not in force")
	}
	w := watch{due: now.Add(time.Hour), turn: waiting}
	if !w.isDue(&v1alpha1.DLIJob{}, connections.open[old.key], now) {
		t.Error("a job keeps waiting for a turn at the old limit")
	}
}

func TestGatesAreRememberedWhileTheyMatter(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(noon)
	connections := connectionsForTest()
	connections.Clock = clock
	open := func(name, key string) *connection {
		conn, _ := connections.openedOrBuilt(connectionObject(name, usualLimit))
		conn.source = &wallet{creds: dli.Credentials{Token: key}}
		if err := conn.fetch(t.Context(), clock.Now()); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	shared := open("a", "shared").credentials.gate
	clock.SetTime(noon.Add(time.Hour))
	open("c", "other")
	if open("b", "shared").credentials.gate != shared {
		t.Error("two gates for one key: it would be tried ten times")
	}

	rejectedKey := open("d", "wrong").credentials.gate
	rejectedKey.enter(clock.Now())
	rejectedKey.leave(rejected, clock.Now(), clock.Now(), 0)
	connections.forget(types.NamespacedName{Namespace: "team", Name: "d"})
	clock.SetTime(noon.Add(time.Hour + time.Minute))
	open("e", "another")
	if open("d", "wrong").credentials.gate != rejectedKey {
		t.Error("a connection that is deleted and created again forgets that its key was rejected")
	}

	for i := range 100 { // as when a key is renewed every hour
		clock.SetTime(clock.Now().Add(time.Hour))
		connections.forget(types.NamespacedName{Namespace: "team", Name: "f"})
		open("f", fmt.Sprint("key ", i))
	}
	if n := len(connections.gates); n > 10 {
		t.Errorf("%d gates are kept", n)
	}
}

// What a request took is given back whatever becomes of it.
func TestARequestReturnsWhatItTook(t *testing.T) {
	server, err := dlitest.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	user := dlitest.SampleUser()
	connect := func(t *testing.T) *connection {
		t.Helper()
		connections := connectionsForTest()
		object := connectionObject("a", usualLimit)
		object.Spec.Endpoint, object.Spec.ProjectID = server.URL(), user.ProjectID
		conn, _ := connections.openedOrBuilt(object)
		conn.source = &wallet{creds: dli.Credentials{AccessKeyID: user.AccessKeyID, SecretAccessKey: user.SecretAccessKey}}
		if _, err := conn.refresh(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	admit := func(t *testing.T, conn *connection) admission {
		t.Helper()
		a := conn.admit(time.Now(), &turn{})
		if !a.granted {
			t.Fatalf("not admitted: %+v", a)
		}
		return a
	}
	free := func(t *testing.T, conn *connection) {
		t.Helper()
		if conn.inFlight != 0 || conn.credentials.gate.inFlight != 0 {
			t.Errorf("%d places and %d passes are not given back", conn.inFlight, conn.credentials.gate.inFlight)
		}
	}

	t.Run("when it is answered", func(t *testing.T) {
		conn := connect(t)
		server.SetJob(dlitest.Query("answered").Finishes(4))
		if answer, why, err := conn.read(t.Context(), admit(t, conn), "answered", time.Now); answer == nil || why != nil || err != nil {
			t.Errorf("answer %v, failure %v, error %v", answer, why, err)
		}
		free(t, conn)
	})
	t.Run("when the operator stops", func(t *testing.T) {
		conn := connect(t)
		server.SetResponse("hanging", &dlitest.Response{Hang: true})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			eventually(func() bool { return server.Requests("hanging") > 0 })
			cancel()
		}()
		if _, why, err := conn.read(ctx, admit(t, conn), "hanging", time.Now); why != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("failure %v, error %v", why, err)
		}
		free(t, conn)
		if conn.credentials.gate.proven || conn.connected {
			t.Error("a request that was broken off proves the credentials")
		}
	})
	t.Run("when it panics", func(t *testing.T) {
		conn := connect(t)
		conn.metrics = nil
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_, _, _ = conn.read(t.Context(), admit(t, conn), "answered", time.Now)
		}()
		free(t, conn)
	})
	t.Run("when it was a probe that the operator broke off, which proves nothing", func(t *testing.T) {
		conn := connect(t)
		conn.breaker = newBreaker("", time.Millisecond)
		conn.probe = time.Millisecond
		for range breakerFailures {
			a := admit(t, conn)
			conn.finish(t.Context(), time.Now(), time.Now(), a, failed(&dli.Error{Kind: dli.KindUnreachable}))
		}
		if !eventually(func() bool { return conn.breaker.State() == gobreaker.StateHalfOpen }) {
			t.Fatal("the circuit does not half open")
		}
		if !eventually(func() bool {
			a := conn.admit(time.Now(), &turn{})
			if a.granted {
				stopped, cancel := context.WithCancel(t.Context())
				cancel()
				if _, _, err := conn.read(stopped, a, "answered", time.Now); !errors.Is(err, context.Canceled) {
					t.Errorf("the error is %v", err)
				}
			}
			return a.granted
		}) {
			t.Fatal("no probe is admitted")
		}
		if conn.breaker.State() != gobreaker.StateHalfOpen {
			t.Errorf("the circuit is %v", conn.breaker.State())
		}
		free(t, conn)
	})
}
