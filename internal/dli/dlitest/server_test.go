// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
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
	s.SetJob(Query("j1").Launching(2 * time.Second).Running(5 * time.Second).Finishes(4))
	start := float64(vectorTime().UnixMilli())

	steps := []struct {
		name string
		wait time.Duration
		want map[string]any
	}{
		{"there are no figures while it is launching", time.Second, map[string]any{
			"status": "LAUNCHING", "start_time": start, "duration": nil, "detail": nil,
			"result_count": nil, "input_size": nil, "job_type": "QUERY", "job_mode": "async",
			"is_success": true, "message": "", "job_id": "j1", "queue_name": "default",
			"owner": "test", "statement": "select * from t1",
		}},
		{"the duration grows while it is running", 2 * time.Second, map[string]any{
			"status": "RUNNING", "start_time": start, "duration": 3000.0, "detail": "",
		}},
		{"the duration keeps growing", 3500 * time.Millisecond, map[string]any{
			"status": "RUNNING", "duration": 6500.0,
		}},
		{"the figures are known at the end", time.Second, map[string]any{
			"status": "FINISHED", "start_time": start, "duration": 7000.0, "result_count": 4.0,
			"input_size": 88.0, "database_name": "dbtest", "table_name": "tbtest",
			"detail": Query("").Detail,
		}},
		{"the duration no longer grows after the end", time.Hour, map[string]any{
			"status": "FINISHED", "duration": 7000.0,
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
		})
	}
	if got := s.Requests("j1"); got != len(steps) {
		t.Errorf("got %d requests, want %d", got, len(steps))
	}
}

func TestEndsOfJobs(t *testing.T) {
	tests := []struct {
		name string
		job  Job
		want string
	}{
		{"an insert has its bad rows", Insert("j").Inserts(998, 2), `"status":"FINISHED","duration":0,` +
			`"input_row_count":1000,"bad_row_count":2,"input_size":22000,"result_count":998,`},
		{"counts are exact beyond the precision of a float", Insert("j").Inserts(9007199254740993, 0),
			`"result_count":9007199254740993,`},
		{"a failure has its reason", Query("j").Fails("DLI.0002: \"x\"\nCause by: \\"),
			`{"is_success":true,"message":"DLI.0002: \"x\"\u000aCause by: \\",`},
		{"a cancellation has its reason", Query("j").Cancelled("Execution Timeout"),
			`"message":"Execution Timeout","job_id":"j"`},
		{"any status can be simulated", Query("j").Being("SUSPENDED", time.Minute), `"status":"SUSPENDED"`},
		{"missing fields are omitted", Job{ID: "j", Timeline: []Phase{{Status: "RUNNING"}}},
			`{"is_success":true,"message":"","job_id":"j","start_time":1767225600000,"status":"RUNNING",` +
				`"duration":0,"detail":""}`},
		{"phases may be given in any order", Job{ID: "j", Timeline: []Phase{
			{After: time.Hour, Status: "FAILED"}, {Status: "SCALING"},
		}}, `"status":"SCALING"`},
		{"a finished job has its result path", Job{ID: "j", ResultPath: "obs://b/r"}.Finishes(0),
			`"result_count":0,"result_path":"obs://b/r"`},
		{"a phase can have a response instead", Job{ID: "j", Timeline: []Phase{
			{Response: &Response{Body: "odd"}},
		}}, "odd"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, WithClock(vectorTime))
			s.SetJob(test.job)
			got := serve(s, request("j")).is(t, 200, "")
			if !strings.Contains(got.body, test.want) {
				t.Errorf("got %s, want it to contain %s", got.body, test.want)
			}
			if strings.HasPrefix(got.body, "{") && !json.Valid([]byte(got.body)) {
				t.Errorf("got %s, which is not JSON", got.body)
			}
		})
	}
}

