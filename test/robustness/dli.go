/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/robustness/check"
)

// frontend is DLI as the operators see it: the simulator, with a log of requests and
// responses, and injected faults.
type frontend struct {
	world   *world
	sim     *dlitest.Server
	address string

	mu       sync.Mutex
	server   *http.Server // nil while down
	closed   chan struct{}
	requests []check.Request
	asked    map[string]time.Time // when a job was last polled
	lies     map[string]lie       // by the fault's name
}

// lie is a fault that replaces a correct response.
type lie struct {
	// of selects the affected jobs.
	of func(job string) bool
	// tell sends the response; honest is the correct one.
	tell func(f *frontend, w http.ResponseWriter, r *http.Request, job string, honest *httptest.ResponseRecorder)
}

func newFrontend(w *world) (*frontend, error) {
	sim, err := dlitest.NewServer()
	if err != nil {
		return nil, err
	}
	f := &frontend{world: w, sim: sim, address: "127.0.0.1:0", closed: make(chan struct{}), asked: map[string]time.Time{}, lies: map[string]lie{}}
	return f, f.up()
}

func (f *frontend) url() string { return "http://" + f.address }

// up starts listening at the same address as before.
func (f *frontend) up() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		return fmt.Errorf("starting the DLI simulator: %w", err)
	}
	f.address = listener.Addr().String()
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second}
	go func(server *http.Server) { _ = server.Serve(listener) }(f.server)
	return nil
}

// down closes all connections and accepts no more.
func (f *frontend) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.server != nil {
		_ = f.server.Close()
		f.server = nil
	}
}

func (f *frontend) close() {
	close(f.closed)
	f.down()
	f.sim.Close()
}

// begin starts a lie, and end ends it.
func (f *frontend) begin(name string, l lie) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lies[name] = l
}

func (f *frontend) end(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.lies, name)
}

// lastAsked returns when a job was last polled.
func (f *frontend) lastAsked(job string) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[job]
}

func (f *frontend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, noted := f.arrive(r)
	told := f.lieAbout(request.Job)
	honest := httptest.NewRecorder()
	// The access key is checked even if the response is a lie.
	f.sim.ServeHTTP(honest, r)
	if honest.Code == http.StatusUnauthorized {
		f.mu.Lock()
		f.requests[noted].Rejected = true
		f.mu.Unlock()
	} else if told != nil {
		told.tell(f, w, r, request.Job, honest)
		return
	}
	f.answer(w, request.Job, honest.Code, honest.Header(), honest.Body.Bytes())
}

// arrive records a request and its connection.
func (f *frontend) arrive(r *http.Request) (check.Request, int) {
	now := time.Now()
	request := check.Request{At: now}
	// /v1.0/{project}/jobs for a list, /v1.0/{project}/jobs/{job}/status for a job
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) > 3 {
		request.Connection = parts[2]
	}
	if len(parts) > 4 {
		request.Job = parts[4]
	}
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Access=")
	request.Key, _, _ = strings.Cut(rest, ",")
	_, name, _ := strings.Cut(r.UserAgent(), "/")
	for _, replica := range f.world.replicas {
		if replica != nil && replica.name == name {
			request.Process = replica.process()
		}
	}
	f.world.mu.Lock()
	request.During = f.world.during
	f.world.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[request.Job] = now
	f.requests = append(f.requests, request)
	return request, len(f.requests) - 1
}

func (f *frontend) lieAbout(job string) *lie {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.lies {
		if l.of(job) {
			return &l
		}
	}
	return nil
}

// answer sends a complete response. It is recorded before it is sent, so that no client
// has it before.
func (f *frontend) answer(w http.ResponseWriter, job string, code int, header http.Header, body []byte) {
	var said struct {
		JobID  string `json:"job_id"`
		Status string `json:"status"`
		Code   string `json:"error_code"`
		Jobs   []struct {
			JobID string `json:"job_id"`
		} `json:"jobs"`
	}
	if json.Unmarshal(body, &said) == nil {
		switch {
		case code == http.StatusOK && job == "":
			f.mu.Lock()
			for _, row := range said.Jobs {
				f.asked[row.JobID] = time.Now()
			}
			f.mu.Unlock()
		case code == http.StatusOK && said.JobID == job:
			f.world.judge(func(h *check.History) { h.Answered(time.Now(), job, said.Status, false) })
		case code == http.StatusNotFound && said.Code == "DLI.0023":
			f.world.judge(func(h *check.History) { h.Answered(time.Now(), job, "", true) })
		}
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// log returns all requests so far, by arrival.
func (f *frontend) log() []check.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return check.ByTime(f.requests)
}

// untilGone waits until the client or the frontend has closed the connection.
func (f *frontend) untilGone(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-f.closed:
	}
}
