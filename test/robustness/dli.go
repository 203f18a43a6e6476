// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
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

// secondOperator is the name of an operator of another release, which takes no part in the
// leader election.
const secondOperator = "c"

// frontend is DLI as the operators see it: the simulator, with injected faults. It records
// requests and responses.
type frontend struct {
	history *check.History
	sim     *dlitest.Server
	address string
	// process names the process that runs as a replica now.
	process func(replica string) string

	mu     sync.Mutex
	server *http.Server // nil while down
	closed chan struct{}
	polled map[string]time.Time // when a job was last polled or listed
	lies   map[string]lie       // by the fault's name
}

// call is a request to DLI.
type call struct {
	replica, connection string
	// job is "" for a list.
	job string
	// isBatch is set for a Spark job, or a list of them.
	isBatch bool
}

// lie is a fault that replaces a correct response.
type lie struct {
	// affects selects the requests.
	affects func(c call) bool
	respond responder
}

// responder sends a response; honest is the correct one.
type responder = func(f *frontend, w http.ResponseWriter, r *http.Request, c call, honest *httptest.ResponseRecorder)

func newFrontend(history *check.History, process func(string) string) (*frontend, error) {
	sim, err := dlitest.NewServer()
	if err != nil {
		return nil, err
	}
	f := &frontend{
		history: history, sim: sim, address: "127.0.0.1:0", process: process,
		closed: make(chan struct{}), polled: map[string]time.Time{}, lies: map[string]lie{},
	}
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

// lastPolled returns when a job was last polled or listed.
func (f *frontend) lastPolled(job string) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.polled[job]
}

// ServeHTTP implements http.Handler.
func (f *frontend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	c := callOf(r)
	honest := httptest.NewRecorder()
	// The access key is checked even if the response is a lie.
	f.sim.ServeHTTP(honest, r)
	_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Access=")
	key, _, _ = strings.Cut(key, ",")
	request := check.Request{
		At: now, Process: f.process(c.replica), Connection: c.connection, Key: key,
		Rejected: honest.Code == http.StatusUnauthorized,
	}
	if c.replica != secondOperator {
		request.Replica = c.replica
	}
	f.history.Requested(request)
	f.mu.Lock()
	f.polled[c.job] = now
	f.mu.Unlock()
	if l, ok := f.lieAbout(c); ok && !request.Rejected {
		l.respond(f, w, r, c, honest)
		return
	}
	f.answer(w, c, honest.Code, honest.Header(), honest.Body.Bytes())
}

// callOf reads a request: /v1.0/{project}/jobs and /v2.0/{project}/batches for a list, and
// /v1.0/{project}/jobs/{job}/status and /v2.0/{project}/batches/{batch} for a job.
func callOf(r *http.Request) (c call) {
	parts := append(strings.Split(r.URL.Path, "/"), "", "", "", "")
	c.connection, c.job, c.isBatch = parts[2], parts[4], parts[3] == "batches"
	_, c.replica, _ = strings.Cut(r.UserAgent(), "/")
	return c
}

func (f *frontend) lieAbout(c call) (lie, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.lies {
		if l.affects(c) {
			return l, true
		}
	}
	return lie{}, false
}

// row is what is recorded of a status, or of a job in a list. DLI names a batch and its
// state otherwise than a SQL job and its status.
type row struct {
	JobID    string `json:"job_id"`
	BatchID  string `json:"id"`
	Status   string `json:"status"`
	State    string `json:"state"`
	Duration *int64 `json:"duration"`
	Code     string `json:"error_code"`
}

func (r row) id() string { return cmp.Or(r.JobID, r.BatchID) }

func (r row) answer() check.Answer {
	return check.Answer{Status: cmp.Or(r.Status, r.State), Duration: r.Duration}
}

// answer sends a complete response. It is recorded before it is sent, so that no client
// has it before.
func (f *frontend) answer(w http.ResponseWriter, c call, code int, header http.Header, body []byte) {
	var response struct {
		row
		Jobs    []row `json:"jobs"`
		Batches []row `json:"sessions"`
	}
	if json.Unmarshal(body, &response) == nil {
		f.record(c, code, response.row, append(response.Jobs, response.Batches...))
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

func (f *frontend) record(c call, code int, status row, list []row) {
	now := time.Now()
	switch {
	case code == http.StatusNotFound && status.Code == "DLI.0023", c.isBatch && code == http.StatusBadRequest && status.Code == "DLI.0002":
		f.history.Answered(now, c.job, check.Answer{NotFound: true})
	case code == http.StatusOK && c.job != "" && status.id() == c.job:
		f.history.Answered(now, c.job, status.answer())
	case code == http.StatusOK && c.job == "":
		f.mu.Lock()
		for _, r := range list {
			f.polled[r.id()] = now
		}
		f.mu.Unlock()
		for _, r := range list {
			answer := r.answer()
			answer.Row = true
			f.history.Answered(now, r.id(), answer)
		}
	}
}

// untilGone waits until the client or the frontend has closed the connection.
func (f *frontend) untilGone(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-f.closed:
	}
}
