// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Call is one of the calls that a server answers.
type Call string

// The calls of a server.
const (
	CallStatus   Call = "status"
	CallList     Call = "list"
	CallProgress Call = "progress"
	CallSubmit   Call = "submit"

	// The calls for batches.
	CallBatch       Call = "batch"
	CallBatchList   Call = "batchList"
	CallBatchSubmit Call = "batchSubmit"
)

// routes are the calls, with the path that follows the project and the permission that each
// needs.
var routes = []struct {
	call         Call
	method, path string
	action       string
}{
	{CallStatus, http.MethodGet, "/v1.0/*/jobs/*/status", "dli:jobs:get"},
	{CallList, http.MethodGet, "/v1.0/*/jobs", "dli:jobs:list"},
	{CallProgress, http.MethodGet, "/v1/*/jobs/*/progress", "dli:jobs:get"},
	{CallSubmit, http.MethodPost, "/v1.0/*/jobs/submit-job", "dli:queue:submitJob"},
	{CallBatch, http.MethodGet, "/v2.0/*/batches/*", "dli:jobs:get"},
	{CallBatchList, http.MethodGet, "/v2.0/*/batches", "dli:jobs:list"},
	{CallBatchSubmit, http.MethodPost, "/v2.0/*/batches", "dli:queue:submitJob"},
}

// isAboutBatches reports whether a call knows batches, and no SQL jobs.
func (c Call) isAboutBatches() bool { return strings.HasPrefix(string(c), "batch") }

// question is a parsed request.
type question struct {
	// call is "" for unknown calls; action is the permission that it needs.
	call   Call
	action string
	// id is "" if the call is not about a single job.
	project, id string
	// body is the body of a POST.
	body      []byte
	now       time.Time
	requestID string
}

// route returns the call, project and job of a path. It uses the path as sent, so that an
// escaped slash is part of an ID and dot segments are not resolved.
func route(r *http.Request) question {
	for _, route := range routes {
		if names, ok := match(route.path, r.URL.EscapedPath()); ok && r.Method == route.method {
			return question{call: route.call, action: route.action, project: names[0], id: strings.Join(names[1:], "")}
		}
	}
	return question{}
}

// match returns the segments of a path for the stars of a pattern.
func match(pattern, path string) (names []string, ok bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(got) != len(want) {
		return nil, false
	}
	for i, segment := range got {
		name, err := url.PathUnescape(segment)
		switch {
		case want[i] == "*":
			if err != nil || segment == "" || segment == "." || segment == ".." {
				return nil, false
			}
			names = append(names, name)
		case want[i] != segment:
			return nil, false
		}
	}
	return names, true
}

// maxBody is the maximum body that the gateway accepts with a signature.
const maxBody = 12 << 20

// readBody buffers the body of a POST, which both the signature check and the service
// read.
func (q *question) readBody(r *http.Request) *Response {
	if r.Method != http.MethodPost {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil || len(body) > maxBody {
		return GatewayError(http.StatusRequestEntityTooLarge, "APIGW.0201", "Request entity too large", q.requestID)
	}
	q.body = body
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}