func TestEndsAt(t *testing.T) {
	start := vectorTime()
	tests := []struct {
		name string
		job  Job
		want time.Time
		ends bool
	}{
		{"a job ends with its last phase", Query("j").Running(time.Minute).Finishes(1), start.Add(time.Minute), true},
		{"a job that keeps running never ends", Query("j").Running(time.Minute), time.Time{}, false},
		{"a response is not an end", Job{Timeline: []Phase{{Status: "FAILED", Response: &Response{}}}}, time.Time{}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.job.Start = start
			if got, ends := test.job.EndsAt(); !got.Equal(test.want) || ends != test.ends {
				t.Errorf("got %v, %v, want %v, %v", got, ends, test.want, test.ends)
			}
		})
	}
	t.Run("a job without a start has no end", func(t *testing.T) {
		if got, ends := Query("j").Finishes(1).EndsAt(); ends {
			t.Errorf("got %v, want none", got)
		}
	})
	t.Run("the samples end within 25 seconds", func(t *testing.T) {
		for _, job := range SampleJobs() {
			job.Start = start
			if end, ok := job.EndsAt(); !ok || end.Sub(start) >= 25*time.Second {
				t.Errorf("job %s: got end %v, %v", job.ID, end, ok)
			}
		}
	})
	t.Run("jobs with the same first phases do not share a timeline", func(t *testing.T) {
		running := Query("j").Launching(time.Second).Running(time.Second)
		good, bad := running.Finishes(1), running.Fails("x")
		if got := good.Timeline[2].Status; got != "FINISHED" || bad.Timeline[2].Status != "FAILED" {
			t.Errorf("got %s, want FINISHED", got)
		}
	})
}

func TestJobsCanBeChangedAtAnyTime(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now), WithRequestLog())

	serve(s, request("j")).is(t, 404, "DLI.0023")
	s.SetJob(Query("j").Running(time.Minute))
	serve(s, request("j")).is(t, 200, "")
	s.SetResponse("j", DLIError(400, "DLI.0999", "busy"))
	serve(s, request("j")).is(t, 400, "DLI.0999")
	s.SetResponse("j", nil)
	clock.advance(time.Second)
	serve(s, request("j")).is(t, 200, "")
	s.RemoveJob("j")
	serve(s, request("j")).is(t, 404, "DLI.0023")

	if got := s.Requests("j"); got != 5 {
		t.Errorf("got %d requests, want 5", got)
	}
	log := s.Log("j")
	if len(log) != 5 || log[2] != vectorTime() || log[4] != clock.Now() {
		t.Errorf("got log %v", log)
	}

	t.Run("a job is not found before it starts", func(t *testing.T) {
		job := Query("later")
		job.Start = clock.Now().Add(time.Second)
		s.SetJob(job)
		serve(s, request("later")).is(t, 404, "DLI.0023")
		clock.advance(time.Second)
		serve(s, request("later")).is(t, 200, "")
	})
	t.Run("a job of another project is not found", func(t *testing.T) {
		job := Query("other")
		job.ProjectID = "p2"
		s.SetJob(job)
		serve(s, request("other")).is(t, 404, "DLI.0023")
	})
}

func TestStartOnRequest(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now), WithStartOnRequest())
	s.SetJob(Query("j").Launching(time.Second).Running(time.Second))
	clock.advance(time.Hour)
	if got := serve(s, request("j")); got.fields["status"] != "LAUNCHING" {
		t.Errorf("got %s, want LAUNCHING", got.body)
	}
	clock.advance(time.Second)
	if got := serve(s, request("j")); got.fields["status"] != "RUNNING" || got.fields["duration"] != 1000.0 {
		t.Errorf("got %s, want RUNNING for one second", got.body)
	}
	if job, ok := s.Job("j"); !ok || !job.Start.Equal(clock.Now().Add(-time.Second)) {
		t.Errorf("got %v, %v", job.Start, ok)
	}
}

func TestRoutes(t *testing.T) {
	tests := []struct {
		name, method, path string
		status             int
		code               string
	}{
		{"another method is not published", "POST", pathOf("j"), 404, "APIGW.0101"},
		{"another path is not published", "GET", "/v1.0/p/jobs/j", 404, "APIGW.0101"},
		{"another version is not published", "GET", "/v1/p/jobs/j/status", 404, "APIGW.0101"},
		{"an empty id is not published", "GET", "/v1.0/p/jobs//status", 404, "APIGW.0101"},
		{"a dot segment is not published", "GET", "/v1.0/p/jobs/../status", 404, "APIGW.0101"},
		{"one segment too many is not published", "GET", "/v1.0/p/jobs/a/b/status", 404, "APIGW.0101"},
		{"an escaped slash is part of an id", "GET", pathOf("a%2Fb"), 404, "DLI.0023"},
		{"an unknown job is not found", "GET", pathOf(SampleUnknown), 404, "DLI.0023"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			r := request("j")
			r.Method = test.method
			r.URL.Path, r.URL.RawPath = test.path, ""
			if strings.Contains(test.path, "%") {
				r.URL.Path, r.URL.RawPath = strings.ReplaceAll(test.path, "%2F", "/"), test.path
			}
			serve(s, r).is(t, test.status, test.code)
		})
	}
}

