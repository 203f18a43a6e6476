// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// countWrites counts the changes of the DLIJobs in a namespace from now on: those that counts
// reports true for.
func (c *cluster) countWrites(namespace string, counts func(*v1alpha1.DLIJob) bool) *atomic.Int64 {
	c.Helper()
	changes, err := c.Watch(c.Context(), &v1alpha1.DLIJobList{}, client.InNamespace(namespace))
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(changes.Stop)
	n := &atomic.Int64{}
	go func() {
		for event := range changes.ResultChan() {
			if job, isJob := event.Object.(*v1alpha1.DLIJob); isJob && event.Type == watch.Modified && counts(job) {
				n.Add(1)
			}
		}
	}()
	return n
}

func all(*v1alpha1.DLIJob) bool { return true }

// columnsOf returns a schema of 256 columns as large as they may be, which differ with nth.
func columnsOf(nth int) string {
	type field struct {
		Name     string         `json:"name"`
		Type     string         `json:"type"`
		Nullable bool           `json:"nullable"`
		Metadata map[string]any `json:"metadata"`
	}
	fields := make([]field, 256)
	for i := range fields {
		fields[i] = field{Name: fmt.Sprintf("column-%d-%d-", nth, i) + strings.Repeat("x", 200), Type: strings.Repeat("y", 600), Nullable: true}
	}
	text, _ := json.Marshal(map[string]any{"type": "struct", "fields": fields}) // nothing in it can fail
	return string(text)
}

// Each poll of a running job shows 256 other columns.
func TestOtherColumnsAtEachPoll(t *testing.T) {
	const n = 100
	window := sized(25*time.Second, 2*time.Minute)
	c := newCluster(t)
	o := c.sideBySide()
	attacker := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, id string, nth int) {
		respond(w, http.StatusOK, status(id, "RUNNING", map[string]any{"detail": columnsOf(nth)}))
	})
	tenant := c.tenant(nil)
	c.connect(tenant, "default", attacker.URL, func(spec *v1alpha1.DLIConnectionSpec) {
		spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: 100, Burst: 100}
	})
	writes, began := c.countWrites(tenant, all), time.Now()
	c.createJobs(tenant, n, func(job *v1alpha1.DLIJob, _ int) { every(1)(job) })
	written := func() float64 {
		return o.scrape(t).Sum("dli_operator_status_written_bytes_total", `connection="`+tenant+`/default"`)
	}
	c.await("the jobs are written", func() bool { return writes.Load() >= n/2 })
	o.attack(t, window, limit())
	minutes, bytes, polls := time.Since(began).Minutes(), written(), attacker.polls.Load()
	t.Logf("%d polls with other columns: %.1f MB in %d writes in %.0f s, %.0f kB each", polls, bytes/1e6, writes.Load(), 60*minutes, bytes/1e3/float64(max(writes.Load(), 1)))
	if bytes == 0 {
		t.Error("the bytes are not counted")
	}
	const perMinute, perWrite = 8 << 20, 16 << 10
	if most := perMinute*(1+minutes) + perWrite*float64(writes.Load()); bytes > most {
		t.Errorf("%.1f MB were written, want %.1f MB at most", bytes/1e6, most/1e6)
	}
	if most := int64(n * (2 + minutes)); writes.Load() > most {
		t.Errorf("%d writes of %d jobs, want %d at most", writes.Load(), n, most)
	}
}

