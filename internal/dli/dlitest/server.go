// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package dlitest simulates Data Lake Insight: an HTTP server that answers
//
//	GET  /v1.0/{project_id}/jobs/{job_id}/status
//	GET  /v1.0/{project_id}/jobs
//	GET  /v1/{project_id}/jobs/{job_id}/progress
//	POST /v1.0/{project_id}/jobs/submit-job
//	GET  /v2.0/{project_id}/batches/{batch_id}
//	GET  /v2.0/{project_id}/batches/{batch_id}/state
//	GET  /v2.0/{project_id}/batches/{batch_id}/log
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
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Server is a running simulated DLI service. Its methods are safe for concurrent use.
type Server struct {
	http     *httptest.Server
	caBundle []byte
	// closed stops endless answers.
	closed    chan struct{}
	closeOnce sync.Once

	options

	accounts atomic.Pointer[accounts]
	callers  sync.Map // name -> *caller
	jobs     sync.Map // job id -> *entry
	fault    atomic.Pointer[Response]
	// faults holds the fault response by Call.
	faults   sync.Map
	listing  listing
	template atomic.Pointer[Job]

	counters  counters
	requestID atomic.Uint64
}

// NewServer starts a server without jobs and with one user: SampleUser.
func NewServer(opts ...Option) (*Server, error) {
	s := &Server{
		closed:  make(chan struct{}),
		options: options{address: "127.0.0.1:0", now: time.Now},
	}
	for _, opt := range opts {
		opt(&s.options)
	}
	if !s.anyAddress {
		if err := requireLoopback(s.address); err != nil {
			return nil, err
		}
	}
	s.requestID.Store(rand.Uint64())
	s.SetListQuirks(ListQuirks{})
	s.SetTemplate(Query("").Launching(2 * time.Second).Running(8 * time.Second).Finishes(4))
	s.SetUsers(SampleUser())

	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("starting the DLI simulator: %w", err)
	}
	s.http = &httptest.Server{
		Listener: listener,
		Config: &http.Server{
			Handler:           s,
			ReadHeaderTimeout: 10 * time.Second,
			ConnState: func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					s.counters.connections.Add(1)
				}
			},
		},
	}
	if !s.tls {
		s.http.Start()
		return s, nil
	}
	certificate, bundle, err := selfSigned(listener.Addr())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a certificate: %w", err), listener.Close())
	}
	s.caBundle = bundle
	s.http.TLS = &tls.Config{
		Certificates: []tls.Certificate{certificate},
		NextProtos:   []string{"h2", "http/1.1"},
		MinVersion:   tls.VersionTLS12,
	}
	s.http.StartTLS()
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

// CABundle is the certificate of the server in PEM; nil without WithTLS.
func (s *Server) CABundle() []byte { return s.caBundle }

// Close stops the server and all answers, including endless ones.
func (s *Server) Close() {
	s.closeOnce.Do(func() { close(s.closed) })
	s.http.Close()
}

// SetJob adds a job, or replaces the one with that ID. Its request count and SetResponse
// are kept.
func (s *Server) SetJob(job Job) {
	job = job.ordered()
	if job.Start.IsZero() && !s.lazy {
		job.Start = s.now()
	}
	e := s.entry(job.ID)
	e.job.Store(&job)
	e.told.Store(0)
	s.listing.change(job.ID)
}

// Job returns the job with that ID, with its Start once it has started.
func (s *Server) Job(id string) (Job, bool) {
	job := s.entry(id).job.Load()
	if job == nil {
		return Job{}, false
	}
	return *job, true
}

// RemoveJob removes a job: it is not found from now on.
func (s *Server) RemoveJob(id string) {
	s.entry(id).job.Store(nil)
	s.listing.change(id)
}

// SetResponse answers authorized status requests for that job with r, whether or not the
// job exists, until it is set to nil.
func (s *Server) SetResponse(jobID string, r *Response) { s.entry(jobID).response.Store(r) }

// SetFault answers every request with r without examining it, until it is set to nil: a
// service that is down, or a proxy in between.
func (s *Server) SetFault(r *Response) { s.fault.Store(r) }

// SetCallFault is SetFault for one call and for requests that pass the gateway: an edition
// of the service without the call, or where it fails.
func (s *Server) SetCallFault(call Call, r *Response) { s.faults.Store(call, r) }

func (s *Server) callFault(call Call) *Response {
	fault, ok := s.faults.Load(call)
	if !ok {
		return nil
	}
	return fault.(*Response)
}