func TestRateLimit(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now), WithRateLimit(2, 1500*time.Millisecond))
	s.SetJob(Query("j"))
	for second := range 2 {
		serve(s, request("j")).is(t, 200, "")
		serve(s, request("j")).is(t, 200, "")
		got := serve(s, request("j")).is(t, 429, "APIGW.0308")
		got.says(t, "policy user over ratelimit,limit:2,time:1 second")
		if after := got.header.Get("Retry-After"); after != "2" {
			t.Errorf("second %d: got Retry-After %q, want 2", second, after)
		}
		clock.advance(time.Second)
	}
	stats := s.Stats()
	if stats.PeakPerSecond != 3 || stats.Requests != 6 || stats.ByCode[429] != 2 || stats.ByCode[200] != 4 {
		t.Errorf("got %+v", stats)
	}
}

func TestErrorRate(t *testing.T) {
	outcomes := func(seed uint64) string {
		s := newServer(t, WithErrorRate(0.25, seed))
		s.SetJob(Query("j"))
		codes := ""
		for range 400 {
			codes += string(rune('0' + serve(s, request("j")).status/100))
		}
		return codes
	}
	first := outcomes(7)
	if n := strings.Count(first, "5"); n < 60 || n > 140 {
		t.Errorf("got %d errors of 400, want about 100", n)
	}
	if outcomes(7) != first {
		t.Error("the same seed fails other requests")
	}
	if outcomes(8) == first {
		t.Error("another seed fails the same requests")
	}
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		name, address string
		opts          []Option
		ok            bool
	}{
		{"a loopback address is fine", "127.0.0.1:0", nil, true},
		{"localhost is fine", "localhost:0", nil, true},
		{"all addresses are rejected", "0.0.0.0:0", nil, false},
		{"no address means all addresses", ":0", nil, false},
		{"a name is rejected", "example.com:0", nil, false},
		{"an address without a port is rejected", "127.0.0.1", nil, false},
		{"all addresses are fine with WithAnyAddress", "0.0.0.0:0", []Option{WithAnyAddress()}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := NewServer(append(test.opts, WithAddress(test.address))...)
			if (err == nil) != test.ok {
				t.Fatalf("got error %v, want success: %v", err, test.ok)
			}
			if err == nil {
				s.Close()
			}
		})
	}
}

// ask sends a request over the network, as the sample user.
func ask(t *testing.T, client *http.Client, s *Server, id string) (*http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+pathOf(id), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = request(id).Header
	return client.Do(r)
}

func newClient(t *testing.T, s *Server) *http.Client {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true}
	if s.CABundle() != nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(s.CABundle())
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// protocols are the protocols of a client's connection.
var protocols = []struct {
	name string
	opts []Option
}{
	{"over HTTP/1", nil},
	{"over HTTP/2", []Option{WithTLS()}},
}

