// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"net/http"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		code   string
		want   Kind
	}{
		{"a code takes precedence over the status", 400, "DLI.0999", KindRetry},
		{"a code in lower case", 400, "dli.0015", KindAuth},
		{"a code of DLI with a matching status", 404, "DLI.0023", KindNotFound},
		{"an expired result", 400, "DLI.0100", KindNotFound},
		{"a job that no longer exists", 400, "DLI.12004", KindNotFound},
		{"a failing server cannot know what is missing", 500, "DLI.0002", KindRetry},
		{"not found with an unknown code", 404, "DLI.7777", KindNotFound},
		{"not found without a code", 404, "", KindConfig},
		{"not found with a code of another service", 404, "IAM.0004", KindConfig},
		{"an API that the gateway does not know", 404, "APIGW.0101", KindConfig},
		{"the gateway's other prefix", 404, "APIG.0101", KindConfig},
		{"the gateway's backend is missing", 404, "APIGW.0103", KindSlow},
		{"the same code for a fault of the caller", 414, "APIGW.0201", KindRejected},
		{"the same code for a fault of the backend", 502, "APIGW.0201", KindRetry},
		{"the gateway's code by its status, 401", 401, "APIGW.0311", KindAuth},
		{"the gateway's code by its status, 403", 403, "APIGW.0312", KindPermission},
		{"service not open in the region", 403, "APIGW.0801", KindConfig},
		{"throttled, with any code", 429, "DLI.0999", KindThrottle},
		{"throttled according to the code", 403, "APIG.0308", KindThrottle},
		{"gone", 410, "", KindNotFound},
		{"bad request", 400, "", KindRejected},
		{"unauthorized", 401, "", KindAuth},
		{"forbidden", 403, "", KindPermission},
		{"method not allowed", 405, "", KindRejected},
		{"proxy authentication", 407, "", KindConfig},
		{"request timeout", 408, "", KindRetry},
		{"too large", 413, "", KindRejected},
		{"too early", 425, "", KindRetry},
		{"moved", 301, "", KindConfig},
		{"not modified", 304, "", KindConfig},
		{"internal error", 500, "", KindRetry},
		{"captive portal", 511, "", KindConfig},
		{"network connect timeout", 599, "", KindRetry},
		{"no content", 204, "", KindInvalid},
		{"beyond HTTP", 999, "", KindInvalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := classify(tc.status, tc.code); got != tc.want {
				t.Errorf("HTTP %d with %q is %s, want %s", tc.status, tc.code, got, tc.want)
			}
		})
	}
}

func TestErrorBodies(t *testing.T) {
	for _, tc := range []struct {
		name string
		body string
		want *Error
	}{
		{"DLI's names come before IAM's and others'", `{"message":"3","code":"C","error":{"code":"B","message":"2"},"error_code":"A","error_msg":"1"}`,
			&Error{Kind: KindRejected, HTTPStatus: 400, Code: "A", Message: "1"}},
		{"IAM's names come before others'", `{"message":"3","code":"C","error":{"code":"111401001","message":"2","ext_message":null}}`,
			&Error{Kind: KindRejected, HTTPStatus: 400, Code: "111401001", Message: "2"}},
		{"code and message", `{"code":7,"message":"3"}`, &Error{Kind: KindRejected, HTTPStatus: 400, Code: "7", Message: "3"}},
		{"a code without a message", `{"error_code":"DLI.0999"}`, &Error{Kind: KindRetry, HTTPStatus: 400, Code: "DLI.0999", Message: "HTTP 400 without an error message"}},
		{"a message without a code", `{"error_msg":"m"}`, &Error{Kind: KindRejected, HTTPStatus: 400, Message: "m"}},
		{"an error that is a string", `{"error":"m"}`, &Error{Kind: KindRejected, HTTPStatus: 400, Message: "m"}},
		{"members of other types", `{"error_code":{"a":1},"error_msg":["x"],"request_id":7}`, &Error{Kind: KindRejected, HTTPStatus: 400, Message: "HTTP 400 without an error message"}},
		{"an array", `[]`, &Error{Kind: KindRejected, HTTPStatus: 400, Message: "HTTP 400 with a body of unknown type"}},
		{"a message with several lines and control characters", `{"error_msg":" a\n\tb\u0000\u001b[31m\u202ec "}`, &Error{Kind: KindRejected, HTTPStatus: 400, Message: "a b[31mc"}},
		{"a very long message", `{"error_msg":"` + strings.Repeat("错", 1000) + `"}`,
			&Error{Kind: KindRejected, HTTPStatus: 400, Message: strings.Repeat("错", 169) + "…"}},
		{"a very long code", `{"error_code":"` + strings.Repeat("x", 65) + `","error_msg":"m"}`, &Error{Kind: KindRejected, HTTPStatus: 400, Message: "m"}},
		{"a very long request ID", `{"error_msg":"m","request_id":"` + strings.Repeat("r", 200) + `"}`,
			&Error{Kind: KindRejected, HTTPStatus: 400, Message: "m", RequestID: strings.Repeat("r", 125) + "…"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := interpret(answer{status: 400, header: http.Header{}, body: []byte(tc.body)}, &secrets{}, statusOf(jobID))
			check[JobStatus](t, nil, err, tc.want)
		})
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{Kind: KindAuth, HTTPStatus: 401, Code: "APIGW.0301", Message: "verify aksk signature fail", RequestID: "r1"}
	if want := "HTTP 401: APIGW.0301: verify aksk signature fail (request r1)"; e.Error() != want {
		t.Errorf("want %q, got %q", want, e.Error())
	}
	if e := (&Error{Message: "connection refused by dli:443"}); e.Error() != "connection refused by dli:443" {
		t.Errorf("got %q", e.Error())
	}
}

func TestStatusLabels(t *testing.T) {
	labels := map[string]bool{}
	for status := range 1000 {
		labels[StatusLabel(status)] = true
	}
	if len(labels) > 70 || !labels["0"] || !labels["200"] || !labels["429"] || !labels["503"] || !labels["other"] {
		t.Errorf("got %d labels", len(labels))
	}
}
