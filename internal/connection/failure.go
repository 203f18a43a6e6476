// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// Failure says why a job could not be read. It becomes the condition
// Synced=False, so its message names the cause and the remedy.
type Failure struct { //nolint:errname // the word of the conditions that it becomes
	// Reason is one of the API's reasons of Synced.
	Reason string
	// Message stays the same while the cause does; otherwise every poll would
	// rewrite the status.
	Message string
	// RequestID is DLI's ID of the request, shown for its support; it varies.
	RequestID string
	// RetryAfter is how long DLI demands to wait; 0 if it does not say.
	RetryAfter time.Duration
	// Kind is the class of the error; "" if no request was sent to DLI.
	Kind dli.Kind
	// Endpoint is set if the endpoint failed, rather than returned an error for the
	// job, and isCertain if no single job can cause that.
	Endpoint, isCertain bool
	// isAfterAuth is set if DLI returns the error only to accepted credentials.
	isAfterAuth bool
}

// Failf returns a failure that was not caused by a response from DLI.
func Failf(reason, format string, args ...any) *Failure {
	return &Failure{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// RequestMark separates the message from the ID of the request.
const RequestMark = " (request "

// Error returns the message with the ID of the request, if there is one.
func (f *Failure) Error() string {
	if f.RequestID == "" {
		return f.Message
	}
	return f.Message + RequestMark + f.RequestID + ")"
}

// AsFailure finds the *Failure in err's chain.
func AsFailure(err error) (*Failure, bool) {
	var failure *Failure
	ok := errors.As(err, &failure)
	return failure, ok
}

// permanentReasons require user action. The others are temporary.
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

// NeedsAction reports whether a reason of Synced=False requires user action.
func NeedsAction(reason string) bool { return slices.Contains(permanentReasons, reason) }

// NeedsAction reports whether the failure requires user action.
func (f *Failure) NeedsAction() bool { return NeedsAction(f.Reason) }

// explanations map each kind of error to its reason, meaning and remedy. %s is the
// name of the connection.
var explanations = map[dli.Kind]struct{ reason, meaning, remedy string }{
	dli.KindNotFound: {v1alpha1.ReasonJobNotFound,
		"DLI has no such job", "check that spec.jobID, spec.type and the project of %s are correct"},
	dli.KindAuth: {v1alpha1.ReasonCredentialsRejected,
		"DLI rejects the credentials", "put valid ones into the Secret of %s"},
	dli.KindPermission: {v1alpha1.ReasonPermissionDenied,
		"the user is not allowed to read the job", "check the projectID of %s, and grant its user the action dli:jobs:get"},
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

// failureOf turns an error of polling a job through a connection into a failure; nil if
// there is none. connection is its name, such as "DLIConnection team-a/default".
func failureOf(err *dli.Error, connection string) *Failure {
	if err == nil {
		return nil
	}
	explanation, found := explanations[err.Kind]
	if !found {
		explanation = explanations[dli.KindRetry]
	}
	if err.ClockSkew != 0 {
		explanation.meaning = "DLI rejects the time of the requests because " + err.DescribeSkew()
		explanation.remedy = "correct the clock of the operator's node, not the key of %s"
	}
	cause := *err
	cause.RequestID = "" // it would make every message different
	return &Failure{
		Reason:      explanation.reason,
		Message:     fmt.Sprintf("%s: %s; "+explanation.remedy, explanation.meaning, strings.TrimSuffix(cause.Error(), "."), connection),
		RequestID:   err.RequestID,
		RetryAfter:  err.RetryAfter,
		Kind:        err.Kind,
		Endpoint:    err.IsEndpointFault(),
		isCertain:   err.IsEndpointFault() && err.HTTPStatus == 0 && !err.IsBrokenOff(),
		isAfterAuth: err.IsAfterAuth(),
	}
}

// aborted stands for a request without a response, because the operator has given it up:
// it shows nothing.
var aborted = &Failure{}

// isRejection reports whether DLI rejected the credentials, and isAccepting whether it
// has accepted them. A response may show neither.
func (f *Failure) isRejection() bool { return f != nil && f.Kind == dli.KindAuth }
func (f *Failure) isAccepting() bool { return f == nil || f.isAfterAuth }

// isShared reports whether the failure belongs to the connection rather than the job.
func (f *Failure) isShared() bool {
	return f.Endpoint || f.isRejection() || f.Kind == dli.KindThrottle
}