// entry is the server's state for one job ID, whether or not the job exists.
type entry struct {
	job      atomic.Pointer[Job]
	response atomic.Pointer[Response]
	requests atomic.Int64
	// last is when the latest request arrived, or a list showed the job, in
	// nanoseconds.
	last atomic.Int64
	// told is when the end of the job was first reported.
	told atomic.Int64

	mu       sync.Mutex
	arrivals []time.Time
}

// begun returns the job, and starts its timeline now if it was waiting for a request.
func (s *Server) begun(e *entry, now time.Time) *Job {
	job := e.job.Load()
	if job == nil || !job.Start.IsZero() {
		return job
	}
	begun := *job
	begun.Start = now
	e.job.CompareAndSwap(job, &begun)
	s.listing.change(job.ID)
	// Another request has already started it.
	return e.job.Load()
}

func (s *Server) entry(id string) *entry {
	if e, ok := s.jobs.Load(id); ok {
		return e.(*entry)
	}
	e, _ := s.jobs.LoadOrStore(id, new(entry))
	return e.(*entry)
}

// bodies are buffers for JSON answers.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.now()
	q := route(r)
	s.counters.arrive(q.call)
	defer s.counters.leave()
	if q.call == CallStatus || q.call == CallBatch {
		q.entry = s.entry(q.id)
		q.entry.arrive(now, s.log)
	}
	q.now, q.requestID = now, s.nextRequestID()
	w.Header()["X-Request-Id"] = []string{q.requestID}
	if s.dated {
		w.Header()["Date"] = []string{now.UTC().Format(http.TimeFormat)}
	}

	if !s.pause(r, s.latency) {
		s.counters.answered(0)
		panic(http.ErrAbortHandler)
	}

	buffer := bodies.Get().(*[]byte)
	defer bodies.Put(buffer)
	body, instead := s.answer((*buffer)[:0], r, q)
	if instead != nil {
		s.play(w, r, instead)
		return
	}
	*buffer = body
	s.counters.answered(http.StatusOK)
	w.Header()["Content-Type"] = jsonContent
	_, _ = w.Write(body)
}

// answer appends the answer to body, or returns the response to send instead. The order of
// the checks is that of the real service: first the gateway's, then the service's.
func (s *Server) answer(body []byte, r *http.Request, q question) ([]byte, *Response) {
	if fault := s.fault.Load(); fault != nil {
		return nil, fault
	}
	if s.unlucky() {
		return nil, GatewayError(http.StatusBadGateway, "APIGW.0202", "Backend unavailable", q.requestID)
	}
	if q.call == "" {
		return nil, GatewayError(http.StatusNotFound, "APIGW.0101",
			"The API does not exist or has not been published in the environment", q.requestID)
	}
	if refusal := q.readBody(r); refusal != nil {
		return nil, refusal
	}
	account, refusal := s.authenticate(r, q.now, q.requestID)
	if refusal != nil {
		return nil, refusal
	}
	if n := account.caller.admitted.add(q.now); s.ratePerSec > 0 && n > s.ratePerSec {
		return nil, s.throttled(q.requestID)
	}
	if fault := s.callFault(q.call); fault != nil {
		return nil, fault
	}
	if refusal := malformed(r, q.project); refusal != nil {
		return nil, refusal
	}
	if refusal := account.authorize(q.project, actions[q.call]); refusal != nil {
		return nil, refusal
	}
	switch q.call {
	case CallList, CallBatchList:
		return s.answerList(body, r.URL.Query(), q)
	case CallBatch:
		return s.answerBatch(body, q)
	case CallBatchSubmit:
		return s.answerBatchSubmit(body, q)
	case CallProgress:
		return s.answerProgress(body, q)
	case CallSubmit:
		return s.answerSubmit(body, q)
	default:
		return s.answerStatus(body, q)
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

func (s *Server) throttled(requestID string) *Response {
	r := GatewayError(http.StatusTooManyRequests, "APIGW.0308", fmt.Sprintf(
		"The throttling threshold has been reached: policy user over ratelimit,limit:%d,time:1 second",
		s.ratePerSec), requestID)
	if s.retryAfter > 0 {
		// Rounded up, because the header is in whole seconds.
		seconds := (s.retryAfter + time.Second - 1) / time.Second
		r.Header.Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	return r
}

func (s *Server) unlucky() bool {
	if s.errorRate == 0 {
		return false
	}
	s.diceMu.Lock()
	defer s.diceMu.Unlock()
	return s.dice.Float64() < s.errorRate
}

func (s *Server) nextRequestID() string {
	const zeros = "00000000000000000000000000000000"
	id := strconv.FormatUint(s.requestID.Add(1), 16)
	return zeros[len(id):] + id
}
