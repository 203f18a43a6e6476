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

// actions are the permissions needed for each call.
var actions = map[Call]string{
	CallStatus:   "dli:jobs:get",
	CallList:     "dli:jobs:list",
	CallProgress: "dli:jobs:get",
	CallSubmit:   "dli:queue:submitJob",

	CallBatch:       "dli:jobs:get",
	CallBatchList:   "dli:jobs:list",
	CallBatchSubmit: "dli:queue:submitJob",
}

// isAboutBatches reports whether a call knows batches, and no SQL jobs.
func (c Call) isAboutBatches() bool { return strings.HasPrefix(string(c), "batch") }

// question is a parsed request.
type question struct {
	// call is "" for unknown calls.
	call Call
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
	path := r.URL.EscapedPath()
	version, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	project, rest, ok := strings.Cut(rest, "/")
	if !ok || !isSegment(project) || !strings.HasPrefix(path, "/") {
		return question{}
	}
	project, err := url.PathUnescape(project)
	if err != nil {
		return question{}
	}
	rest, id, isBelow := strings.Cut(rest, "/")
	if version == "v2.0" && rest == "batches" && (id != "" || !isBelow) {
		return routeBatch(r.Method, project, id)
	}
	if rest != "jobs" {
		return question{}
	}
	switch {
	case version == "v1.0" && r.Method == http.MethodGet && id == "" && !strings.HasSuffix(path, "/"):
		return question{call: CallList, project: project}
	case version == "v1.0" && r.Method == http.MethodPost && id == "submit-job":
		return question{call: CallSubmit, project: project}
	case r.Method != http.MethodGet:
		return question{}
	}
	call, suffix := CallStatus, "/status"
	if version == "v1" {
		call, suffix = CallProgress, "/progress"
	}
	id, ok = strings.CutSuffix(id, suffix)
	if !ok || version != "v1.0" && version != "v1" || !isSegment(id) {
		return question{}
	}
	if id, err = url.PathUnescape(id); err != nil {
		return question{}
	}
	return question{call: call, project: project, id: id}
}

func isSegment(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.Contains(s, "/")
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
