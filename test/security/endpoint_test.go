// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// endpoint is an attacker's: it has an answer of its own to each poll, and none to lists.
type endpoint struct {
	*httptest.Server
	polls  atomic.Int64
	mu     sync.Mutex
	byJob  map[string]int
	closed chan struct{}
}

// newEndpoint starts an endpoint. answer gets the ID of the polled job, and how many polls of
// it there were, from 1.
func newEndpoint(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, jobID string, nth int)) *endpoint {
	t.Helper()
	e := &endpoint{byJob: map[string]int{}, closed: make(chan struct{})}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, job, found := strings.Cut(strings.TrimSuffix(r.URL.Path, "/status"), "/jobs/")
		if !found {
			http.NotFound(w, r)
			return
		}
		e.polls.Add(1)
		e.mu.Lock()
		e.byJob[job]++
		nth := e.byJob[job]
		e.mu.Unlock()
		answer(w, r, job, nth)
	}))
	t.Cleanup(func() {
		close(e.closed)
		e.CloseClientConnections()
		e.Close()
	})
	return e
}

// of returns how often a job was polled.
func (e *endpoint) of(job string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.byJob[job]
}

// hang answers nothing until the client gives up or the test ends.
func (e *endpoint) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-e.closed:
	}
	panic(http.ErrAbortHandler)
}

// status is a response about a job, with other fields.
func status(jobID, word string, fields map[string]any) []byte {
	response := map[string]any{"is_success": true, "message": "", "job_id": jobID, "status": word}
	maps.Copy(response, fields)
	text, _ := json.Marshal(response) // nothing in it can fail
	return text
}

// respond sends a response in JSON.
func respond(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
