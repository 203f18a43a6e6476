// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package dli reads the status of SQL and Spark jobs from Huawei Cloud Data Lake Insight.
//
// It handles the wire protocol and does not know Kubernetes. It makes five calls,
//
//	GET {endpoint}/v1.0/{project_id}/jobs/{job_id}/status
//	GET {endpoint}/v1.0/{project_id}/jobs?job-status=...&current-page=...
//	GET {endpoint}/v1/{project_id}/jobs/{job_id}/progress
//	GET {endpoint}/v2.0/{project_id}/batches/{batch_id}
//	GET {endpoint}/v2.0/{project_id}/batches?state=...&from=...
//
// signed with an access key or authenticated with a token. Every answer becomes a
// JobStatus, a JobList, a Progress or an *Error:
//
//	HTTP 200, a JSON object with this job's ID and a status        JobStatus
//	HTTP 200, a JSON object with a count and rows of jobs          JobList
//	HTTP 200, a JSON object with this job's ID                     Progress
//	HTTP 200, is_success: false                                    the code in its message, else Retry
//	HTTP 200 and anything else                                     Invalid
//	any other HTTP status                                          its code, else its HTTP status
//	no answer, or an incomplete one                                Unreachable; Config if TLS or a setting is the cause
//
// A failed job is a JobStatus: an *Error is about the question, never about the job.
// A wait never ends because of an unexpected answer: an unknown status is an active
// job, and an invalid answer is an error.
//
// The files follow a request: endpoint.go and dial.go decide where to connect,
// regions.go has the endpoints of regions, sign.go authenticates; client.go, list.go,
// progress.go, batch.go and batchlist.go define the questions, ask.go sends them;
// budget.go, body.go and shorten.go read the body; wire.go describes it; decode.go,
// lenient.go, json.go and schema.go parse it; errors.go, classify.go, retryafter.go and
// clockskew.go handle errors, network.go missing answers. texts.go, secrets.go and
// internal/text make all of them safe to show.
package dli

import (
	"cmp"
	"hash/maphash"
	"time"
)

// State is the meaning of a job's status.
type State uint8

// The states of a job. Only the last three are final.
const (
	// StateUnrecognized is any status that this package does not know. The job is
	// treated as active: a new status in DLI must not end a wait.
	StateUnrecognized State = iota
	StateLaunching
	StateRunning
	StateScaling
	StateRecovering
	StateFinished
	StateFailed
	StateCancelled
)

// HasEnded reports whether the state is final.
func (s State) HasEnded() bool { return s >= StateFinished }

// JobStatus is a job as described by DLI in one answer. Fields that DLI omitted, or
// sent in an invalid form, are zero or nil: only the job's ID and the status are
// required. Its texts are valid UTF-8 and do not contain the credentials of the
// request.
type JobStatus struct {
	// JobID is the ID in the answer; it equals the requested one except for case.
	JobID string
	// Status is DLI's status as sent, without surrounding spaces, at most 64 printable
	// characters; State is its meaning.
	Status string
	State  State

	// The names of the job and of what it belongs to: job_type, job_mode,
	// queue_name, owner, database_name, table_name, result_path. One that is longer than
	// 256 bytes, a type or mode longer than 64, a path longer than 1024, or one that is
	// not printable is treated as absent.
	JobType, JobMode, QueueName, Owner, DatabaseName, TableName, ResultPath string

	// ApplicationID, Name and Image are appId, name and image of a Spark job, with the
	// same limits; that of an image is 1024 bytes.
	ApplicationID, Name, Image string

	// Date is DLI's own clock when it answered, from the header Date, to the second and
	// in UTC; zero if absent or invalid. Comparing times in an answer, such as
	// StartTime, with its Date gives durations that only depend on DLI's clock.
	Date time.Time

	// StartTime is start_time, in UTC, to the millisecond; zero when unknown.
	StartTime time.Time
	Figures

	// Columns is the result's schema, from detail, at most 256 columns; nil if DLI sent
	// none, an invalid one, or one without columns. ColumnsOmitted counts the others.
	Columns        []Column
	ColumnsOmitted int

	// Tags are the tags that a SQL job was submitted with, at most 20. One whose key or
	// value is longer than 256 bytes or not printable is left out.
	Tags []Tag

	// Statement and Message are as sent by DLI, without control and format characters
	// other than newlines and tabs, each at most 4096 bytes. StatementTruncated is set
	// if Statement is only the start. A longer message ends in "…", or in "…" and its
	// first error code, if that comes later; ErrorCode finds the job's own error in it.
	Statement          string
	StatementTruncated bool
	Message            string
}

// RunningTime returns how long the job had been running when DLI answered, at now: by DLI's
// clock alone if possible. isKnown is false if the answer does not say.
func (s *JobStatus) RunningTime(now time.Time) (running time.Duration, isKnown bool) {
	if s.Duration != nil {
		running, isKnown = *s.Duration, true
	}
	switch {
	case s.StartTime.IsZero():
	case !s.Date.IsZero():
		running, isKnown = max(running, s.Date.Sub(s.StartTime)), true
	case !isKnown:
		running, isKnown = max(0, now.Sub(s.StartTime)), true
	}
	return running, isKnown
}

