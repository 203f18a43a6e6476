// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// Six connections get responses of 4 MiB, all but the last byte of each, and then all the
// last bytes at once.
func TestLargeResponsesAtOnce(t *testing.T) {
	c := newCluster(t)
	own := c.watchRunning(3, 1)
	o := c.start(limit())
	c.await("the jobs of others are polled", func() bool {
		return c.longestGap(own, time.Now().Add(-time.Hour)) < time.Hour && c.DLI.Requests(own[0]) > 1
	})

	half := strings.Repeat("x", 2<<20-200) + `\\`
	release := make(chan struct{})
	var mu sync.Mutex
	waiting := 0
	attacker := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, id string, nth int) {
		if nth == 1 { // new credentials are tried with one request at a time
			respond(w, http.StatusOK, status(id, "RUNNING", nil))
			return
		}
		body := fmt.Sprintf(`{"is_success":true,"job_id":%q,"status":"RUNNING","statement":"%s","message":"%s"}`, id, half, half)
		_, _ = w.Write([]byte(body[:len(body)-1]))
		_ = http.NewResponseController(w).Flush()
		mu.Lock()
		waiting++
		released := release
		mu.Unlock()
		select {
		case <-released:
			_, _ = w.Write([]byte("}"))
		case <-r.Context().Done():
		}
	})
	tenant := c.tenant(nil)
	for i := range 6 {
		name := fmt.Sprintf("large-%d", i)
		c.connect(tenant, name, attacker.URL)
	}
	c.createJobs(tenant, 120, func(job *v1alpha1.DLIJob, i int) {
		every(1)(job)
		job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: fmt.Sprintf("large-%d", i%6)}
	})
	c.await("all jobs were polled", func() bool { return attacker.polls.Load() >= 120 })
	began := time.Now()
	for range 3 {
		// As many as come before the operator gives up on the first ones.
		testenv.Within(6*time.Second, func() bool { mu.Lock(); defer mu.Unlock(); return waiting >= 45 })
		mu.Lock()
		t.Logf("%d responses of 4 MiB end at once", waiting)
		waiting = 0
		close(release)
		release = make(chan struct{})
		mu.Unlock()
	}
	gap := c.longestGap(own, began)
	t.Logf("%d polls by the attacker's jobs; those of others were polled every %v at least, want 1 s", attacker.polls.Load(), gap.Round(10*time.Millisecond))
	if gap > 5*time.Second {
		t.Errorf("jobs of others were not polled for %v", gap)
	}
	o.check(t, 3*dli.DefaultResponseBytes) // the budget, and everything else
}

// DLIJobs have an annotation of 250 kB and no connection. They would fill the memory that the
// operator has here, a part of what its pod has: an API server on two cores takes a quarter of an hour to
// store the 2600 that would fill that.
func TestLargeAnnotations(t *testing.T) {
	c := newCluster(t)
	n, memory := sized(200, 500), sized(limit()/10, limit()/5)
	tenant := c.tenant(nil)
	padding := map[string]string{"padding": strings.Repeat("x", 250_000)}
	create := func(from, to int) {
		c.createJobs(tenant, to-from, func(job *v1alpha1.DLIJob, i int) {
			job.Name, job.Annotations = fmt.Sprintf("job-%d", from+i), padding
		})
	}
	// One half are there when the operator starts, the others come later.
	create(0, n/2)
	own := c.watchRunning(3, 1)
	o := c.start(memory)
	create(n/2, n)
	// The API server needs a while to store as much.
	if !testenv.Within(sized(world.Patience, 5*world.Patience), func() bool {
		return o.scrape(t).Sum("dli_operator_jobs", `reason="ConnectionNotFound"`) == float64(n)
	}) {
		t.Fatal("not all were seen")
	}
	c.await("the jobs of others are polled", func() bool { return c.DLI.Requests(own[0]) > 1 })
	o.check(t, memory)
}
