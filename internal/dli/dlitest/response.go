// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"cmp"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var jsonContent = []string{"application/json;charset=utf-8"}

// Response is a prepared answer, or a failure to answer. The zero value is an empty 200.
// It must not be changed once a server has it.
type Response struct {
	// Status is 200 when zero.
	Status int `json:"status,omitempty"`
	// Header is added to the usual headers; a Body that starts like JSON is sent as JSON
	// unless Header says otherwise.
	Header http.Header `json:"header,omitempty"`
	Body   string      `json:"body,omitempty"`
	// Once applies the response to one request for a job only.
	Once bool `json:"once,omitempty"`
	// Delay is how long to wait first.
	Delay time.Duration `json:"delay,omitempty"`

	// Hang never answers.
	Hang bool `json:"hang,omitempty"`
	// Reset resets the connection instead of answering.
	Reset bool `json:"reset,omitempty"`
	// Cut announces more than Body, sends Body, and closes the connection.
	Cut bool `json:"cut,omitempty"`
}

// DLIError is an error in the format of the service itself.
func DLIError(status int, code, message string) *Response {
	return errorResponse(status, struct {
		Code    string `json:"error_code"`
		Message string `json:"error_msg"`
	}{code, message})
}

// GatewayError is an error in the format of the API gateway in front of the service.
func GatewayError(status int, code, message, requestID string) *Response {
	return errorResponse(status, struct {
		Message   string `json:"error_msg"`
		Code      string `json:"error_code"`
		RequestID string `json:"request_id"`
	}{message, code, requestID})
}

func errorResponse(status int, body any) *Response {
	// Strings only: it cannot fail.
	text, _ := json.Marshal(body)
	return &Response{Status: status, Header: http.Header{}, Body: string(text)}
}

// play answers with r. It counts the answer before sending it, so that clients with the
// answer also find it counted.
func (s *Server) play(w http.ResponseWriter, req *http.Request, r *Response) {
	if r.Hang {
		r = &Response{Delay: math.MaxInt64}
	}
	if !s.pause(req, r.Delay) {
		s.answered(0)
		panic(http.ErrAbortHandler)
	}
	if r.Reset {
		s.answered(0)
		reset(w)
		return
	}
	s.answered(r.status())
	r.write(w)

	if r.Cut {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func (r *Response) status() int { return cmp.Or(r.Status, http.StatusOK) }

func (r *Response) write(w http.ResponseWriter) {
	if strings.HasPrefix(r.Body, "{") {
		w.Header()["Content-Type"] = jsonContent
	}
	for name, values := range r.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if r.Cut {
		w.Header().Set("Content-Length", strconv.Itoa(len(r.Body)+1))
	}
	w.WriteHeader(r.status())
	_, _ = io.WriteString(w, r.Body)
}

// pause waits for d; false if the client or the server went away in the meantime.
func (s *Server) pause(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
	case <-s.closed:
	}
	return false
}

// reset sends a TCP reset if the handler can take over the connection, as in HTTP/1, and
// otherwise resets the stream.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	raw := conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		raw = wrapped.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}
