// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: vectorTime()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newServer(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, err := NewServer(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// answer is the result of a request.
type answer struct {
	status int
	header http.Header
	body   string
	fields map[string]any
}

func serve(s http.Handler, r *http.Request) answer {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), body: w.Body.String()}
	_ = json.Unmarshal([]byte(a.body), &a.fields)
	return a
}

func (a answer) is(t *testing.T, status int, code string) answer {
	t.Helper()
	got, _ := a.fields["error_code"].(string)
	if a.status != status || got != code {
		t.Errorf("got %d %s, want %d %s", a.status, a.body, status, code)
	}
	if len(a.header.Get("X-Request-Id")) != 32 {
		t.Errorf("got request id %q, want 32 digits", a.header.Get("X-Request-Id"))
	}
	return a
}

func (a answer) says(t *testing.T, text string) {
	t.Helper()
	if message, _ := a.fields["error_msg"].(string); !strings.Contains(message, text) {
		t.Errorf("got %q, want it to say %q", message, text)
	}
}

// request returns a request of the sample user for a job, with a token.
func request(id string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, pathOf(id), nil)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Auth-Token", SampleUser().Token)
	return r
}

func pathOf(id string) string {
	return "/v1.0/" + SampleUser().ProjectID + "/jobs/" + id + "/status"
}

func TestLifeOfAJob(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now))
	job := Query("j1").Launching(2 * time.Second).Running(6 * time.Second).Finishes(4)
	job.Statement = "select \"a\\b\"\n\tfrom t1"
	s.SetJob(job)
	s.SetJob(Query("endless").Running(time.Second))
	start := float64(vectorTime().UnixMilli())

	steps := []struct {
		name     string
		wait     time.Duration
		progress float64
		want     map[string]any
	}{
		{"there are no figures while it is launching", time.Second, 0, map[string]any{
			"status": "LAUNCHING", "start_time": start, "duration": nil, "detail": nil,
			"result_count": nil, "input_size": nil, "job_type": "QUERY", "job_mode": "async",
			"is_success": true, "message": "", "job_id": "j1", "queue_name": "default",
			"owner": "test", "statement": job.Statement,
		}},
		{"the duration grows while it is running", 2 * time.Second, 0.375, map[string]any{
			"status": "RUNNING", "start_time": start, "duration": 3000.0, "detail": "",
		}},
		{"the duration keeps growing", 3500 * time.Millisecond, 0.8125, map[string]any{
			"status": "RUNNING", "duration": 6500.0,
		}},
		{"the figures are known at the end", 2 * time.Second, 1, map[string]any{
			"status": "FINISHED", "start_time": start, "duration": 8000.0, "result_count": 4.0,
			"input_size": 88.0, "database_name": "dbtest", "table_name": "tbtest",
			"detail": Query("").Detail,
		}},
		{"the duration no longer grows after the end", time.Hour, 1, map[string]any{
			"status": "FINISHED", "duration": 8000.0,
		}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			clock.advance(step.wait)
			got := serve(s, request("j1")).is(t, 200, "")
			for name, want := range step.want {
				value, present := got.fields[name]
				if !present || value != want {
					t.Errorf("got %s %v (present: %v), want %v", name, value, present, want)
				}
			}
			for id, want := range map[string]float64{"j1": step.progress, "endless": 0.5} {
				if got := serve(s, sampleRequest("GET", "v1", "/"+id+"/progress", "")).fields["progress"]; got != want {
					t.Errorf("the progress of %s is %v, want %v", id, got, want)
				}
			}
		})
	}
	if got := s.Requests("j1"); got != len(steps) {
		t.Errorf("got %d requests, want %d", got, len(steps))
	}
}

func TestJobsThatAreNotFound(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now))
	later := Query("later")
	later.Start = clock.Now().Add(time.Second)
	s.SetJob(later)
	serve(s, request("later")).is(t, 404, "DLI.0023")
	clock.advance(time.Second)
	serve(s, request("later")).is(t, 200, "")
	other := Query("other")
	other.ProjectID = "p2"
	s.SetJob(other)
	serve(s, request("other")).is(t, 404, "DLI.0023")
}

func TestRoutes(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{
		"POST " + pathOf("j"), "GET /v1.0/p/jobs/j", "GET /v1/p/jobs/j/status", "GET /v1.0/p/jobs//status", "GET /v1.0/p/jobs/../status",
		"GET /v1.0/p/jobs/a/b/status", "GET /v1.0/p/jobs/", "GET /v1/p/jobs", "GET /v1.0/p/jobs/j/progress", "GET /v1/p/jobs/j/progress/status",
		"GET /v2.0/p/batches/", "GET /v2.0/p/batches/b/", "GET /v2.0/p/batches/b/x", "GET /v2.0/p/batches/..", "POST /v2.0/p/batches/b",
		"DELETE /v2.0/p/batches/b", "PUT /v2.0/p/batches", "GET /v1.0/p/batches",
	} {
		t.Run(path, func(t *testing.T) {
			r := request("j")
			r.Method, r.URL.Path, _ = strings.Cut(path, " ")
			serve(s, r).is(t, 404, "APIGW.0101")
		})
	}
	for name, path := range map[string]string{"an escaped slash is part of an id": "a%2Fb", "an unknown job is not found": "unknown"} {
		t.Run(name, func(t *testing.T) {
			r := request("j")
			r.URL.Path, r.URL.RawPath = strings.ReplaceAll(pathOf(path), "%2F", "/"), pathOf(path)
			serve(s, r).is(t, 404, "DLI.0023")
		})
	}
	if got := s.Stats().ByCall; got[CallStatus] != 2 || got[""] != 18 {
		t.Errorf("got requests %v", got)
	}
}

func TestErrorRateAndLatency(t *testing.T) {
	const late = 20 * time.Millisecond
	outcomes := func() (codes string) {
		s := newServer(t, WithErrorRate(0.25))
		s.SetJob(Query("j"))
		for range 400 {
			codes += string(rune('0' + serve(s, request("j")).status/100))
		}
		return codes
	}
	first, second := outcomes(), outcomes()
	if n := strings.Count(first, "5"); n < 60 || n > 140 || first != second {
		t.Errorf("got %d errors of 400, want about 100, the same each time", n)
	}
	s, began := newServer(t, WithLatency(late)), time.Now()
	serve(s, request("j"))
	if took := time.Since(began); took < late {
		t.Errorf("it took %v, want at least %v", took, late)
	}
}

func TestContentLengthOnAGet(t *testing.T) {
	s := newServer(t)
	s.SetJob(Query("j"))
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "GET "+pathOf("j")+" HTTP/1.1\r\nHost: dli\r\nContent-Length: 0\r\n"+
		"Content-Type: application/json\r\nX-Auth-Token: TOKENEXAMPLE\r\nConnection: close\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("got %s, want 400", resp.Status)
	}
}
