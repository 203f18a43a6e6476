// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestSubmit(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, tc := range []struct {
		name, sql, kind, mode, status string
	}{
		{"a query follows the template", "select 1", "QUERY", "async", "LAUNCHING"},
		{"an insert follows the template", "Insert into t select 1", "INSERT", "async", "LAUNCHING"},
		{"a table is created synchronously", " create\ttable t (a int)", "DDL", "sync", "FINISHED"},
		{"a permission is granted synchronously", "GRANT SELECT ON t TO u", "DCL", "sync", "FINISHED"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clock := newClock()
			s := newServer(t, WithClock(clock.Now), WithStartOnRequest())
			body := fmt.Sprintf(`{"sql":%q,"currentdb":"db1","queue_name":"fast","conf":["k=v"],"tags":[{"key":"k","value":"v"}]}`, tc.sql)
			got := serve(s, sampleRequest("POST", "v1.0", "/submit-job", body)).is(t, 200, "")
			id, _ := got.fields["job_id"].(string)
			if !uuid.MatchString(id) || got.fields["job_type"] != tc.kind || got.fields["job_mode"] != tc.mode || got.fields["is_success"] != true {
				t.Errorf("got %s", got.body)
			}
			if _, ok := got.fields["rows"]; ok != (tc.mode == "sync") {
				t.Errorf("got %s, with or without rows", got.body)
			}
			status := serve(s, request(id)).is(t, 200, "")
			for name, want := range map[string]any{"status": tc.status, "job_type": tc.kind, "statement": tc.sql, "queue_name": "fast", "owner": "test", "start_time": float64(vectorTime().UnixMilli())} {
				if status.fields[name] != want {
					t.Errorf("got %s %v, want %v", name, status.fields[name], want)
				}
			}
			if got := list(t, s, "job-id="+id); got.Count != 1 || got.Jobs[0].Status != tc.status {
				t.Errorf("got %v in the list", got)
			}
			if job, _ := s.Job(id); job.Database != "db1" || job.ProjectID != SampleUser().ProjectID {
				t.Errorf("got %+v", job)
			}
		})
	}
	t.Run("the template can be replaced", func(t *testing.T) {
		clock := newClock()
		s := newServer(t, WithClock(clock.Now))
		template := Query("").Running(time.Second).Fails("DLI.0005: no such table")
		template.Owner = "etl"
		s.SetTemplate(template)
		first := serve(s, sampleRequest("POST", "v1.0", "/submit-job", `{"sql":"select 1"}`))
		second := serve(s, sampleRequest("POST", "v1.0", "/submit-job", `{"sql":"select 1"}`))
		if first.fields["job_id"] == second.fields["job_id"] {
			t.Error("two jobs have the same ID")
		}
		clock.advance(time.Second)
		if got := list(t, s, "job-status=FAILED&owner=etl"); got.Count != 2 {
			t.Errorf("got %v", got)
		}
	})
	for _, tc := range []struct{ name, body string }{
		{"no statement", `{"sql":" "}`},
		{"no JSON", `sql`},
		{"another type", `{"sql":["select 1"]}`},
		{"nothing", ``},
	} {
		t.Run(tc.name+" is rejected", func(t *testing.T) {
			s := newServer(t)
			serve(s, sampleRequest("POST", "v1.0", "/submit-job", tc.body)).is(t, 400, "DLI.0001")
			if got := s.Stats().ByCall[CallSubmit]; got != 1 {
				t.Errorf("got %d submissions counted", got)
			}
		})
	}
	t.Run("a body that is too large is rejected", func(t *testing.T) {
		serve(newServer(t), sampleRequest("POST", "v1.0", "/submit-job", `{"sql":"`+strings.Repeat("x", maxBody))).is(t, 413, "APIGW.0201")
	})
}

func TestProgress(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now))
	ask := func(id string) answer { return serve(s, sampleRequest("GET", "v1", "/"+id+"/progress", "")) }
	s.SetJob(Query("j").Launching(10 * time.Second).Running(30 * time.Second).Finishes(1))
	s.SetJob(Query("bad").Fails("x"))
	s.SetJob(Query("endless").Running(0))
	for _, step := range []struct {
		name, id string
		wait     time.Duration
		status   string
		progress any
		part     any
	}{
		{"nothing while it is launching", "j", 5 * time.Second, "LAUNCHING", 0.0, nil},
		{"a part while it is running", "j", 15 * time.Second, "RUNNING", 0.5, 0.0},
		{"some while it has no end", "endless", 0, "RUNNING", 0.5, 0.0},
		{"all at the end", "j", 20 * time.Second, "FINISHED", 1.0, nil},
		{"unknown for a job that failed", "bad", 0, "FAILED", nil, nil},
	} {
		t.Run(step.name, func(t *testing.T) {
			clock.advance(step.wait)
			got := ask(step.id).is(t, 200, "")
			if got.fields["status"] != step.status || got.fields["progress"] != step.progress || got.fields["sub_job_id"] != step.part || got.fields["job_id"] != step.id {
				t.Errorf("got %s", got.body)
			}
		})
	}
	ask("unknown").is(t, 404, "DLI.0023")
	if got := s.Requests("j"); got != 0 {
		t.Errorf("got %d requests for the status", got)
	}
}
