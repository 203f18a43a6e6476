// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// batchRequest is a request for what follows the batches of the sample project.
func batchRequest(method, rest, body string) *http.Request {
	r := sampleRequest(method, "v2.0", "", body)
	path, query, _ := strings.Cut(rest, "?")
	r.URL.Path, r.URL.RawQuery = "/v2.0/"+SampleUser().ProjectID+"/batches"+path, query
	return r
}

func TestLifeOfABatch(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now))
	s.SetJob(Batch("b").Launching(2*time.Second).Running(3*time.Second).Being("RECOVERING", time.Second).Finishes(0))
	s.SetJob(Batch("c").Launching(time.Second).Fails("stderr:\n1\n2\n3\n4\n5\n6\n7\n8\n9\nDLI.0002: gone"))
	s.SetJob(Query("q").Running(time.Hour))
	start := float64(vectorTime().UnixMilli())

	for _, tc := range []struct {
		after            time.Duration
		state            string
		ran              float64
		hasAnApplication bool
	}{
		{0, "starting", 0, false},
		{2 * time.Second, "running", 2000, true},
		{3 * time.Second, "recovering", 5000, true},
		{time.Second, "success", 6000, true},
		{time.Hour, "success", 6000, true},
	} {
		clock.advance(tc.after)
		got := serve(s, batchRequest("GET", "/b", "")).is(t, 200, "")
		want := map[string]any{"id": "b", "state": tc.state, "create_time": start, "update_time": start + tc.ran, "duration": tc.ran, "queue": "spark1", "kind": "spark"}
		for name, value := range want {
			if got.fields[name] != value {
				t.Errorf("after %v: got %s %v, want %v", tc.after, name, got.fields[name], value)
			}
		}
		if (got.fields["appId"] != "") != tc.hasAnApplication {
			t.Errorf("after %v: got appId %v", tc.after, got.fields["appId"])
		}
	}

	dead := serve(s, batchRequest("GET", "/c", "")).is(t, 200, "")
	lines, _ := dead.fields["log"].([]any)
	if dead.fields["state"] != "dead" || len(lines) != 10 || lines[9] != "DLI.0002: gone" || lines[0] != "1" {
		t.Errorf("got %s", dead.body)
	}
	serve(s, batchRequest("GET", "/q", "")).is(t, 400, "DLI.0002")
	serve(s, batchRequest("GET", "/unknown", "")).is(t, 400, "DLI.0002")
	serve(s, request("b")).is(t, 404, "DLI.0023")
	if got := s.Requests("b"); got != 6 {
		t.Errorf("%d requests for the batch are counted", got)
	}
}

func TestBatchLists(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now))
	for _, job := range []Job{
		Batch("a").Launching(time.Second).Running(time.Hour),
		Batch("b").Running(time.Hour),
		Batch("c").Fails("x"),
		Query("q").Running(time.Hour),
	} {
		s.SetJob(begins(job, vectorTime().Add(-time.Duration(job.ID[0])*time.Minute)))
	}
	for query, want := range map[string][]string{
		"":                                  {"a", "b", "c"},
		"order=CREATE_TIME_ASC":             {"c", "b", "a"},
		"state=running":                     {"a", "b"},
		"state=RUNNING&size=1":              {"a"},
		"order=CREATE_TIME_ASC&from=1":      {"b", "a"},
		"state=dead":                        {"c"},
		"state=starting":                    nil,
		"from=7":                            nil,
		"from=1&size=1&unknown=x&state=run": nil,
	} {
		got := serve(s, batchRequest("GET", "?"+query, "")).is(t, 200, "")
		var page struct {
			Total    int
			Sessions []struct{ ID, State string }
		}
		if err := json.Unmarshal([]byte(got.body), &page); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, session := range page.Sessions {
			ids = append(ids, session.ID)
		}
		if diff := cmp.Diff(want, ids); diff != "" || page.Total < len(ids) {
			t.Errorf("%s (-want +got):\n%s of %d", query, diff, page.Total)
		}
	}
	for _, query := range []string{"from=-1", "from=x", "size=0", "size=101", "state=running,dead", "state=running&state=dead", "order=start_time_asc"} {
		serve(s, batchRequest("GET", "?"+query, "")).is(t, 400, "DLI.0001")
	}
	if got := list(t, s, ""); got.Count != 1 || got.Jobs[0].ID != "q" {
		t.Errorf("the list of SQL jobs has %v", got)
	}
}

func TestBatchAccess(t *testing.T) {
	s := newServer(t)
	serve(s, batchRequest("POST", "", `{"file":" "}`)).is(t, 400, "DLI.0001")
	serve(s, batchRequest("POST", "", `x`)).is(t, 400, "DLI.0001")
	denied := SampleUser()
	denied.Denied = []string{"dli:queue:submitJob", "dli:jobs:list"}
	s.SetUsers(denied)
	serve(s, batchRequest("POST", "", `{"file":"f"}`)).is(t, 403, "DLI.0003")
	serve(s, batchRequest("GET", "", "")).is(t, 403, "DLI.0003")
	denied.Denied = []string{"dli:jobs:get"}
	s.SetUsers(denied)
	serve(s, batchRequest("GET", "", "")).is(t, 200, "")
	serve(s, batchRequest("GET", "/b", "")).is(t, 403, "DLI.0003")
}