func TestFaults(t *testing.T) {
	for _, protocol := range protocols {
		t.Run("a correct response is complete "+protocol.name, func(t *testing.T) {
			s := newServer(t, protocol.opts...)
			s.SetJob(Query("j"))
			resp, err := ask(t, newClient(t, s), s, "j")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || !json.Valid(body) {
				t.Errorf("got %s, %v", body, err)
			}
			if want := len(protocol.opts) + 1; resp.ProtoMajor != want {
				t.Errorf("got %s, want HTTP/%d", resp.Proto, want)
			}
		})
		t.Run("a cut response is truncated "+protocol.name, func(t *testing.T) {
			s := newServer(t, protocol.opts...)
			s.SetFault(&Response{Body: `{"is_success":true`, Cut: true})
			resp, err := ask(t, newClient(t, s), s, "j")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err == nil || string(body) != `{"is_success":true` {
				t.Errorf("got %q, %v, want the part and an error", body, err)
			}
		})
		t.Run("a reset is not a response "+protocol.name, func(t *testing.T) {
			s := newServer(t, protocol.opts...)
			s.SetFault(&Response{Reset: true})
			resp, err := ask(t, newClient(t, s), s, "j")
			if err == nil {
				resp.Body.Close()
				t.Fatal("got a response")
			}
			if protocol.opts == nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v, want a reset by the peer", err)
			}
			if got := s.Stats().ByCode[0]; got == 0 {
				t.Error("it is not counted as a missing response")
			}
		})
		t.Run("a slow response does not end "+protocol.name, func(t *testing.T) {
			s := newServer(t, protocol.opts...)
			s.SetFault(&Response{Body: "{", Slow: true})
			resp, err := ask(t, newClient(t, s), s, "j")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if first, err := bufio.NewReader(resp.Body).Peek(3); string(first) != "{  " {
				t.Errorf("got %q, %v", first, err)
			}
		})
		t.Run("closing the server ends hanging requests "+protocol.name, func(t *testing.T) {
			s := newServer(t, protocol.opts...)
			s.SetFault(&Response{Hang: true})
			client, failed := newClient(t, s), make(chan error)
			go func() {
				resp, err := ask(t, client, s, "j")
				if err == nil {
					resp.Body.Close()
				}
				failed <- err
			}()
			for s.Stats().InFlight == 0 {
				select {
				case err := <-failed:
					t.Fatalf("got %v before the end", err)
				case <-time.After(time.Millisecond):
				}
			}
			s.Close()
			if err := <-failed; err == nil {
				t.Error("got a response")
			}
		})
	}
	t.Run("a delayed response of a slow service is late", func(t *testing.T) {
		const late = 20 * time.Millisecond
		s := newServer(t, WithLatency(late))
		s.SetFault(&Response{Delay: late})
		begin := time.Now()
		serve(s, request("j")).is(t, 200, "")
		if took := time.Since(begin); took < 2*late {
			t.Errorf("it took %v, want at least %v", took, 2*late)
		}
	})
	t.Run("a response is sent unchanged", func(t *testing.T) {
		s := newServer(t)
		s.SetFault(&Response{Status: 503, Header: http.Header{"retry-after": {"3"}}, Body: "<html>busy</html>"})
		got := serve(s, httptest.NewRequest("PUT", "/", nil)).is(t, 503, "")
		if got.header.Get("Retry-After") != "3" || got.body != "<html>busy</html>" {
			t.Errorf("got %v", got)
		}
		s.SetFault(nil)
		serve(s, request("j")).is(t, 404, "DLI.0023")
	})
}

