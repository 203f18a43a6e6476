// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/dli-operator/dli-operator/internal/text"
)

const (
	maxErrorMessageBytes = 512
	maxErrorCodeBytes    = 64
	maxRequestIDBytes    = 128
)

// Error returns the HTTP status, code, message and request ID, as far as known.
func (e *Error) Error() string {
	var text strings.Builder
	if e.HTTPStatus != 0 && !strings.HasPrefix(e.Message, "HTTP ") {
		fmt.Fprintf(&text, "HTTP %d: ", e.HTTPStatus)
	}
	if e.Code != "" {
		fmt.Fprintf(&text, "%s: ", e.Code)
	}
	text.WriteString(e.Message)
	if e.RequestID != "" {
		fmt.Fprintf(&text, " (request %s)", e.RequestID)
	}
	return text.String()
}

// Unwrap returns the cause; nil if there is none that callers need to distinguish.
func (e *Error) Unwrap() error { return e.Err }

// AsError finds the *Error in err's chain.
func AsError(err error) (*Error, bool) {
	if err == nil { // most requests succeed, and the search allocates
		return nil, false
	}
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

func invalid(message string) *Error {
	return &Error{Kind: KindInvalid, HTTPStatus: http.StatusOK, Message: message}
}

func misconfigured(format string, args ...any) *Error {
	return &Error{Kind: KindConfig, Message: text.Ellipsize(text.OneLine(fmt.Sprintf(format, args...)), maxErrorMessageBytes)}
}

// jobErrorCode matches DLI's own codes anywhere in a text.
var jobErrorCode = regexp.MustCompile(`DLI\.\d{4,5}`)

// ErrorCode returns the first DLI error code in a job's message, such as DLI.0999;
// "" if there is none. The message may be prose, with or without a prefix before the
// code, or the JSON text of an error.
func ErrorCode(message string) string {
	return jobErrorCode.FindString(message)
}

// anyErrorCode matches the codes of DLI and of the gateway in front of it.
var anyErrorCode = regexp.MustCompile(`(?:DLI\.\d{4,5}|APIGW?\.\d{4})`)

// shown is the text of an error in the form in which it is shown.
func shown(message string) string {
	return text.Ellipsize(withoutTimes(message), maxErrorMessageBytes)
}

// refusal is the error for an answer with is_success: false. It is about the
// question, never about the job, no matter what else is in the answer.
func refusal(a answer, reason prose, hide *secrets) *Error {
	message := reason.errorText(hide)
	code := anyErrorCode.FindString(message)
	kind := refusalKind(code)
	e := &Error{
		Kind:       kind,
		HTTPStatus: a.status,
		Code:       code,
		Message:    shown(message),
		RetryAfter: retryAfter(a, kind, message),
		ClockSkew:  clockSkew(a, kind, message),
	}
	if e.Message == "" {
		e.Message = "DLI answered is_success: false without a reason"
	}
	return e
}

// explanation is the content of an error answer's body.
type explanation struct {
	code, message, requestID string
}

// explain reads the body of an error answer; DLI's own members take precedence over
// those of others.
func explain(body []byte, hide *secrets) (e explanation, ok bool) {
	object, ok := parseJSON(body)
	if !ok || !object.isObject() {
		return explanation{}, false
	}
	var said errorBody
	readObject(object, &said)
	return explanation{
		code:      firstOf(string(said.ErrorCode), string(said.Error.Code), string(said.Code)),
		message:   firstOf(said.ErrorMsg.errorText(hide), said.Error.Message.errorText(hide), said.Message.errorText(hide)),
		requestID: said.RequestID.read(maxRequestIDBytes, text.OneLine, hide),
	}, true
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// errorFrom turns an answer with any status other than HTTP 200 into an error.
func errorFrom(a answer, hide *secrets) *Error {
	said, isJSON := explain(a.body, hide)
	code := errorCode(said.code, hide)
	kind := classify(a.status, code)
	e := &Error{
		Kind:       kind,
		HTTPStatus: a.status,
		Code:       code,
		Message:    shown(said.message),
		RequestID:  requestID(a, said.requestID, hide),
		RetryAfter: retryAfter(a, kind, said.message),
		ClockSkew:  clockSkew(a, kind, said.message),
	}
	switch {
	case a.plain && a.status == http.StatusBadRequest && !isJSON:
		// This is how TLS servers respond to plain HTTP.
		e.Kind = KindConfig
		e.Message = describeBody(a) + "; the endpoint may require https"
	case e.Message != "":
	case 300 <= a.status && a.status < 400:
		e.Message = fmt.Sprintf("HTTP %d: the endpoint redirects, and redirects are not followed; use DLI's own endpoint", a.status)
	case isJSON:
		e.Message = fmt.Sprintf("HTTP %d without an error message", a.status)
	default:
		e.Message = describeBody(a)
	}
	return e
}

// bodyTypes are the content types that messages may name, with their article. Any
// other one is text from the endpoint, and not trusted.
var bodyTypes = map[string]string{
	"application/json": "an application/json",
	"application/xml":  "an application/xml",
	"text/html":        "a text/html",
	"text/plain":       "a text/plain",
	"text/xml":         "a text/xml",
}

// describeBody describes an uninformative body by its type. The body itself is not
// quoted: it may be a web page, or echo the request.
func describeBody(a answer) string {
	mediaType, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	known, ok := bodyTypes[mediaType]
	switch {
	case len(a.body) == 0:
		return fmt.Sprintf("HTTP %d with an empty body", a.status)
	case ok:
		return fmt.Sprintf("HTTP %d with %s body", a.status, known)
	}
	return fmt.Sprintf("HTTP %d with a body of unknown type", a.status)
}

// errorCode returns code if it looks like one.
func errorCode(code string, hide *secrets) string {
	code = strings.TrimSpace(code)
	if !text.IsPlain(code, maxErrorCodeBytes) {
		return ""
	}
	return hide.in(code)
}

// requestID returns the service's request ID: from the header, else from the body.
func requestID(a answer, inBody string, hide *secrets) string {
	id := firstOf(a.header.Get("X-Request-Id"), inBody)
	return text.Ellipsize(hide.in(text.OneLine(id)), maxRequestIDBytes)
}
