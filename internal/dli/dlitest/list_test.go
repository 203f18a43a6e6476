// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// sampleRequest returns a request of the sample user, with a token, for a path below
// the project's jobs.
func sampleRequest(method, version, rest, body string) *http.Request {
	r := httptest.NewRequest(method, "/"+version+"/"+SampleUser().ProjectID+"/jobs"+rest, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Auth-Token", SampleUser().Token)
	return r
}

type page struct {
	Count int `json:"job_count"`
	Jobs  []struct {
		ID       string `json:"job_id"`
		Status   string `json:"status"`
		Start    int64  `json:"start_time"`
		End      int64  `json:"end_time"`
		Duration *int64 `json:"duration"`
		Rows     *int64 `json:"result_count"`
	} `json:"jobs"`
}

func (p page) ids() string {
	ids := make([]string, 0, len(p.Jobs))
	for _, job := range p.Jobs {
		ids = append(ids, job.ID)
	}
	return strings.Join(ids, " ")
}

// list requests a list with a query such as "job-status=RUNNING".
func list(t testing.TB, s *Server, query string) (p page) {
	t.Helper()
	got := serve(s, sampleRequest("GET", "v1.0", "?"+query, ""))
	if got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatalf("got %s: %v", got.body, err)
	}
	return p
}

// begins sets the start of a job.
func begins(job Job, at time.Time) Job {
	job.Start = at
	return job
}

func TestListFilters(t *testing.T) {
	start := vectorTime()
	s := newServer(t, WithClock(func() time.Time { return start.Add(time.Hour) }))
	s.SetJob(begins(Query("launching").Launching(2*time.Hour), start.Add(4*time.Second)))
	s.SetJob(begins(Query("running").Running(2*time.Hour), start.Add(3*time.Second)))
	s.SetJob(begins(Query("finished").Running(time.Minute).Finishes(4), start.Add(time.Second)))
	s.SetJob(begins(Insert("other").Running(time.Second).Fails("DLI.0001: x"), start.Add(2*time.Second)))
	s.SetJob(begins(Query("later"), start.Add(2*time.Hour)))
	s.SetJob(begins(Query("removed"), start))
	s.RemoveJob("removed")
	foreign := begins(Query("foreign"), start)
	foreign.ProjectID = "p2"
	s.SetJob(foreign)

	for _, tc := range []struct {
		name, query, want string
		total             int
	}{
		{"all, the newest first", "", "launching running other finished", 4},
		{"the oldest first", "order=start_time_asc", "finished other running launching", 4},
		{"one status", "job-status=RUNNING", "running", 1},
		{"a status that no job has", "job-status=SCALING", "", 0},
		{"an unknown parameter", "job_status=RUNNING&job-status=FINISHED", "finished", 1},
		{"the first page", "page-size=3&order=start_time_asc", "finished other running", 4},
		{"the last page", "page-size=3&order=start_time_asc&current-page=2", "launching", 4},
		{"a page after the last", "page-size=3&current-page=3", "", 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := list(t, s, tc.query)
			if got.ids() != tc.want || got.Count != tc.total {
				t.Errorf("got %q of %d, want %q of %d", got.ids(), got.Count, tc.want, tc.total)
			}
		})
	}
	for _, query := range []string{
		"page-size=0", "page-size=101", "page-size=x", "current-page=0", "current-page=101", "current-page=1.5",
		"job-status=RUNNING&job-status=SCALING", "job-status=RUNNING%2CSCALING", "order=age",
	} {
		t.Run("rejects "+query, func(t *testing.T) {
			serve(s, sampleRequest("GET", "v1.0", "?"+query, "")).is(t, 400, "DLI.0001")
		})
	}
	t.Run("a row has the fields of the status", func(t *testing.T) {
		got := serve(s, sampleRequest("GET", "v1.0", "?job-status=FINISHED", "")).body
		for _, want := range []string{
			`{"is_success":true,"job_count":1,"jobs":[{"job_id":"finished","job_type":"QUERY","queue_name":"default","owner":"test",` +
				`"start_time":1767225601000,"status":"FINISHED","duration":60000,"input_size":88,"result_count":4,"database_name":"dbtest","table_name":"tbtest","detail":"{`,
			`"statement":"select * from t1","message":"","end_time":1767225661000`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("got %s, want it to contain %s", got, want)
			}
		}
	})
}

func TestListIsLive(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now), WithStartOnRequest())
	for i := range 5 {
		s.SetJob(begins(Query(fmt.Sprint("j", i)).Running(time.Duration(i+1)*time.Minute).Finishes(1), clock.Now()))
	}
	const query = "job-status=RUNNING&page-size=2&order=start_time_asc&current-page="
	steps := []struct {
		name, query, want string
		do                func()
		total             int
	}{
		{"the first page", "1", "j0 j1", func() {}, 5},
		{"an end moves later rows up", "2", "j3 j4", func() { clock.advance(time.Minute) }, 4},
		{"a new job is on the last page", "3", "j9", func() { s.SetJob(begins(Query("j9").Running(time.Hour), clock.Now())) }, 5},
		{"a job that starts at the first request is not listed before", "3", "j9", func() { s.SetJob(Query("j8").Running(time.Hour)) }, 5},
		{"but from then on", "3", "j8 j9", func() { serve(s, request("j8")) }, 6},
		{"a removed job is not listed", "1", "j1 j3", func() { s.RemoveJob("j2") }, 5},
		{"a replaced job has its new state", "1", "j1 j4", func() { s.SetJob(begins(Query("j3").Fails("x"), clock.Now())) }, 4},
		{"all jobs have ended", "1", "", func() { clock.advance(time.Hour); s.RemoveJob("j8"); s.RemoveJob("j9") }, 2},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.do()
			got := list(t, s, query+step.query)
			if step.want == "" {
				if len(got.Jobs) != got.Count {
					t.Errorf("got %v", got)
				}
				return
			}
			if got.ids() != step.want || got.Count != step.total {
				t.Errorf("got %q of %d, want %q of %d", got.ids(), got.Count, step.want, step.total)
			}
		})
	}
}

