// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// granted lets a namespace with a label use a connection.
func granted(spec *v1alpha1.DLIConnectionSpec) {
	spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
		From:     v1alpha1.NamespacesFromSelector,
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"granted": "yes"}},
	}
}

// refTo makes a DLIJob use a connection of another namespace.
func refTo(namespace, name string) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) {
		job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Namespace: namespace, Name: name}
	}
}

// A namespace that may use another one's connection has 5000 jobs at the shortest interval;
// 1200 in short mode, which take a minute in turn.
func TestTenantWithManyJobs(t *testing.T) {
	n, window := sized(1200, 5000), sized(12*time.Second, time.Minute)
	c := newCluster(t)
	tenant := c.tenant(map[string]string{"granted": "yes"})
	c.createJobs(tenant, n, func(job *v1alpha1.DLIJob, i int) {
		every(1)(job)
		refTo(c.Namespace, "default")(job)
		if i == 0 {
			c.DLI.SetTemplate(dlitest.Query("").Running(time.Hour))
		}
		c.Runs(job.Spec.JobID)
	})
	world.Change(c.World, c.Connection("default"), func(connection *v1alpha1.DLIConnection) { granted(&connection.Spec) })
	o := c.start(limit())
	const interval = 5
	own := c.watchRunning(20, interval)
	c.await("all jobs of the owner were polled", func() bool {
		for _, id := range own {
			if c.DLI.Requests(id) == 0 {
				return false
			}
		}
		return true
	})
	began := time.Now()
	o.attack(t, window, limit())
	gap := c.longestGap(own, began)
	t.Logf("with %d jobs of a tenant at 1 s, the owner's were polled every %v at least, want %d s", n, gap.Round(10*time.Millisecond), interval)
	if gap > 2*interval*time.Second {
		t.Errorf("the owner's jobs were not polled for %v", gap)
	}
	if ready := c.ConnectionReady("default"); !strings.Contains(ready.Message, "wait longer for their turn") {
		t.Errorf("the connection says %q, want that jobs wait", ready.Message)
	}
	if late := o.scrape(t); late.Sum("dli_operator_poll_lateness_seconds_count")-late[`dli_operator_poll_lateness_seconds_bucket{le="10"}`] == 0 {
		t.Error("the lateness leaves the wait of the tenant's jobs out")
	}
}

// The endpoints of 600 connections, with one job each, hang.
func TestHangingConnections(t *testing.T) {
	// Half the interval is more than a machine that is also the attacker's may lose.
	const n, interval = 600, 12 * time.Second
	window := sized(2*interval, 5*interval)
	c := newCluster(t)
	var attacker *endpoint
	attacker = newEndpoint(t, func(w http.ResponseWriter, r *http.Request, id string, nth int) {
		if nth == 1 { // new credentials are tried with one request at a time
			respond(w, http.StatusOK, status(id, "RUNNING", nil))
			return
		}
		attacker.hang(r)
	})
	tenant := c.tenant(nil)
	withOwnKey := c.ownKey(tenant)
	connections := make([]client.Object, n)
	for i := range connections {
		connections[i] = c.connection(tenant, fmt.Sprintf("hangs-%d", i), attacker.URL, withOwnKey)
	}
	c.createAll(connections)
	o := c.start(limit())
	own := c.watchRunning(3, int32(interval.Seconds()))
	c.createJobs(tenant, n, func(job *v1alpha1.DLIJob, i int) {
		every(1)(job)
		refTo(tenant, fmt.Sprintf("hangs-%d", i))(job)
	})
	c.await("as many requests hang as may", func() bool { return o.scrape(t).Sum("dli_operator_connection_requests_in_flight") >= 50 })
	began := time.Now()
	o.attack(t, window, limit())
	gap := c.longestGap(own, began)
	t.Logf("with %d hanging connections, jobs of others were polled every %v at least, want %v", n, gap.Round(10*time.Millisecond), interval)
	if gap > interval*3/2 {
		t.Errorf("jobs of others were not polled for %v", gap)
	}
}

// A connection's selector is as large as it may be, 200 jobs elsewhere depend on it, and it is
// edited all the time.
func TestLargeSelector(t *testing.T) {
	c := newCluster(t)
	attacker, users := c.tenant(nil), c.tenant(map[string]string{"granted": "yes"})
	selector := func(expressions, values int) func(*v1alpha1.DLIConnectionSpec) {
		return func(spec *v1alpha1.DLIConnectionSpec) {
			granted(spec)
			for i := range expressions {
				all := make([]string, values)
				for k := range all {
					all[k] = strings.Repeat("v", 55) + fmt.Sprintf("%d-%d", i, k)
				}
				spec.AllowedNamespaces.Selector.MatchExpressions = append(spec.AllowedNamespaces.Selector.MatchExpressions,
					metav1.LabelSelectorRequirement{Key: fmt.Sprintf("key-%d", i), Operator: metav1.LabelSelectorOpNotIn, Values: all})
			}
		}
	}
	if err := c.Create(t.Context(), c.connection(attacker, "larger", c.DLI.URL(), selector(101, 1))); !isInvalid(err) {
		t.Errorf("a selector of 101 expressions is accepted: %v", err)
	}
	large := c.connect(attacker, "large", c.DLI.URL(), selector(100, 10))
	// More values than are read, which the schema cannot count: a megabyte.
	c.connect(attacker, "huge", c.DLI.URL(), selector(100, 150))
	o := c.start(limit())
	c.createJobs(users, 200, func(job *v1alpha1.DLIJob, i int) {
		c.Runs(job.Spec.JobID)
		refTo(attacker, map[bool]string{false: "large", true: "huge"}[i%2 == 0])(job)
	})
	c.await("the selectors were read", func() bool {
		return o.scrape(t).Sum("dli_operator_jobs", `reason="JobRunning"`) >= 100
	})
	worst := time.Duration(0)
	for i := range 8 {
		world.Change(c.World, large, func(connection *v1alpha1.DLIConnection) {
			connection.Spec.AllowedNamespaces.Selector.MatchExpressions[0].Values[0] = fmt.Sprintf("edit-%d", i)
		})
		began, id := time.Now(), fmt.Sprintf("new-%d", i)
		c.Runs(id)
		c.WatchJob(id)
		if !testenv.Within(world.Patience, func() bool { return c.DLI.Requests(id) > 0 }) {
			t.Fatalf("a new job of others is not polled")
		}
		worst = max(worst, time.Since(began))
	}
	t.Logf("right after each edit of a selector of 65 kB, a new job of others was polled within %v", worst.Round(time.Millisecond))
	if worst > 5*time.Second {
		t.Errorf("a new job of others was polled after %v", worst)
	}
	o.check(t, limit())
}