// Figures are what changes while a job runs. They are nil when unknown, and never negative.
type Figures struct {
	// Duration is duration, to the millisecond.
	Duration *time.Duration
	// InputRowCount, BadRowCount, ResultCount and InputBytes are input_row_count,
	// bad_row_count, result_count and input_size, exact for every int64.
	InputRowCount, BadRowCount, ResultCount, InputBytes *int64
}

// EqualCounts reports whether two figures are the same except for the duration, which
// always changes.
func (f *Figures) EqualCounts(other *Figures) bool {
	return equal(f.InputRowCount, other.InputRowCount) && equal(f.BadRowCount, other.BadRowCount) &&
		equal(f.ResultCount, other.ResultCount) && equal(f.InputBytes, other.InputBytes)
}

// Update replaces the counts that are known in other. Its duration is not used.
func (f *Figures) Update(other *Figures) {
	f.InputRowCount = cmp.Or(other.InputRowCount, f.InputRowCount)
	f.BadRowCount = cmp.Or(other.BadRowCount, f.BadRowCount)
	f.ResultCount = cmp.Or(other.ResultCount, f.ResultCount)
	f.InputBytes = cmp.Or(other.InputBytes, f.InputBytes)
}

func equal(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

var seed = maphash.MakeSeed()

// Digest is a digest, valid in this process, of everything that the status says about the
// job except for its figures.
func (s *JobStatus) Digest() uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, text := range []string{
		s.Status, s.JobType, s.JobMode, s.QueueName, s.Owner, s.DatabaseName, s.TableName, s.ResultPath, s.Statement, s.Message,
		s.ApplicationID, s.Name, s.Image,
	} {
		_, _ = h.WriteString(text)
		_ = h.WriteByte(0)
	}
	maphash.WriteComparable(&h, s.StartTime.Unix())
	maphash.WriteComparable(&h, s.StatementTruncated)
	maphash.WriteComparable(&h, s.ColumnsOmitted)
	for _, column := range s.Columns {
		maphash.WriteComparable(&h, column)
	}
	for _, tag := range s.Tags {
		maphash.WriteComparable(&h, tag)
	}
	return h.Sum64()
}

// Tag is one tag of a job.
type Tag struct {
	Key, Value string
}

// Column is one column of a job's result. Type is in SQL form, such as
// array<struct<a:int>>. Name and Type are one line of at most 256 and 1024 bytes, longer
// ones end in "…".
type Column struct {
	Name     string
	Type     string
	Nullable bool
}

// Kind classifies an error by what can be done about it.
type Kind string

// The kinds of errors.
const (
	// KindNotFound: DLI has no such job. One such answer may be premature; several
	// confirm it.
	KindNotFound Kind = "NotFound"
	// KindAuth: the access key, its signature or the token is not accepted.
	KindAuth Kind = "Auth"
	// KindPermission: the credentials are valid but do not permit this.
	KindPermission Kind = "Permission"
	// KindConfig: the endpoint, region, project or its TLS must change.
	KindConfig Kind = "Config"
	// KindThrottle: too many requests of this user; all of them must wait.
	KindThrottle Kind = "Throttle"
	// KindRetry: the service failed; it may succeed next time.
	KindRetry Kind = "Retry"
	// KindSlow: like KindRetry, but it will take a while.
	KindSlow Kind = "Slow"
	// KindRejected: the request can never succeed as it is.
	KindRejected Kind = "Rejected"
	// KindUnreachable: there was no complete answer in time.
	KindUnreachable Kind = "Unreachable"
	// KindInvalid: the answer is not of the expected form.
	KindInvalid Kind = "Invalid"
)

// Error is an error answer, or a missing one. Its texts are safe to show: limited in
// length, and without control characters and credentials.
type Error struct {
	Kind Kind
	// HTTPStatus is 0 if there was no answer.
	HTTPStatus int
	// Code is DLI's or the gateway's error code, such as DLI.0015 or APIGW.0301;
	// "" if there was none.
	Code string
	// Message describes the error in one line, at most 512 bytes. Each cause always has
	// the same message: points in time are masked by "…".
	Message string
	// RequestID is the service's ID of the request; "" if there was none.
	RequestID string
	// RetryAfter is how long the service demands to wait, at most 10 min; 0 if it does
	// not say.
	RetryAfter time.Duration
	// ClockSkew is set if a signature was rejected (KindAuth) although the access key
	// may be valid: it is how far the client's clock is ahead of the service's, to the
	// second, negative if behind. It is 0 unless the clocks differ by more than 15
	// minutes, or by more than one minute if the message is about time. It varies from
	// one answer to the next.
	ClockSkew time.Duration
	// Err is the cause if it is one of context.DeadlineExceeded, io.ErrUnexpectedEOF or
	// a syscall.Errno. It never contains text from the endpoint.
	Err error
}

// Credentials authenticate a request: either an access key, with a security token if
// it is temporary, or an IAM token. The zero value is none. Validate checks them.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SecurityToken string
	Token                                       string
}