// Jobs are LAUNCHING and RUNNING by turns.
func TestFlappingJobs(t *testing.T) {
	const n = 20
	window := sized(25*time.Second, 2*time.Minute)
	c := newCluster(t)
	o := c.sideBySide()
	attacker := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, id string, nth int) {
		respond(w, http.StatusOK, status(id, []string{"LAUNCHING", "RUNNING"}[nth%2], nil))
	})
	tenant := c.tenant(nil)
	c.connect(tenant, "default", attacker.URL)
	writes, began := c.countWrites(tenant, all), time.Now()
	c.createJobs(tenant, n, func(job *v1alpha1.DLIJob, _ int) { every(1)(job) })
	c.await("the jobs are polled", func() bool { return attacker.polls.Load() >= 2*n })
	o.attack(t, window, limit())
	minutes := time.Since(began).Minutes()
	log, err := os.ReadFile(o.Log)
	if err != nil {
		t.Fatal(err)
	}
	lines, events := strings.Count(string(log), tenant), 0
	for _, event := range c.events(tenant) {
		if event.Regarding.Kind == "DLIJob" {
			events++
		}
	}
	t.Logf("%d polls of %d jobs in %.0f s: %d writes, %d Events, %d lines of log", attacker.polls.Load(), n, 60*minutes, writes.Load(), events, lines)
	// Five at once, and one each minute.
	most := n * (6 + minutes)
	if writes.Load() > int64(most) {
		t.Errorf("%d writes, want %.0f at most", writes.Load(), most)
	}
	// None is sent without a write, and none repeats another one.
	if int64(events) > writes.Load() || events < n {
		t.Errorf("%d Events for %d writes", events, writes.Load())
	}
	if float64(lines) > most {
		t.Errorf("%d lines of log, want %.0f at most", lines, most)
	}
}

// A rejection that is not true, and a Secret that is gone for a moment while it is created
// anew, are not reported.
func TestStrayFailures(t *testing.T) {
	c := newCluster(t)
	o := c.sideBySide()
	own := c.watchRunning(50, 2)
	c.await("all are polled", func() bool { return c.longestGap(own, time.Now().Add(-time.Hour)) < time.Hour })
	running := func() bool {
		jobs := &v1alpha1.DLIJobList{}
		if err := c.List(t.Context(), jobs, client.InNamespace(c.Namespace)); err != nil {
			t.Fatal(err)
		}
		for _, job := range jobs.Items {
			if job.Status.JobStatus != "RUNNING" {
				return false
			}
		}
		return true
	}
	c.await("all are known to run", running)
	// A refresh of figures is none of it.
	writes := c.countWrites(c.Namespace, func(job *v1alpha1.DLIJob) bool {
		return world.Condition(job.Status.Conditions, v1alpha1.SyncedCondition).Reason != v1alpha1.ReasonPollSucceeded
	})

	c.DLI.SetResponse(own[7], unauthorized)
	c.await("a poll is rejected", func() bool { return c.DLI.Stats().ByCode[http.StatusUnauthorized] > 0 })
	rejected := time.Now()
	polledAgain := func() bool {
		return c.longestGap(own, rejected) < time.Since(rejected) && c.ConnectionReady("default").Reason == v1alpha1.ReasonConnected
	}
	c.await("all are polled again", polledAgain)
	testenv.Within(5*time.Second, func() bool { return writes.Load() > 0 })
	t.Logf("after a stray 401 with %d running jobs: %d writes, Warnings %q", len(own), writes.Load(), c.warnings(c.Namespace))

	gone := func(how string, then func()) {
		missing := func() float64 { return o.scrape(t).Sum("rest_client_requests_total", `code="404"`, `method="GET"`) }
		before := missing()
		if err := c.Delete(t.Context(), c.Secret("credentials", user())); err != nil {
			t.Fatal(err)
		}
		then()
		c.await("the operator does not find the Secret", func() bool { return missing() > before })
		c.MustCreate(c.Secret("credentials", user()))
		rejected = time.Now()
		c.await("all are polled again", polledAgain)
		testenv.Within(5*time.Second, func() bool { return writes.Load() > 0 })
		t.Logf("after a Secret was gone%s: %d writes, Warnings %q", how, writes.Load(), c.warnings(c.Namespace))
	}
	gone(" while its connection was edited", func() {
		changeConnection(c, c.Connection("default"), func(spec *v1alpha1.DLIConnectionSpec) { spec.RateLimit.Burst = 30 })
	})
	if !testing.Short() { // the operator reads it every 45 s
		gone("", func() {})
	}
	if found := c.warnings(c.Namespace); len(found) > 0 {
		t.Errorf("Warnings %q", found)
	}
	if writes.Load() > 0 {
		t.Errorf("%d writes of %d jobs say so", writes.Load(), len(own))
	}
}