func TestListQuirks(t *testing.T) {
	clock := newClock()
	const jobs = 90
	setUp := func(t *testing.T, quirks ListQuirks) *Server {
		t.Helper()
		s := newServer(t, WithClock(clock.Now))
		s.SetListQuirks(quirks)
		for i := range jobs {
			s.SetJob(Query(fmt.Sprintf("j%02d", i)).Running(time.Minute).Finishes(1))
		}
		return s
	}
	const largest = "job-status=RUNNING&page-size=100&order=start_time_asc"

	t.Run("rows lag behind the status", func(t *testing.T) {
		s := setUp(t, ListQuirks{Lag: 10 * time.Second})
		if got := list(t, s, largest); got.Count != 0 {
			t.Errorf("got %d jobs that have just started", got.Count)
		}
		clock.advance(65 * time.Second)
		if got := list(t, s, largest); got.Count != jobs || *got.Jobs[0].Duration != 55000 {
			t.Errorf("got %d jobs that have just ended", got.Count)
		}
		if got := serve(s, request("j00")); got.fields["status"] != "FINISHED" {
			t.Errorf("got %s of the status", got.body)
		}
		clock.advance(5 * time.Second)
		if got := list(t, s, largest); got.Count != 0 {
			t.Errorf("got %d jobs that ended long ago", got.Count)
		}
	})
	t.Run("jobs are missing", func(t *testing.T) {
		quirks := ListQuirks{Missing: 0.2, Seed: 7}
		s := setUp(t, quirks)
		first, second := list(t, s, largest), list(t, s, largest)
		if n := len(first.Jobs); n < jobs/2 || n >= jobs || first.Count != n {
			t.Errorf("got %d of %d", n, first.Count)
		}
		if first.ids() == second.ids() {
			t.Error("the same jobs are missing in each list")
		}
		s.SetListQuirks(quirks)
		if list(t, s, largest).ids() != first.ids() {
			t.Error("the same seed omits other jobs")
		}
		s.SetListQuirks(ListQuirks{})
		if got := list(t, s, largest); len(got.Jobs) != jobs {
			t.Errorf("got %d jobs without quirks", len(got.Jobs))
		}
	})
	t.Run("rows are wrong", func(t *testing.T) {
		got := list(t, setUp(t, ListQuirks{WrongStatus: 0.2, Seed: 7}), largest)
		wrong := 0
		for _, row := range got.Jobs {
			if row.Status != "RUNNING" {
				wrong++
			}
		}
		if wrong < 5 || wrong > 40 || len(got.Jobs) != jobs {
			t.Errorf("got %d wrong rows of %d", wrong, len(got.Jobs))
		}
	})
}

func TestListAccess(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now))
	s.SetJob(Query("j"))
	u := SampleUser()
	u.Denied = []string{"dli:jobs:list", "dli:queue:submitJob"}
	s.SetUsers(u)
	serve(s, sampleRequest("GET", "v1.0", "", "")).is(t, 403, "DLI.0003").says(t, "Policy doesn't allow dli:jobs:list to be performed.")
	serve(s, sampleRequest("POST", "v1.0", "/submit-job", `{"sql":"x"}`)).is(t, 403, "DLI.0003").says(t, "dli:queue:submitJob")
	serve(s, request("j")).is(t, 200, "")
	u.Denied = []string{"dli:jobs:get"}
	s.SetUsers(u)
	serve(s, sampleRequest("GET", "v1.0", "", "")).is(t, 200, "")
	serve(s, request("j")).is(t, 403, "DLI.0003")
	serve(s, sampleRequest("GET", "v1", "/j/progress", "")).is(t, 403, "DLI.0003")

	s.SetUsers(SampleUser())
	s.SetCallFault(CallList, GatewayError(404, "APIGW.0101", "not published", "r"))
	serve(s, sampleRequest("GET", "v1.0", "", "")).is(t, 404, "APIGW.0101")
	serve(s, request("j")).is(t, 200, "")
	s.SetCallFault(CallList, nil)
	serve(s, sampleRequest("GET", "v1.0", "", "")).is(t, 200, "")

	want := map[Call]int64{CallStatus: 3, CallList: 4, CallSubmit: 1, CallProgress: 1}
	got := s.Stats().ByCall
	for call, n := range want {
		if got[call] != n {
			t.Errorf("got %d requests of call %q, want %d", got[call], call, n)
		}
	}
}
