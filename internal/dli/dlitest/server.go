// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package dlitest simulates Data Lake Insight: an HTTP server that answers
//
//	GET  /v1.0/{project_id}/jobs/{job_id}/status
//	GET  /v1.0/{project_id}/jobs
//	GET  /v1/{project_id}/jobs/{job_id}/progress
//	POST /v1.0/{project_id}/jobs/submit-job
//	GET  /v2.0/{project_id}/batches/{batch_id}
//	GET  /v2.0/{project_id}/batches
//	POST /v2.0/{project_id}/batches
//
// like the service, for jobs with a timeline, and that fails like the service, its gateway
// and networks fail. It shares no code with the client under test, and has its own
// implementation of the signature.
//
//	server, err := dlitest.NewServer()
//	...
//	defer server.Close()
//	server.SetJob(dlitest.Query("j1").Launching(2 * time.Second).Running(5 * time.Second).Finishes(4))
package dlitest

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// Server is a running simulated DLI service. Its methods are safe for concurrent use.
type Server struct {
	http *httptest.Server
	// closed stops endless answers.
	closed    chan struct{}
	closeOnce sync.Once

	options
	firstID uint64 // of a request

	mu       sync.Mutex // guards what follows
	users    []User
	locks    map[string]*lock   // by access key
	jobs     map[string]*entry  // by ID
	sorted   []*entry           // see started; nil if that has to look again
	faults   map[Call]*Response // by call
	template Job
	quirks   ListQuirks
	dice     *rand.Rand
	stats    Stats
}

// NewServer starts a server without jobs and with one user: SampleUser.
func NewServer(opts ...Option) (*Server, error) {
	s := &Server{
		closed:  make(chan struct{}),
		options: options{address: "127.0.0.1:0", now: time.Now},
		firstID: rand.Uint64(),
		users:   []User{SampleUser()},
		locks:   map[string]*lock{},
		jobs:    map[string]*entry{},
		faults:  map[Call]*Response{},
		stats:   Stats{Authenticated: map[string]int64{}, AuthFailures: map[string]int64{}, ByCall: map[Call]int64{}, ByCode: map[int]int64{}},
	}
	for _, opt := range opts {
		opt(&s.options)
	}
	if err := requireLoopback(s.address); err != nil {
		return nil, err
	}
	s.SetTemplate(Query("").Launching(2 * time.Second).Running(8 * time.Second).Finishes(4))

	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("starting the DLI simulator: %w", err)
	}
	s.http = &httptest.Server{
		Listener:    listener,
		EnableHTTP2: true,
		Config: &http.Server{
			Handler:           s,
			ReadHeaderTimeout: 10 * time.Second,
			ConnState: func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.stats.Connections++
				}
			},
		},
	}
	if s.tls {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	return s, nil
}

func requireLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("address %q is not a loopback address", address)
}

// URL is the endpoint: scheme, host and port.
func (s *Server) URL() string { return s.http.URL }

// CABundle is the certificate of a server WithTLS in PEM.
func (s *Server) CABundle() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// Close stops the server and all answers, including endless ones.
func (s *Server) Close() {
	s.closeOnce.Do(func() { close(s.closed) })
	s.http.Close()
}

// SetJob adds a job, or replaces the one with that ID. Its request count and SetResponse
// are kept.
func (s *Server) SetJob(job Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setJob(job)
}

func (s *Server) setJob(job Job) {
	job = job.ordered()
	if job.Start.IsZero() && !s.lazy {
		job.Start = s.now()
	}
	e := s.entry(job.ID)
	e.job, e.told, s.sorted = &job, time.Time{}, nil
}

// Job returns the job with that ID, with its Start once it has started.
func (s *Server) Job(id string) (Job, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	job := s.entry(id).job
	if job == nil {
		return Job{}, false
	}
	return *job, true
}

// RemoveJob removes a job: it is not found from now on.
func (s *Server) RemoveJob(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entry(id).job, s.sorted = nil, nil
}

// SetResponse answers authorized status requests for that job with r, whether or not the
// job exists, until it is set to nil.
func (s *Server) SetResponse(jobID string, r *Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entry(jobID).response = r
}

// SetCallFault answers every request of a call that passes the gateway with r, until it is
// set to nil: an edition of the service without the call, or where it fails.
func (s *Server) SetCallFault(call Call, r *Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[call] = r
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := route(r)
	q.now = s.now()
	q.requestID = s.arrived(q)
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stats.InFlight--
	}()
	w.Header()["X-Request-Id"] = []string{q.requestID}
	if s.dated {
		w.Header()["Date"] = []string{q.now.UTC().Format(http.TimeFormat)}
	}
	if !s.pause(r, s.latency) {
		s.answered(0)
		panic(http.ErrAbortHandler)
	}
	answer, instead := s.answer(r, q)
	if instead != nil {
		s.play(w, r, instead)
		return
	}
	s.answered(http.StatusOK)
	w.Header()["Content-Type"] = jsonContent
	_ = json.NewEncoder(w).Encode(answer)
}

// arrived counts a request, and returns its ID.
func (s *Server) arrived(q question) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Requests++
	s.stats.InFlight++
	s.stats.ByCall[q.call]++
	if q.call == CallStatus || q.call == CallBatch {
		s.entry(q.id).arrive(q.now)
	}
	return fmt.Sprintf("%032x", s.firstID+uint64(s.stats.Requests))
}

// answer returns the answer, or the response to send instead. The order of the checks is
// that of the real service: first the gateway's, then the service's.
func (s *Server) answer(r *http.Request, q question) (any, *Response) {
	if refusal := q.readBody(r); refusal != nil {
		return nil, refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errorRate > 0 && s.errorDice.Float64() < s.errorRate {
		return nil, GatewayError(http.StatusBadGateway, "APIGW.0202", "Backend unavailable", q.requestID)
	}
	if q.call == "" {
		return nil, GatewayError(http.StatusNotFound, "APIGW.0101",
			"The API does not exist or has not been published in the environment", q.requestID)
	}
	users, refusal := s.authenticate(r, q)
	if refusal != nil {
		return nil, refusal
	}
	if fault := s.faults[q.call]; fault != nil {
		return nil, fault
	}
	if refusal := malformed(r, q.project); refusal != nil {
		return nil, refusal
	}
	if refusal := authorize(users, q.project, q.action); refusal != nil {
		return nil, refusal
	}
	switch q.call {
	case CallList, CallBatchList:
		return s.answerList(r.URL.Query(), q)
	case CallBatchSubmit:
		return s.answerBatchSubmit(q)
	case CallProgress:
		return s.answerProgress(q)
	case CallSubmit:
		return s.answerSubmit(q)
	default:
		return s.answerStatus(q)
	}
}

// malformed rejects what the service's documentation does not allow.
func malformed(r *http.Request, project string) *Response {
	why := ""
	header := r.Header.Get("X-Project-Id")
	switch {
	case r.Method == http.MethodGet && (r.ContentLength != 0 || r.Header.Get("Content-Length") != ""):
		why = "A GET has no body."
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		why = "Content-Type is not application/json."
	case header != "" && header != project:
		why = "X-Project-Id " + header + " is not the project of the path."
	default:
		return nil
	}
	return parameterError(why)
}

func parameterError(why string) *Response { return DLIError(http.StatusBadRequest, "DLI.0001", why) }
