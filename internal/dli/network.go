// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// network explains why there was no complete answer. Its messages become condition
// messages, so each cause always has the same message: without local ports, addresses
// that change with each resolution, or text from the endpoint.
type network struct {
	endpoint *url.URL
	proxy    *url.URL
	timeout  time.Duration
}

// socketFailures are the failures of a connection that users can act on.
var socketFailures = []struct {
	errno syscall.Errno
	text  string
}{
	{syscall.ECONNREFUSED, "connection refused by %s"},
	{syscall.ECONNRESET, "connection reset by %s"},
	{syscall.EPIPE, "connection closed by %s"},
	{syscall.EHOSTUNREACH, "no route to %s"},
	{syscall.ENETUNREACH, "network unreachable: %s"},
	{syscall.EACCES, "this machine does not permit connections to %s"},
	{syscall.EPERM, "this machine does not permit connections to %s"},
}

// failure turns the error of a request, or of reading its answer, into one to show.
// status is the answer's, 0 if there was none. ctx is the caller's: if it was
// cancelled, ctx's error is returned unchanged.
func (n network) failure(ctx context.Context, status int, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	e := n.explain(ctx, err)
	if e.HTTPStatus == 0 {
		e.HTTPStatus = status
	}
	return e
}

func (n network) explain(ctx context.Context, err error) *Error {
	if e, ok := AsError(err); ok {
		refused := *e
		return &refused
	}
	if e := n.explainTLS(err); e != nil {
		return e
	}

	var name *net.DNSError
	var refusal proxyRefusalError
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, new(flate.CorruptInputError)):
		return &Error{Kind: KindInvalid, Message: "the response cannot be decompressed"}
	case errors.As(err, &refusal):
		return n.explainProxy(refusal)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return unreachable(context.DeadlineExceeded, "no response from %s before the caller's deadline", n.peer())
	case errors.As(err, &name) && name.IsNotFound:
		return unreachable(nil, "the host %s does not exist in DNS", n.peerName())
	case errors.As(err, &name):
		return unreachable(nil, "DNS currently does not resolve the host %s", n.peerName())
	case errors.Is(err, context.DeadlineExceeded), timedOut(err):
		return unreachable(context.DeadlineExceeded, "no response from %s within %s", n.peer(), n.timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return unreachable(io.ErrUnexpectedEOF, "the response from %s ended early", n.peer())
	}
	for _, failure := range socketFailures {
		if errors.Is(err, failure.errno) {
			return unreachable(failure.errno, failure.text, n.peer())
		}
	}
	return unreachable(nil, "the connection to %s failed before a response arrived", n.peer())
}

// explainTLS explains a TLS error; nil if err is not one.
func (n network) explainTLS(err error) *Error {
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var otherName x509.HostnameError
	var notTLS tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case errors.As(err, &authority) && errors.As(err, &certificate) && weakSignature(certificate.UnverifiedCertificates) != "":
		return misconfigured("the certificate of %s is signed with %s, which is no longer accepted; have it signed with SHA-256",
			n.endpoint.Host, weakSignature(certificate.UnverifiedCertificates))
	case errors.As(err, &authority):
		return misconfigured("the certificate of %s is signed by an authority that is not trusted; add the authority's certificate to the CA bundle", n.endpoint.Host)
	case errors.As(err, &otherName):
		return misconfigured("the certificate of %s is not valid for this name; use a name of the certificate in the endpoint", n.endpoint.Host)
	case errors.As(err, &certificate), isX509(err):
		return misconfigured("the certificate of %s is invalid, expired or not yet valid", n.endpoint.Host)
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &notTLS):
		return misconfigured("%s does not speak TLS; check the endpoint's port", n.endpoint.Host)
	case errors.As(err, &remote) && remote.Op == "remote error":
		// This is how crypto/tls wraps alerts from the peer.
		return misconfigured("%s rejects the TLS handshake; the operator uses TLS 1.2 and later, without a client certificate", n.endpoint.Host)
	}
	return nil
}

// weakSignature returns the algorithm of the first certificate in a chain with a signature
// that crypto/x509 does not accept; "" if there is none. An authority that signs itself is
// trusted or not, no matter how. crypto/x509 reports such a chain as one of an unknown
// authority.
func weakSignature(chain []*x509.Certificate) string {
	for _, certificate := range chain {
		if bytes.Equal(certificate.RawIssuer, certificate.RawSubject) {
			continue
		}
		switch certificate.SignatureAlgorithm {
		case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1:
			return "SHA-1"
		case x509.MD5WithRSA, x509.MD2WithRSA:
			return "MD5"
		default:
		}
	}
	return ""
}

func isX509(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid)
}

func (n network) explainProxy(refusal proxyRefusalError) *Error {
	if refusal.status >= 500 {
		return unreachable(nil, "%s answered HTTP %d", n.peer(), refusal.status)
	}
	return misconfigured("%s answered HTTP %d; check the proxy set in the operator's environment", n.peer(), refusal.status)
}

// peer is the host to connect to. A proxy is named without user and password.
func (n network) peer() string {
	if n.proxy != nil {
		return "the proxy " + n.proxy.Host
	}
	return withPort(n.endpoint)
}

// peerName is the name to resolve for a connection.
func (n network) peerName() string {
	if n.proxy != nil {
		return n.proxy.Hostname()
	}
	return n.endpoint.Hostname()
}

func withPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Host
	case u.Scheme == "http":
		return u.Host + ":80"
	}
	return u.Host + ":443"
}

func timedOut(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func unreachable(cause error, format string, args ...any) *Error {
	return &Error{Kind: KindUnreachable, Message: fmt.Sprintf(format, args...), Err: cause}
}
