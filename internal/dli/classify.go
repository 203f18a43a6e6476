// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// dliKinds is what DLI's own codes mean for polling a status. The same codes in the
// message of a failed job describe the job and are not looked up here.
var dliKinds = map[string]Kind{
	"DLI.0001":  KindRejected,   // parameter check failed
	"DLI.0002":  KindNotFound,   // object does not exist
	"DLI.0003":  KindPermission, // SQL permission check failed
	"DLI.0004":  KindRejected,   // SQL syntax error
	"DLI.0005":  KindRejected,   // SQL semantic error
	"DLI.0006":  KindRejected,   // object exists already
	"DLI.0007":  KindRejected,   // operation not supported
	"DLI.0008":  KindSlow,       // metadata error
	"DLI.0009":  KindSlow,       // system restriction
	"DLI.0011":  KindPermission, // file permission check failed
	"DLI.0012":  KindRetry,      // resource object unavailable
	"DLI.0013":  KindAuth,       // user authentication error
	"DLI.0014":  KindAuth,       // service authentication error
	"DLI.0015":  KindAuth,       // token parse error
	"DLI.0016":  KindPermission, // wrong identity or role
	"DLI.0018":  KindSlow,       // data conversion error
	"DLI.0019":  KindRetry,      // task timed out
	"DLI.0023":  KindNotFound,   // no related resource found
	"DLI.0100":  KindNotFound,   // result expired
	"DLI.0999":  KindRetry,      // server-side error
	"DLI.1028":  KindSlow,       // quota insufficient
	"DLI.10001": KindRetry,      // internal error
	"DLI.12004": KindNotFound,   // job does not exist
}

// gatewayKinds is what the gateway's codes mean, without their prefix APIGW. or
// APIG. For codes that are not listed, the HTTP status decides.
var gatewayKinds = map[string]Kind{
	"0101": KindConfig,     // API not published here: the endpoint is wrong, the job is not gone
	"0103": KindSlow,       // backend not found
	"0104": KindSlow,       // plug-in not found
	"0105": KindSlow,       // backend configuration not found
	"0106": KindRejected,   // parameter mapping
	"0107": KindRetry,      // internal error
	"0202": KindRetry,      // backend unavailable
	"0203": KindRetry,      // backend timeout
	"0204": KindConfig,     // configuration, by the APIG list alone
	"0205": KindConfig,     // configuration, by the APIG list alone
	"0301": KindAuth,       // wrong signature, locked access key, token not decrypted
	"0302": KindPermission, // IAM user not allowed
	"0303": KindAuth,       // app authentication wrong, clock skew
	"0304": KindPermission, // app not allowed
	"0305": KindAuth,       // credential incorrect
	"0306": KindPermission, // API access denied
	"0307": KindAuth,       // token must be updated
	"0308": KindThrottle,   // throttling threshold reached
	"0310": KindPermission, // project unavailable
	"0401": KindPermission, // caller or address refused
	"0402": KindPermission, // caller or address refused
	"0404": KindPermission, // caller or address refused
	"0405": KindPermission, // caller or address refused
	"0501": KindRejected,   // method not allowed
	"0502": KindRejected,   // method not allowed
	"0601": KindRetry,      // gateway internal
	"0602": KindSlow,       // gateway internal
	"0605": KindRetry,      // gateway internal
	"0606": KindRetry,      // gateway internal
	"0607": KindSlow,       // gateway internal
	"0608": KindRetry,      // gateway internal
	"0609": KindRetry,      // gateway internal
	"0610": KindRetry,      // gateway internal
	"0611": KindRetry,      // gateway internal
	"0612": KindRetry,      // gateway internal
	"0613": KindRetry,      // IAM unavailable
	"0705": KindRetry,      // gateway internal
	"0801": KindConfig,     // service not open in this region
	"0802": KindPermission, // IAM user forbidden in this region
}

// httpKinds is what an HTTP status means without a known code. For those that are not
// listed, the class of the status decides: see httpKind.
var httpKinds = map[int]Kind{
	http.StatusUnauthorized:                  KindAuth,
	http.StatusForbidden:                     KindPermission,
	http.StatusNotFound:                      KindConfig, // no such path; a missing job has a code
	http.StatusProxyAuthRequired:             KindConfig,
	http.StatusRequestTimeout:                KindRetry,
	http.StatusGone:                          KindNotFound,
	http.StatusMisdirectedRequest:            KindConfig,
	http.StatusTooEarly:                      KindRetry,
	http.StatusTooManyRequests:               KindThrottle,
	http.StatusNetworkAuthenticationRequired: KindConfig,
}

// classify returns the kind of an error answer. The code is more specific than the
// HTTP status, except for two statuses that are unambiguous.
func classify(status int, code string) Kind {
	if status == http.StatusTooManyRequests {
		return KindThrottle
	}
	kind, known := codeKind(code)
	switch {
	case known && kind == KindNotFound && status >= 500:
		// A failing server cannot know that a job does not exist.
		return KindRetry
	case known:
		return kind
	case status == http.StatusNotFound && isDLICode(code):
		return KindNotFound
	}
	return httpKind(status)
}

// refusalKind classifies an error answer with HTTP 200.
func refusalKind(code string) Kind {
	if kind, known := codeKind(code); known {
		return kind
	}
	return KindRetry
}

// StatusLabel returns an HTTP status as the label of a metric; "other" if it is not one of
// the registered ones: an endpoint may send any number.
func StatusLabel(status int) string {
	if status != 0 && http.StatusText(status) == "" {
		return "other"
	}
	return strconv.Itoa(status)
}

func codeKind(code string) (kind Kind, known bool) {
	code = strings.ToUpper(code)
	if gateway, ok := gatewayCode(code); ok {
		kind, known = gatewayKinds[gateway]
	} else {
		kind, known = dliKinds[code]
	}
	return kind, known
}

// gatewayCode returns a gateway's code without its prefix. There are two equivalent
// prefixes.
func gatewayCode(code string) (number string, ok bool) {
	if number, ok = strings.CutPrefix(code, "APIGW."); ok {
		return number, true
	}
	return strings.CutPrefix(code, "APIG.")
}

func isDLICode(code string) bool {
	return strings.HasPrefix(strings.ToUpper(code), "DLI.")
}

func httpKind(status int) Kind {
	if kind, ok := httpKinds[status]; ok {
		return kind
	}
	switch status / 100 {
	case 3:
		return KindConfig
	case 4:
		return KindRejected
	case 5:
		return KindRetry
	}
	return KindInvalid
}

// IsEndpointFault reports whether the endpoint is at fault. A response with one of
// DLI's codes comes from DLI itself and concerns the job; so do invalid responses and
// responses about another job.
func (e *Error) IsEndpointFault() bool {
	switch e.Kind {
	case KindUnreachable, KindConfig:
		return true
	case KindRetry, KindSlow:
		return e.HTTPStatus >= 500 && !isDLICode(e.Code)
	default:
		return false
	}
}

// IsBrokenOff reports whether a connection was, or may have been, established before
// the request failed.
func (e *Error) IsBrokenOff() bool {
	for _, after := range []error{context.DeadlineExceeded, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(e.Err, after) {
			return true
		}
	}
	return false
}

// IsAfterAuth reports whether an error is one that is only returned after the
// credentials were accepted.
func (e *Error) IsAfterAuth() bool {
	switch e.Kind {
	case KindNotFound, KindPermission, KindRejected, KindSlow:
		return true
	case KindRetry:
		return isDLICode(e.Code) || e.Code != "" && e.HTTPStatus < 500
	default:
		return false
	}
}
