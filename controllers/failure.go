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

package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// failure says why a job could not be read. It becomes the condition
// Synced=False, so its message names the thing and the way out.
type failure struct {
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
}

// Error makes a failure an error, so that it can travel as one.
func (f *failure) Error() string { return f.Reason + ": " + f.Message }

func failf(reason, format string, args ...any) *failure {
	return &failure{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// waitingIsFutile lists the reasons that somebody must act upon. The others
// pass by themselves.
var waitingIsFutile = []string{
	v1alpha1.ReasonCredentialsRejected,
	v1alpha1.ReasonPermissionDenied,
	v1alpha1.ReasonSecretNotFound,
	v1alpha1.ReasonSecretInvalid,
	v1alpha1.ReasonConnectionNotFound,
	v1alpha1.ReasonConnectionNotAllowed,
	v1alpha1.ReasonEndpointMisconfigured,
	v1alpha1.ReasonRequestRejected,
}

// needsAction tells whether a reason stays until somebody acts.
func needsAction(reason string) bool { return slices.Contains(waitingIsFutile, reason) }

// readings says for each kind of error which reason it becomes, what it means,
// and what to do about it. %s is the connection, as people name it.
var readings = map[dli.Kind]struct{ reason, meaning, remedy string }{
	dli.KindNotFound: {v1alpha1.ReasonJobNotFound,
		"DLI has no such job", "check spec.jobID, and that the project of %s is the job's"},
	dli.KindAuth: {v1alpha1.ReasonCredentialsRejected,
		"DLI rejects the credentials", "put valid ones into the Secret of %s"},
	dli.KindPermission: {v1alpha1.ReasonPermissionDenied,
		"the credentials may not read the job", "allow the user of %s the action dli:jobs:get"},
	dli.KindConfig: {v1alpha1.ReasonEndpointMisconfigured,
		"the endpoint cannot be used", "correct the endpoint, region, projectID or caBundle of %s"},
	dli.KindThrottle: {v1alpha1.ReasonRateLimited,
		"DLI throttles the requests", "they slow down by themselves; lower spec.rateLimit of %s if this lasts"},
	dli.KindRetry: {v1alpha1.ReasonServerError,
		"DLI failed to answer", "it is asked again through %s"},
	dli.KindSlow: {v1alpha1.ReasonServerError,
		"DLI cannot answer for now", "it is asked again through %s"},
	dli.KindRejected: {v1alpha1.ReasonRequestRejected,
		"DLI refuses the request", "check spec.jobID, and spec.projectID of %s"},
	dli.KindUnreachable: {v1alpha1.ReasonEndpointUnreachable,
		"DLI cannot be reached", "it is tried again; check the endpoint of %s and the network if this lasts"},
	dli.KindInvalid: {v1alpha1.ReasonInvalidResponse,
		"the answer is not a status of the job", "DLI is asked again; check that the endpoint of %s is DLI's if this lasts"},
}

// explain turns an error of reading a job through a connection into a failure.
// connection is how people name it, such as "DLIConnection team-a/default".
func explain(err *dli.Error, connection string) *failure {
	reading, known := readings[err.Kind]
	if !known {
		reading = readings[dli.KindRetry]
	}
	return &failure{
		Reason:     reading.reason,
		Message:    fmt.Sprintf("%s: %s; "+reading.remedy, reading.meaning, strings.TrimSuffix(sayWithoutID(err), "."), connection),
		RequestID:  err.RequestID,
		RetryAfter: err.RetryAfter,
		Kind:       err.Kind,
	}
}

// sayWithoutID is what an error says but for its request id, which would make
// every occurrence another message.
func sayWithoutID(err *dli.Error) string {
	same := *err
	same.RequestID = ""
	return same.Error()
}

// streak is the unbroken run of failed polls of one job; the zero value is
// none. It lives in memory: after a restart the run begins anew.
type streak struct {
	// Failures counts the failed polls.
	Failures int
	// NotFound counts the latest answers that DLI has no such job, and
	// NotFoundSince is when they began.
	NotFound      int
	NotFoundSince time.Time
	// BlockedSince is since when somebody would have to act; zero when nobody.
	BlockedSince time.Time
}

// after returns the streak with one more failure, at now.
func (s streak) after(f *failure, now time.Time) streak {
	s.Failures++
	if f.Reason == v1alpha1.ReasonJobNotFound {
		if s.NotFound == 0 {
			s.NotFoundSince = now
		}
		s.NotFound++
	} else {
		s.NotFound, s.NotFoundSince = 0, time.Time{}
	}
	return s.held(f, now)
}

// held returns the streak with a failure that comes without an answer of DLI
// about this job: it counts for how long nothing can be read, not as a poll.
func (s streak) held(f *failure, now time.Time) streak {
	switch {
	case !needsAction(f.Reason):
		s.BlockedSince = time.Time{}
	case s.BlockedSince.IsZero():
		s.BlockedSince = now
	}
	return s
}

// confirmedNotFound tells whether the job may be believed to be gone: a job
// that was just submitted may not be readable yet, so one answer is not enough.
func (s streak) confirmedNotFound(now time.Time, after time.Duration) bool {
	return s.NotFound >= 3 && now.Sub(s.NotFoundSince) >= after
}
