// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// Whatever figures a response has, the outcome is stored.
func TestImpossibleFigures(t *testing.T) {
	c := newCluster(t)
	c.sideBySide()
	bodies := map[string]map[string]any{
		"year-10000":     {"start_time": int64(253402300799999), "duration": 1000},
		"before-time":    {"start_time": int64(math.MinInt64), "duration": 1},
		"after-time":     {"start_time": int64(math.MaxInt64), "duration": int64(math.MaxInt64)},
		"negative":       {"start_time": 1, "duration": int64(math.MinInt64), "result_count": -1},
		"more-than-64":   {"result_count": 1e300, "input_size": 18446744073709551615.0},
		"other-types":    {"start_time": "yesterday", "duration": []int{1}, "result_count": map[string]any{}, "detail": 7},
		"long-names":     {"owner": strings.Repeat("o", 1<<20), "queue_name": strings.Repeat("<&>", 1<<18), "job_type": strings.Repeat("t", 1<<19)},
		"endless-schema": {"detail": strings.Repeat(`{"type":`, 100_000)},
	}
	attacker := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, id string, _ int) {
		respond(w, http.StatusOK, status(id, "FINISHED", bodies[id]))
	})
	tenant := c.tenant(nil)
	c.connect(tenant, "default", attacker.URL)
	for id := range bodies {
		job := &v1alpha1.DLIJob{}
		job.Namespace, job.Name, job.Spec.JobID = tenant, id, id
		c.MustCreate(job)
		t.Run(id, func(t *testing.T) {
			w := *c.World
			w.T = t
			w.Await(job, 30*time.Second, "Succeeded", func(job *v1alpha1.DLIJob) bool { return job.Status.Outcome == v1alpha1.OutcomeSucceeded })
		})
	}
}

// Texts that a terminal or a browser would reorder or hide are not shown.
func TestReorderedTexts(t *testing.T) {
	c := newCluster(t)
	c.sideBySide()
	const hostile = "a\u202eb\u2066c\u200bd\u2028e\ufefff\x1b[31mg\x00h\u00adi\U000e0041j"
	fields := map[string]any{"statement": hostile, "message": hostile, "owner": hostile, "queue_name": hostile, "database_name": hostile}
	attacker := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, id string, _ int) {
		respond(w, http.StatusOK, status(id, "FAILED", fields))
	})
	tenant := c.tenant(nil)
	c.connect(tenant, "default", attacker.URL)
	job := &v1alpha1.DLIJob{}
	job.Namespace, job.Name, job.Spec.JobID = tenant, "job", "job"
	c.MustCreate(job)
	job = c.Await(job, 30*time.Second, "failed", (*v1alpha1.DLIJob).IsCompleted)
	texts := []string{job.Status.Statement, job.Status.Message, job.Status.Error.Message, job.Status.Owner, job.Status.QueueName, job.Status.DatabaseName}
	for _, condition := range job.Status.Conditions {
		texts = append(texts, condition.Message)
	}
	c.await("there is an Event", func() bool { return len(c.events(tenant)) > 0 })
	for _, event := range c.events(tenant) {
		texts = append(texts, event.Note)
	}
	for _, text := range texts {
		if i := strings.IndexFunc(text, func(r rune) bool { return unicode.In(r, unicode.Cf, unicode.Cc, unicode.Zl, unicode.Zp) }); i >= 0 {
			t.Errorf("%+q is shown", text)
		}
	}
	if !strings.HasPrefix(job.Status.Statement, "a") || !strings.Contains(job.Status.Statement, "b") {
		t.Errorf("the statement is %+q", job.Status.Statement)
	}
}

// The HTTP status and the code of errors change with each response; and the connection is
// deleted while a request of it is in flight.
func TestEndlessErrorCodes(t *testing.T) {
	c := newCluster(t)
	o := c.sideBySide()
	release := make(chan struct{})
	attacker := newEndpoint(t, func(w http.ResponseWriter, r *http.Request, id string, nth int) {
		if id == "late" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		var number int
		_, _ = fmt.Sscanf(id, "job-%d", &number)
		number = 7*number + nth
		respond(w, 400+number%500, fmt.Appendf(nil, `{"error_code":"DLI.%d","error_msg":"%d"}`, number, number))
	})
	tenant := c.tenant(nil)
	// Responses below 500 do not open the circuit.
	connection := c.connect(tenant, "default", attacker.URL, c.ownKey(tenant), func(spec *v1alpha1.DLIConnectionSpec) {
		spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: 200, Burst: 200}
	})
	c.createJobs(tenant, 150, func(job *v1alpha1.DLIJob, _ int) { every(1)(job) })
	c.await("many responses were different", func() bool { return attacker.polls.Load() >= 120 })
	series := func() (n int) {
		for name := range o.scrape(t) {
			if strings.Contains(name, `"`+tenant+`/default"`) && !strings.Contains(name, "_bucket{") {
				n++
			}
		}
		return n
	}
	t.Logf("%d series after %d responses", series(), attacker.polls.Load())
	if n := series(); n == 0 || n > 100 {
		t.Errorf("%d series of the connection", n)
	}

	late := &v1alpha1.DLIJob{}
	late.Namespace, late.Name, late.Spec.JobID = tenant, "late", "late"
	c.MustCreate(late)
	c.await("a request is in flight", func() bool { return attacker.of("late") > 0 })
	if err := c.Delete(t.Context(), connection); err != nil {
		t.Fatal(err)
	}
	c.await("the series of the deleted connection end", func() bool { return series() == 0 })
	close(release)
	if testenv.Within(2*time.Second, func() bool { return series() > 0 }) {
		t.Error("a response begins series of a deleted connection")
	}
}
