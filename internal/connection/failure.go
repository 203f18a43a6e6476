/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package connection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Failure says why a job could not be read. It becomes the condition
// Synced=False, so its message names the thing and the way out.
type Failure struct {
	// Reason is one of the API's reasons of Synced.
	Reason string
	// Message does not vary while the cause stays the same, or every poll would
	// rewrite the status.
	Message string
	// RequestID is DLI's id of the request, shown to help its support; it varies.
	RequestID string
	// RetryAfter is how long DLI asks to wait; 0 when it does not say.
	RetryAfter time.Duration
	// Kind is the error's class when DLI was asked; "" when it was not.
	Kind dli.Kind
	// Endpoint says that the endpoint failed rather than that it said something of
	// the job.
	Endpoint bool
}

// Failf returns a failure that no answer of DLI's has caused.
func Failf(reason, format string, args ...any) *Failure {
	return &Failure{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// requestMark is how the id of a request begins behind a message.
const requestMark = " (request "

// String returns the message with the id of the request, if there is one.
func (f *Failure) String() string {
	if f.RequestID == "" {
		return f.Message
	}
	return f.Message + requestMark + f.RequestID + ")"
}

// ParseFailure returns the failure of which String has made said.
func ParseFailure(reason, said string) *Failure {
	message, id, _ := strings.Cut(said, requestMark)
	return &Failure{Reason: reason, Message: message, RequestID: strings.TrimSuffix(id, ")")}
}

// permanentReasons stay until somebody acts. The others pass by themselves.
var permanentReasons = []string{
	v1alpha1.ReasonCredentialsRejected,
	v1alpha1.ReasonPermissionDenied,
	v1alpha1.ReasonSecretNotFound,
	v1alpha1.ReasonSecretInvalid,
	v1alpha1.ReasonConnectionNotFound,
	v1alpha1.ReasonConnectionNotAllowed,
	v1alpha1.ReasonEndpointMisconfigured,
	v1alpha1.ReasonRequestRejected,
}

// NeedsAction reports whether a reason of Synced=False stays until somebody
// acts.
func NeedsAction(reason string) bool { return slices.Contains(permanentReasons, reason) }

// NeedsAction reports whether the failure stays until somebody acts.
func (f *Failure) NeedsAction() bool { return NeedsAction(f.Reason) }

// explanations say for each kind of error which reason it becomes, what it
// means, and what to do about it. %s is the connection, as people name it.
var explanations = map[dli.Kind]struct{ reason, meaning, remedy string }{
	dli.KindNotFound: {v1alpha1.ReasonJobNotFound,
		"DLI has no such job", "check that spec.jobID and the project of %s are correct"},
	dli.KindAuth: {v1alpha1.ReasonCredentialsRejected,
		"DLI rejects the credentials", "put valid ones into the Secret of %s"},
	dli.KindPermission: {v1alpha1.ReasonPermissionDenied,
		"the user is not allowed to read the job", "grant the user of %s the action dli:jobs:get"},
	dli.KindConfig: {v1alpha1.ReasonEndpointMisconfigured,
		"the endpoint cannot be used", "correct the endpoint, region, projectID or caBundle of %s"},
	dli.KindThrottle: {v1alpha1.ReasonRateLimited,
		"DLI throttles the requests", "the operator slows down automatically; if this lasts, lower spec.rateLimit of %s"},
	dli.KindRetry: {v1alpha1.ReasonServerError,
		"DLI failed to handle the request", "the operator retries through %s"},
	dli.KindSlow: {v1alpha1.ReasonServerError,
		"DLI is temporarily unable to answer", "the operator retries through %s"},
	dli.KindRejected: {v1alpha1.ReasonRequestRejected,
		"DLI rejects the request", "check spec.jobID, and spec.projectID of %s"},
	dli.KindUnreachable: {v1alpha1.ReasonEndpointUnreachable,
		"DLI is unreachable", "the operator retries; if this lasts, check the endpoint of %s and the network"},
	dli.KindInvalid: {v1alpha1.ReasonInvalidResponse,
		"the response is not a status of the job", "the operator retries; if this lasts, check that the endpoint of %s is DLI's"},
}

// explain turns an error of reading a job through a connection into a failure.
// connection is how people name it, such as "DLIConnection team-a/default".
func explain(err *dli.Error, connection string) *Failure {
	explanation, known := explanations[err.Kind]
	if !known {
		explanation = explanations[dli.KindRetry]
	}
	if err.ClockSkew != 0 {
		explanation.meaning = "DLI rejects the time of the requests because " + clocks(err.ClockSkew)
		explanation.remedy = "correct the clock of the operator's node, not the key of %s"
	}
	return &Failure{
		Reason:     explanation.reason,
		Message:    fmt.Sprintf("%s: %s; "+explanation.remedy, explanation.meaning, strings.TrimSuffix(withoutRequestID(err), "."), connection),
		RequestID:  err.RequestID,
		RetryAfter: err.RetryAfter,
		Kind:       err.Kind,
		Endpoint:   faultOf(err) != noFault,
	}
}

// clocks says which clock is off, and by how much: skew is how far this one is
// ahead.
func clocks(skew time.Duration) string {
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return fmt.Sprintf("the operator's clock is %v %s DLI's", skew.Abs().Round(time.Minute), direction)
}

// withoutRequestID is what an error says but for its request id, which would
// make every occurrence another message.
func withoutRequestID(err *dli.Error) string {
	same := *err
	same.RequestID = ""
	return same.Error()
}

// fault is what an error tells of the endpoint.
type fault int

const (
	// noFault: the endpoint answered, whatever it said of the job.
	noFault fault = iota
	// likelyFault: the endpoint failed; but a single job can cause it, too.
	likelyFault
	// certainFault: no job can cause it.
	certainFault
)

// faultOf says whose fault an error is. Any answer that carries a code of DLI's
// comes from DLI itself and concerns the job; so does garbage, and an answer
// about another job.
func faultOf(err *dli.Error) fault {
	switch err.Kind {
	case dli.KindUnreachable, dli.KindConfig:
		if err.HTTPStatus == 0 && !brokeOff(err) {
			return certainFault
		}
		return likelyFault
	case dli.KindRetry, dli.KindSlow:
		if err.HTTPStatus >= 500 && !strings.HasPrefix(err.Code, "DLI.") {
			return likelyFault
		}
	default:
	}
	return noFault
}

// brokeOff reports whether a connection had been made, or may have been, before
// the answer failed to come.
func brokeOff(err *dli.Error) bool {
	for _, after := range []error{context.DeadlineExceeded, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err.Err, after) {
			return true
		}
	}
	return false
}

// verification is what an answer says of the credentials.
type verification int

const (
	// unverified: no answer came, or one that does not tell.
	unverified verification = iota
	accepted
	rejected
)

// verify says what an error tells of the credentials it was asked with: an
// answer about anything else comes from behind the check of them.
func verify(err *dli.Error) verification {
	switch err.Kind {
	case dli.KindAuth:
		return rejected
	case dli.KindNotFound, dli.KindPermission, dli.KindRejected, dli.KindSlow:
		return accepted
	case dli.KindRetry:
		if strings.HasPrefix(err.Code, "DLI.") || err.Code != "" && err.HTTPStatus < 500 {
			return accepted
		}
	default:
	}
	return unverified
}
