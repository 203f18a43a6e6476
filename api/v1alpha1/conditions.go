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

package v1alpha1

// Condition types of a DLIJob. Ready, Succeeded, Completed and Synced are
// always present once the DLIJob has been seen. Each carries the generation it
// describes and a reason from the list below.
const (
	// ReadyCondition is True when the job succeeded, False when it did not or
	// when somebody must act before more can be known, and Unknown until then. A
	// DLIConnection is Ready when it can be used.
	ReadyCondition = "Ready"
	// SucceededCondition is True when the job succeeded, False when it ended
	// otherwise, and Unknown until it has ended, whatever else goes wrong.
	SucceededCondition = "Succeeded"
	// CompletedCondition is True when the job has ended, well or not; else False.
	CompletedCondition = "Completed"
	// SyncedCondition is True when the last poll worked, False when it did not,
	// and Unknown while there was none or the DLIJob is suspended.
	SyncedCondition = "Synced"
	// ReconcilingCondition is True while the end of the job is awaited; else absent.
	ReconcilingCondition = "Reconciling"
	// StalledCondition is True when waiting does not help: the job ended without
	// success, its deadline passed, or it cannot be read until somebody acts;
	// else absent.
	StalledCondition = "Stalled"
)

// Reasons that say what the job does. They are used by Ready and by
// Succeeded, Completed, Reconciling and Stalled in its wake.
const (
	// ReasonPending: the DLIJob has been seen, and not polled yet.
	ReasonPending = "Pending"
	// ReasonJobLaunching: DLI reports LAUNCHING.
	ReasonJobLaunching = "JobLaunching"
	// ReasonJobRunning: DLI reports RUNNING.
	ReasonJobRunning = "JobRunning"
	// ReasonJobScaling: DLI reports SCALING.
	ReasonJobScaling = "JobScaling"
	// ReasonJobStatusUnrecognized: DLI reports a state that this version does
	// not know. The job is taken to be active.
	ReasonJobStatusUnrecognized = "JobStatusUnrecognized"
	// ReasonJobFinished: DLI reports FINISHED; the job succeeded.
	ReasonJobFinished = "JobFinished"
	// ReasonJobFailed: DLI reports FAILED.
	ReasonJobFailed = "JobFailed"
	// ReasonJobCancelled: DLI reports CANCELLED.
	ReasonJobCancelled = "JobCancelled"
	// ReasonJobNotFound: DLI has no such job.
	ReasonJobNotFound = "JobNotFound"
	// ReasonDeadlineExceeded: the job did not end within activeDeadlineSeconds.
	ReasonDeadlineExceeded = "DeadlineExceeded"
	// ReasonSuspended: spec.suspend is true.
	ReasonSuspended = "Suspended"
)

// Reasons of Synced. The last eight of those that fail need somebody to act;
// the others pass by themselves.
const (
	// ReasonPollSucceeded: the last poll brought a status.
	ReasonPollSucceeded = "PollSucceeded"
	// ReasonOutcomeContradicted: the last poll brought a status that contradicts
	// the outcome. The outcome stands.
	ReasonOutcomeContradicted = "OutcomeContradicted"

	// ReasonEndpointUnreachable: no answer came from the endpoint.
	ReasonEndpointUnreachable = "EndpointUnreachable"
	// ReasonServerError: DLI or its gateway failed to answer the request.
	ReasonServerError = "ServerError"
	// ReasonRateLimited: DLI throttles the connection's user.
	ReasonRateLimited = "RateLimited"
	// ReasonInvalidResponse: the answer is not a status of this job.
	ReasonInvalidResponse = "InvalidResponse"

	// ReasonCredentialsRejected: DLI rejects the access key or token.
	ReasonCredentialsRejected = "CredentialsRejected"
	// ReasonPermissionDenied: the credentials may not read the job.
	ReasonPermissionDenied = "PermissionDenied"
	// ReasonSecretNotFound: the connection's Secret does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretInvalid: the connection's Secret lacks a key, or holds too many.
	ReasonSecretInvalid = "SecretInvalid"
	// ReasonConnectionNotFound: the DLIJob's namespace holds no such
	// DLIConnection, or the DLIJob names none and there is no default.
	ReasonConnectionNotFound = "ConnectionNotFound"
	// ReasonConnectionNotAllowed: the DLIConnection of another namespace does not
	// exist or does not allow the DLIJob's namespace. The two look the same, so
	// that nobody learns of other teams' connections.
	ReasonConnectionNotAllowed = "ConnectionNotAllowed"
	// ReasonEndpointMisconfigured: the connection's region, endpoint or
	// certificates must change.
	ReasonEndpointMisconfigured = "EndpointMisconfigured"
	// ReasonRequestRejected: DLI will never answer this request, so jobID or
	// projectID is likely wrong.
	ReasonRequestRejected = "RequestRejected"
)

// Reasons of Ready of a DLIConnection, beside the reasons of Synced above.
const (
	// ReasonConfigured: the connection is complete; DLI has not been asked yet.
	ReasonConfigured = "Configured"
	// ReasonConnected: DLI accepted the last request.
	ReasonConnected = "Connected"
	// ReasonCircuitOpen: after repeated failures requests are held back, but for
	// a probe now and then.
	ReasonCircuitOpen = "CircuitOpen"
	// ReasonSelectorInvalid: allowedNamespaces.selector cannot be read, so it
	// allows no other namespace.
	ReasonSelectorInvalid = "SelectorInvalid"
	// ReasonListingDisabled: lists of the project's jobs cannot be used, so each job
	// is polled by itself. It is the reason of an Event only.
	ReasonListingDisabled = "ListingDisabled"
)
