// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package connection holds the client, credentials and limits of each DLIConnection, and
// decides whether a request may be sent.
//
// In reading order:
//
//   - resolve.go: which connection a job uses, and whether it may
//   - request.go: the one place where a request is sent, and what its response changes
//   - registry.go: the connections in use, one per object key, for life; how an edit, a
//     re-creation or a deletion changes one
//   - connection.go: which jobs may be polled, as all policies together say, and what a
//     connection reports of itself
//   - admission.go: what a policy decides
//   - failure.go: what an error of DLI means for a job, the endpoint and the credentials
//   - credentials.go: the policy for credentials: their renewal, and attempts with rejected ones
//   - secret.go: where they come from
//   - lockout.go: at most five wrong signatures per access key
//   - circuit.go: the policy for an endpoint that fails
//   - throttle.go: the policy for the rate limit, and for DLI's own
//   - limits.go: the policy for requests in flight
//
// The Registry owns all state, under one lock. Policies have no clock, lock or goroutine
// of their own: now is always the time of the call.
package connection
