// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// Times of the election in internal/operator.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
)

// holder returns the holder of the lease; "" if there is none.
func (c cluster) holder() string {
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	return testenv.Holder(ctx, c, c.Namespace)
}

// startElected starts an operator with leader election, like a container of a pod.
func (c cluster) startElected(podUID string, args ...string) *process {
	c.Helper()
	return c.startReplica(podUID, append(args, "--leader-elect", "--leader-election-namespace="+c.Namespace)...)
}

// awaitLeader waits until another process than the previous leader leads, and returns it.
func (c cluster) awaitLeader(previous string) string {
	c.Helper()
	if !testenv.Within(world.Patience, func() bool { h := c.holder(); return h != "" && h != previous }) {
		c.Fatalf("the leader is %q, want another one", previous)
	}
	return c.holder()
}

// firstPollAfter returns how long after a time a job was polled next.
func (c cluster) firstPollAfter(t time.Time, job *v1alpha1.DLIJob) time.Duration {
	c.Helper()
	var first time.Time
	if !testenv.Within(world.Patience, func() bool {
		for _, at := range c.DLI.Log(job.Spec.JobID) {
			if at.After(t) {
				first = at
				return true
			}
		}
		return false
	}) {
		c.Fatal("it is not polled anymore")
	}
	return first.Sub(t)
}

// A leader that was frozen for longer than its lease asks DLI for nothing when it
// continues, and ends.
func TestAFrozenLeaderPollsNothingWhenItContinues(t *testing.T) {
	c := newCluster(t)
	c.Runs("job")
	leader := c.startElected("a")
	holder := c.awaitLeader("")
	job := c.WatchJob("job", everySecond)
	c.AwaitReason(job, v1alpha1.ReasonJobRunning)

	leader.Signal(syscall.SIGSTOP)
	standby := c.startElected("b")
	c.awaitLeader(holder)
	c.firstPollAfter(time.Now(), job)
	standby.Kill() // nobody else polls from here on
	polls := c.DLI.Requests("job")
	leader.Signal(syscall.SIGCONT)
	if code := leader.ExitCode(); code != 1 {
		t.Errorf("it exits with %d", code)
	}
	if got := c.DLI.Requests("job"); got != polls {
		t.Errorf("it sent %d requests", got-polls)
	}
}

// A container that is killed and starts again does not wait until its own lease has
// expired.
func TestARestartedContainerLeadsAtOnce(t *testing.T) {
	c := newCluster(t)
	c.Runs("job")
	leader := c.startElected("a")
	began := time.Now()
	holder := c.awaitLeader("")
	c.startElected("b")
	job := c.WatchJob("job", everySecond)
	c.AwaitReason(job, v1alpha1.ReasonJobRunning)
	testenv.Within(leaseDuration+5*time.Second, func() bool { return time.Since(began) > leaseDuration+4*time.Second })

	leader.Kill()
	killed := time.Now()
	c.startElected("a")
	gap := c.firstPollAfter(killed, job)
	t.Logf("no poll for %v", gap.Round(time.Millisecond))
	if gap > 5*time.Second {
		t.Errorf("no poll for %v, want 5 s at most", gap)
	}
	if c.holder() == holder {
		t.Error("both processes have the same identity")
	}
}

// A container that crashes soon after each start leaves the lease to the other replica.
func TestAContainerThatCrashesAgainAndAgainLosesTheLease(t *testing.T) {
	c := newCluster(t)
	crashing := c.startElected("a")
	leader := c.awaitLeader("")
	c.startElected("b")
	for began := time.Now(); time.Since(began) < world.Patience; {
		crashing.Kill()
		crashing = c.startElected("a")
		previous := leader
		testenv.Within(leaseDuration/3, func() bool { leader = c.holder(); return leader != previous })
		if crashing.Alive() == nil && leader != previous && !strings.Contains(leader, "_a_") {
			return
		}
	}
	t.Errorf("the leader is %s", leader)
}

// Two processes of one pod cannot lead at once: they share the port of the probes.
func TestASecondProcessOfAPodDoesNotStart(t *testing.T) {
	c := newCluster(t)
	probes, err := testenv.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	c.startElected("a", "--health-probe-bind-address="+probes)
	c.awaitLeader("")
	if code := c.startElected("a", "--health-probe-bind-address="+probes).ExitCode(); code != 1 {
		t.Errorf("it exits with %d", code)
	}
}

// While the API server does not respond, the leader ends as soon as its lease has
// expired, without waiting for its writes, and the restarted container waits for the API
// server, and then polls at once.
func TestAnAPIServerThatDoesNotRespond(t *testing.T) {
	c := newOwnCluster(t, crds)
	c.Runs("job")
	c.Runs("ends")
	leader := c.startElected("a")
	began := time.Now()
	c.awaitLeader("")
	job, ends := c.WatchJob("job", everySecond), c.WatchJob("ends", everySecond)
	c.AwaitReason(job, v1alpha1.ReasonJobRunning)
	c.AwaitReason(ends, v1alpha1.ReasonJobRunning)
	testenv.Within(leaseDuration+5*time.Second, func() bool { return time.Since(began) > leaseDuration+4*time.Second })

	if err := c.Plane.FreezeAPIServer(); err != nil {
		t.Fatal(err)
	}
	frozen := time.Now()
	c.Finishes("ends") // its write hangs
	leader.ExitCode()
	ended := time.Since(frozen)
	c.startElected("a")
	testenv.Within(time.Minute, func() bool { return time.Since(frozen) > 40*time.Second })
	returned := time.Now()
	if err := c.Plane.ThawAPIServer(); err != nil {
		t.Fatal(err)
	}
	gap := c.firstPollAfter(returned, job)
	t.Logf("it ended after %v, and polled %v after the return", ended.Round(time.Millisecond), gap.Round(time.Millisecond))
	if ended > renewDeadline+2*time.Second {
		t.Errorf("it ended after %v, want %v", ended, renewDeadline)
	}
	if gap > 8*time.Second {
		t.Errorf("the first poll came %v after the return, want 8 s at most", gap)
	}
	c.Await(ends, world.Patience, "finished", (*v1alpha1.DLIJob).IsCompleted)
}

// A poller that hangs makes the kubelet restart the container: otherwise it would keep
// the lease and poll nothing.
func TestLivenessIncludesThePoller(t *testing.T) {
	c := newCluster(t)
	probes, err := testenv.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	c.start("--health-probe-bind-address=" + probes)
	for _, path := range []string{"/healthz/poller", "/readyz/poller", "/readyz/caches"} {
		if !testenv.Within(world.Patience, func() bool {
			response, err := http.Get("http://" + probes + path)
			if err != nil {
				return false
			}
			defer response.Body.Close()
			return response.StatusCode == http.StatusOK
		}) {
			t.Errorf("%s is not OK", path)
		}
	}
}
