// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types of a DLIJob. Ready, Succeeded, Completed and Synced are
// always present once the DLIJob has been seen. Each carries the generation it
// describes and a reason from the list below.
const (
	// ReadyCondition is True when the job succeeded, False when it did not succeed
	// or user action is required, and Unknown until then. A DLIConnection is Ready
	// when it is usable.
	ReadyCondition = "Ready"
	// SucceededCondition is True when the job succeeded, False when it ended
	// without success, and Unknown until it has ended, even if polling fails.
	SucceededCondition = "Succeeded"
	// CompletedCondition is True when the job has ended, successfully or not; else
	// False.
	CompletedCondition = "Completed"
	// SyncedCondition is True when the last poll succeeded, False when it failed,
	// and Unknown before the first poll or while the DLIJob is suspended.
	SyncedCondition = "Synced"
	// ReconcilingCondition is True while the operator waits for the job to end;
	// else absent.
	ReconcilingCondition = "Reconciling"
	// StalledCondition is True when waiting does not help: the job ended without
	// success, its deadline passed, or user action is required to read it;
	// else absent.
	StalledCondition = "Stalled"
)

// Reasons that describe the state of the job. They are used by Ready, and so by
// Succeeded, Completed, Reconciling and Stalled.
const (
	// ReasonPending: the operator has seen the DLIJob but has not polled it yet.
	ReasonPending = "Pending"
	// ReasonJobLaunching: DLI reports LAUNCHING.
	ReasonJobLaunching = "JobLaunching"
	// ReasonJobRunning: DLI reports RUNNING.
	ReasonJobRunning = "JobRunning"
	// ReasonJobScaling: DLI reports SCALING.
	ReasonJobScaling = "JobScaling"
	// ReasonJobRecovering: DLI reports recovering: it starts a Spark job again that had
	// died.
	ReasonJobRecovering = "JobRecovering"
	// ReasonJobStatusUnrecognized: DLI reports a state that this version does
	// not know. The job is treated as active.
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

// Reasons of Synced. The last eight failures require user action; the other
// failures are temporary.
const (
	// ReasonPollSucceeded: the last poll returned a status.
	ReasonPollSucceeded = "PollSucceeded"
	// ReasonOutcomeContradicted: the last poll returned a status that contradicts
	// the outcome. The outcome is kept.
	ReasonOutcomeContradicted = "OutcomeContradicted"

	// ReasonEndpointUnreachable: the endpoint did not respond.
	ReasonEndpointUnreachable = "EndpointUnreachable"
	// ReasonServerError: DLI or its gateway failed to handle the request.
	ReasonServerError = "ServerError"
	// ReasonRateLimited: DLI throttles the connection's user.
	ReasonRateLimited = "RateLimited"
	// ReasonInvalidResponse: the response is not a status of this job.
	ReasonInvalidResponse = "InvalidResponse"

	// ReasonCredentialsRejected: DLI rejects the access key or token.
	ReasonCredentialsRejected = "CredentialsRejected"
	// ReasonPermissionDenied: the user is not allowed to read the job.
	ReasonPermissionDenied = "PermissionDenied"
	// ReasonSecretNotFound: the connection's Secret does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretInvalid: the connection's Secret lacks a key, or has too many.
	ReasonSecretInvalid = "SecretInvalid"
	// ReasonConnectionNotFound: the DLIJob's namespace has no such
	// DLIConnection, or the DLIJob names none and there is no default.
	ReasonConnectionNotFound = "ConnectionNotFound"
	// ReasonConnectionNotAllowed: the DLIConnection of another namespace does not
	// exist or does not allow the DLIJob's namespace. The two look the same, so
	// that users cannot probe for other teams' connections.
	ReasonConnectionNotAllowed = "ConnectionNotAllowed"
	// ReasonEndpointMisconfigured: the connection's region, endpoint or
	// certificates must change.
	ReasonEndpointMisconfigured = "EndpointMisconfigured"
	// ReasonRequestRejected: DLI rejects this request, and retrying will not help;
	// jobID or projectID is likely wrong.
	ReasonRequestRejected = "RequestRejected"
)

// Reasons of Ready of a DLIConnection, in addition to the reasons of Synced above.
const (
	// ReasonConfigured: the settings are complete; DLI has not been polled yet.
	ReasonConfigured = "Configured"
	// ReasonConnected: DLI accepted the last request.
	ReasonConnected = "Connected"
	// ReasonCircuitOpen: after repeated failures, requests are held back, except
	// for occasional probes.
	ReasonCircuitOpen = "CircuitOpen"
	// ReasonSelectorInvalid: allowedNamespaces.selector is invalid, so no other
	// namespace is allowed.
	ReasonSelectorInvalid = "SelectorInvalid"
	// ReasonListingDisabled: lists of the project's jobs cannot be used, so each job
	// is polled individually. Only used in an Event.
	ReasonListingDisabled = "ListingDisabled"
	// ReasonOtherOperator: another operator writes the status, too. Only used in an Event.
	ReasonOtherOperator = "OtherOperator"
)
