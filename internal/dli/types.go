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

// Package dli reads the status of SQL jobs from Huawei Cloud Data Lake Insight.
//
// It knows the wire and nothing of Kubernetes: three calls,
//
//	GET {endpoint}/v1.0/{project_id}/jobs/{job_id}/status
//	GET {endpoint}/v1.0/{project_id}/jobs?job-status=...&current-page=...
//	GET {endpoint}/v1/{project_id}/jobs/{job_id}/progress
//
// signed with an access key or carrying a token, whose every answer becomes
// either a JobStatus, a JobList, a Progress or an *Error:
//
//	HTTP 200, a JSON object with this job's id and a status word   JobStatus
//	HTTP 200, a JSON object with a count and rows of jobs          JobList
//	HTTP 200, a JSON object with this job's id                     Progress
//	HTTP 200, is_success: false                                    the code in its message, else Retry
//	HTTP 200 and anything else                                     Invalid
//	any other HTTP status                                          its code, else its HTTP status
//	no answer, or not all of it                                    Unreachable; Config if TLS or a setting is why
//
// A job that failed is a JobStatus: an *Error is about the question, never about
// the job. Nobody else's mistakes end a wait: a word that is not known is an
// active job, an answer that cannot be read is no answer.
//
// The files follow an answer's way: endpoint.go and dial.go say whom to ask,
// sign.go how; client.go, list.go and progress.go know the questions, ask.go asks
// them; body.go and shorten.go take what comes; wire.go says what is in it;
// decode.go, lenient.go, json.go and schema.go read it, errors.go, classify.go,
// retryafter.go and clockskew.go an error, network.go the lack of an answer.
// secrets.go and internal/text make both safe to show.
package dli

import "time"

// State is what a job's status word means.
type State int

// The states of a job. Only the last three are final.
const (
	// StateUnrecognized is any word that this package does not know. The job is
	// taken to be active: a new word of DLI's must not end a wait.
	StateUnrecognized State = iota
	StateLaunching
	StateRunning
	StateScaling
	StateFinished
	StateFailed
	StateCancelled
)

// JobStatus is a job as DLI described it in one answer. Fields that DLI left
// out, or sent in a form that cannot be read, are zero or nil: only the job's id
// and the status word are indispensable. Its texts are valid UTF-8 and hold none
// of the credentials that were sent.
type JobStatus struct {
	// JobID is the id in the answer; it equals the one asked for but for case.
	JobID string
	// Status is DLI's word as it came, blanks trimmed, at most 64 characters that
	// print; State is what it means.
	Status string
	State  State

	// The names of the job and of what it belongs to: job_type, job_mode,
	// queue_name, owner, database_name, table_name, result_path. One that is
	// longer than 1024 bytes or holds what does not print is taken for absent.
	JobType, JobMode, QueueName, Owner, DatabaseName, TableName, ResultPath string

	// Date is DLI's own clock when it answered, from the header Date, to the second
	// and in UTC; zero when absent or unreadable. Times of an answer, such as
	// StartTime, compared with its Date give spans that do not depend on any clock
	// but DLI's.
	Date time.Time

	// StartTime is start_time, in UTC, to the millisecond; zero when unknown.
	StartTime time.Time
	// Duration is duration, to the millisecond; nil when unknown, never negative.
	Duration *time.Duration

	// InputRowCount, BadRowCount, ResultCount and InputBytes are
	// input_row_count, bad_row_count, result_count and input_size: nil when
	// unknown, exact for every int64, never negative.
	InputRowCount, BadRowCount, ResultCount, InputBytes *int64

	// Columns is the result's schema, from detail; nil when DLI gave none that
	// can be read, or one without columns.
	Columns []Column

	// Statement and Message are as DLI sent them, but for control characters other
	// than line ends and tabs. They are whole in an answer of up to 4 MiB. In a
	// larger one each is
	// cut on a rune, unmarked, before it takes more than 256 KiB as it is written
	// there; a schema of that length is lost. ErrorCode finds the job's own error
	// in the message of one that failed.
	Statement, Message string
}

// Column is one column of a job's result. Type is in SQL form, such as
// array<struct<a:int>>. Name and Type are one line of at most 1024 bytes each,
// longer ones end in "…".
type Column struct {
	Name     string
	Type     string
	Nullable bool
}

// Kind classifies an error by who can do what about it.
type Kind string

// The kinds of errors.
const (
	// KindNotFound: DLI has no such job. One such answer may be early; believe
	// several.
	KindNotFound Kind = "NotFound"
	// KindAuth: the access key, its signature or the token is not accepted.
	KindAuth Kind = "Auth"
	// KindPermission: the credentials are good but may not read this.
	KindPermission Kind = "Permission"
	// KindConfig: the endpoint, region, project or its TLS must change.
	KindConfig Kind = "Config"
	// KindThrottle: too many requests of this user; wait, all of them.
	KindThrottle Kind = "Throttle"
	// KindRetry: the service failed; it may succeed next time.
	KindRetry Kind = "Retry"
	// KindSlow: like KindRetry, but it will take a while.
	KindSlow Kind = "Slow"
	// KindRejected: the request can never succeed as it is.
	KindRejected Kind = "Rejected"
	// KindUnreachable: no answer, or none that was whole, came in time.
	KindUnreachable Kind = "Unreachable"
	// KindInvalid: an answer came that is not what was asked for.
	KindInvalid Kind = "Invalid"
)

// Error is an answer, or the lack of one, that is not what was asked for. Its texts
// are safe to show: bounded, free of control characters and of credentials.
type Error struct {
	Kind Kind
	// HTTPStatus is 0 when there was no answer.
	HTTPStatus int
	// Code is DLI's or the gateway's error code, such as DLI.0015 or APIGW.0301;
	// "" when there was none.
	Code string
	// Message is what went wrong in one line, at most 512 bytes. One cause has one
	// message: points in time are masked by "…".
	Message string
	// RequestID is the service's id of the request; "" when there was none.
	RequestID string
	// RetryAfter is how long the service asks to wait, at most 10 min; 0 when it
	// does not say.
	RetryAfter time.Duration
	// ClockSkew says that a signature was not accepted, of KindAuth, although the
	// access key may be good: it is how far the client's clock is ahead of the
	// service's, to the second, negative when behind. It is 0 unless the clocks
	// differ by more than 15 minutes, or by more than one when the message is about
	// time. It moves from one answer to the next.
	ClockSkew time.Duration
	// Err is the cause where it can be told apart: context.DeadlineExceeded,
	// io.ErrUnexpectedEOF or a syscall.Errno. It never holds text of the
	// endpoint's.
	Err error
}

// Credentials authenticate a request: either an access key, with a security
// token if it is temporary, or an IAM token. The zero value is none. Validate says
// whether a request can be made with them.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SecurityToken string
	Token                                       string
}
