// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// question is one request of the API: all of them are a GET.
type question struct {
	// path is appended to the endpoint and contains nothing that needs escaping.
	path string
	// query is nil for none.
	query  url.Values
	limits limits
}

// rawQuery is the query as it is sent and signed: sorted by name and value, with spaces
// as %20.
func (q question) rawQuery() string {
	for _, values := range q.query {
		slices.Sort(values)
	}
	return strings.ReplaceAll(q.query.Encode(), "+", "%20")
}

// ask sends a question and parses the answer with read if it is HTTP 200. The error
// is an *Error, ErrNoBudget, or ctx's own if ctx was cancelled.
func ask[T any](ctx context.Context, c *Client, creds Credentials, q question, read reader[T]) (*T, error) {
	timed := c.withTimeout(ctx)
	request, signature, err := c.newRequest(timed, creds, q)
	if err != nil {
		return nil, err
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, c.network.failure(ctx, 0, err)
	}
	defer response.Body.Close()

	body, memory := bodies.Get().(*[]byte), share{budget: c.budget}
	defer memory.giveBack()
	defer keepBody(body)
	*body, err = readBody(timed, *body, response, q.limits, &memory)
	switch {
	case err == nil || speaksForItself(response.StatusCode):
	case errors.Is(err, ErrNoBudget) && ctx.Err() == nil:
		return nil, ErrNoBudget
	default:
		return nil, c.network.failure(ctx, response.StatusCode, err)
	}
	hide := secretsOf(creds, signature)
	result, failure := interpret(answer{
		status: response.StatusCode,
		header: response.Header,
		body:   *body,
		now:    c.now(),
		plain:  c.endpoint.Scheme == "http",
		signed: signature != "",
	}, &hide, read)
	if failure != nil {
		return nil, failure
	}
	return result, nil
}

// withTimeout returns ctx with the client's timeout, or up to a hundredth less: requests that
// begin at about the same time share a context, because one for each would cost more than its
// signature. It ends with the timeout.
func (c *Client) withTimeout(ctx context.Context) context.Context {
	now := time.Now()
	if last := c.lastTimeout.Load(); last != nil && last.parent == ctx.Done() && now.Sub(last.begin) < c.timeout/100 {
		return last.ctx
	}
	timed, cancel := context.WithTimeout(ctx, c.timeout)
	c.lastTimeout.Store(&sharedTimeout{ctx: timed, cancel: cancel, parent: ctx.Done(), begin: now})
	return timed
}

// sharedTimeout is a context that began at a time, with what cancels its parent.
type sharedTimeout struct {
	ctx    context.Context //nolint:containedctx // of requests, which share it
	cancel context.CancelFunc
	parent <-chan struct{}
	begin  time.Time
}

// answer is a response, and when it arrived.
type answer struct {
	status int
	header http.Header
	body   []byte
	now    time.Time
	// plain is set if the answer came over http, signed if the question had a
	// signature.
	plain, signed bool
}

// date is when the answer was sent, by the sender's clock; zero if the header is
// missing or invalid.
func (a answer) date() time.Time {
	header := a.header.Get("Date")
	if header == "" {
		return time.Time{}
	}
	if last := lastParsedDate.Load(); last != nil && last.header == header {
		return last.time
	}
	date, err := http.ParseTime(header)
	if err != nil {
		return time.Time{}
	}
	date = date.UTC()
	lastParsedDate.Store(&parsedDate{header: header, time: date})
	return date
}

// parsedDate is a header Date and its meaning. Answers come in bursts, and share it for a
// second.
type parsedDate struct {
	header string
	time   time.Time
}

var lastParsedDate atomic.Pointer[parsedDate]

// reader parses an answer with HTTP 200 into a result or an error. It does not
// retain the answer's body.
type reader[T any] func(a answer, hide *secrets) (*T, *Error)

// interpret turns an answer into either a result or an error.
func interpret[T any](a answer, hide *secrets, read reader[T]) (*T, *Error) {
	if a.status != http.StatusOK {
		return nil, errorFrom(a, hide)
	}
	result, failure := read(a, hide)
	if failure != nil {
		failure.RequestID = requestID(a, "", hide)
	}
	return result, failure
}

// speaksForItself reports whether an HTTP status is conclusive even if its body did
// not arrive completely: with every other one, the body can reverse the meaning.
func speaksForItself(status int) bool {
	return status == http.StatusTooManyRequests || status >= 500
}