func TestConnectionsAreCounted(t *testing.T) {
	s := newServer(t)
	client := newClient(t, s)
	for range 3 {
		resp, err := ask(t, client, s, "j")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if got := s.Stats().Connections; got != 1 {
		t.Errorf("got %d connections, want one kept alive", got)
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

func TestPodIdentity(t *testing.T) {
	user := User{AccessKeyID: "AK", SecretAccessKey: "SK", SecurityToken: "ST"}
	post := func(token, body string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Authorization", token)
		return r
	}
	tests := []struct {
		name    string
		request *http.Request
		status  int
		body    string
	}{
		{"the pod's token returns credentials with their expiry", post("pod", "{}"), 200,
			`{"credentials":{"accessKeyId":"AK","secretAccessKey":"SK","securityToken":"ST",` +
				`"expiration":"2026-01-01T00:15:00.000000Z"}}`},
		{"another token is rejected", post("other", "{}"), 401, ""},
		{"another body is rejected", post("pod", ""), 400, ""},
		{"another method is rejected", httptest.NewRequest(http.MethodGet, "/", nil), 405, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := NewPodIdentity("pod", user, 15*time.Minute, vectorTime)
			got := serve(p, test.request)
			if got.status != test.status || test.body != "" && got.body != test.body {
				t.Errorf("got %d %s, want %d %s", got.status, got.body, test.status, test.body)
			}
			if p.Fetches() != 1 {
				t.Errorf("got %d fetches, want 1", p.Fetches())
			}
		})
	}
	t.Run("failures and new credentials can be set at any time", func(t *testing.T) {
		p := NewPodIdentity("pod", user, 15*time.Minute, vectorTime)
		p.SetFault(&Response{Status: 500})
		if got := serve(p, post("pod", "{}")); got.status != 500 {
			t.Errorf("got %d, want 500", got.status)
		}
		p.SetFault(nil)
		p.SetUser(User{AccessKeyID: "AK2"})
		if got := serve(p, post("pod", "{}")); !strings.Contains(got.body, `"AK2"`) {
			t.Errorf("got %s, want AK2", got.body)
		}
		if p.Fetches() != 2 {
			t.Errorf("got %d fetches, want 2", p.Fetches())
		}
	})
}

func TestScripts(t *testing.T) {
	t.Run("a job survives being written and read", func(t *testing.T) {
		job := Insert("j").Running(90*time.Second).Inserts(998, 2)
		job.Start = vectorTime()
		job.Timeline = append(job.Timeline, Phase{
			After: time.Hour, Response: &Response{Status: 503, Delay: time.Second, Cut: true},
		})
		text, err := json.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		var read Job
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(read)
		if err != nil || string(again) != string(text) {
			t.Errorf("got %s, %v, want %s", again, err, text)
		}
		if !strings.Contains(string(text), `{"after":"1m30s","status":"FINISHED"`) {
			t.Errorf("got %s, want durations in words", text)
		}
		if end, _ := read.EndsAt(); !end.Equal(vectorTime().Add(90 * time.Second)) {
			t.Errorf("got end %v", end)
		}
	})
	for _, test := range []struct{ name, text string }{
		{"a misspelled field of a phase is an error", `{"timeline":[{"stauts":"RUNNING"}]}`},
		{"a misspelled field of a response is an error", `{"timeline":[{"response":{"hangs":true}}]}`},
		{"a duration without unit is an error", `{"timeline":[{"after":"5"}]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var job Job
			if err := json.Unmarshal([]byte(test.text), &job); err == nil {
				t.Errorf("got %+v, want an error", job)
			}
		})
	}
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	s := newServer(t, WithRequestLog(), WithRateLimit(1000, 0), WithErrorRate(0.1, 1), WithStartOnRequest())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				s.SetUsers(SampleUser())
				s.SetJob(Query("j").Launching(time.Millisecond).Finishes(1))
				serve(s, request("j"))
				s.SetResponse("j", nil)
				s.RemoveJob("j")
				s.Stats()
				s.Log("j")
			}
		})
	}
	all.Wait()
	if got := s.Requests("j"); got != 400 {
		t.Errorf("got %d requests, want 400", got)
	}
}

// BenchmarkServer measures one signed request for one of 50,000 running jobs, from the
// parsed request to the written body: what the simulator adds to net/http.
func BenchmarkServer(b *testing.B) {
	s := newServer(b)
	start := time.Now()
	requests := make([]*http.Request, 0, 64)
	for i := range 50_000 {
		id := "208b08d4-0dc2-4dd7-8879-" + time.Unix(int64(i), 0).UTC().Format("060102150405")
		s.SetJob(Query(id).Running(24 * time.Hour).Finishes(4))
		if i%1000 == 0 {
			r := httptest.NewRequest(http.MethodGet, pathOf(id), nil)
			sign(r, SampleUser(), start)
			requests = append(requests, r)
		}
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w := &discard{header: http.Header{}}
		for i := 0; pb.Next(); i++ {
			s.ServeHTTP(w, requests[i%len(requests)])
		}
	})
	b.StopTimer()
	if stats := s.Stats(); stats.ByCode[200] != stats.Requests {
		b.Fatalf("got %v", stats.ByCode)
	}
}

// BenchmarkStatusJSON only measures the body.
func BenchmarkStatusJSON(b *testing.B) {
	job := Query("208b08d4-0dc2-4dd7-8879-ddd4c020d7aa").Finishes(4)
	job.Start = vectorTime()
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		body = job.appendStatus(body[:0], job.Timeline[0], vectorTime())
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
