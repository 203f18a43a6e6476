// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	projectID = "48cc2c48765f481480c7db940d6409d1"
	jobID     = "208b08d4-0dc2-4dd7-8879-ddd4c020d7aa"
)

var (
	accessKey    = Credentials{AccessKeyID: "AKEXAMPLE", SecretAccessKey: "SKEXAMPLE"}
	temporaryKey = Credentials{AccessKeyID: "AKEXAMPLE", SecretAccessKey: "SKEXAMPLE", SecurityToken: "STEXAMPLE"}
	// noon is the time of the clock of the tests' clients.
	noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
)

// finished is the response for a job that succeeded; the fields of the API document
// have the values of its sample.
const finished = `{"is_success":true,"message":"","job_id":"` + jobID + `","job_type":"QUERY","job_mode":"async",` +
	`"queue_name":"default","owner":"test","start_time":1509335108918,"duration":2523,"status":"FINISHED","input_size":22,` +
	`"result_count":4,"database_name":"dbtest","table_name":"tbtest","detail":"{\"type\":\"struct\",\"fields\":[` +
	`{\"name\":\"id\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}},` +
	`{\"name\":\"name\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}","statement":"select * from t1"}`

// finishedStatus returns the status of finished, with a test's changes.
func finishedStatus(changes ...func(*JobStatus)) *JobStatus {
	status := &JobStatus{
		JobID:        jobID,
		Status:       "FINISHED",
		State:        StateFinished,
		JobType:      "QUERY",
		JobMode:      "async",
		QueueName:    "default",
		Owner:        "test",
		DatabaseName: "dbtest",
		TableName:    "tbtest",
		StartTime:    time.UnixMilli(1509335108918).UTC(),
		Figures:      Figures{Duration: new(2523 * time.Millisecond), ResultCount: new(int64(4)), InputBytes: new(int64(22))},
		Columns:      []Column{{Name: "id", Type: "int", Nullable: true}, {Name: "name", Type: "string", Nullable: true}},
		Statement:    "select * from t1",
	}
	for _, change := range changes {
		change(status)
	}
	return status
}

// young returns a minimal response with additional members, each as "name":value; later
// ones take precedence.
func young(members ...string) string {
	body := `{"is_success":true,"message":"","job_id":"` + jobID + `","status":"LAUNCHING","job_type":"QUERY","start_time":1509335108918`
	for _, member := range members {
		body += "," + member
	}
	return body + "}"
}

// youngStatus returns the status of young, with a test's changes.
func youngStatus(changes ...func(*JobStatus)) *JobStatus {
	status := &JobStatus{
		JobID:     jobID,
		Status:    "LAUNCHING",
		State:     StateLaunching,
		JobType:   "QUERY",
		StartTime: time.UnixMilli(1509335108918).UTC(),
	}
	for _, change := range changes {
		change(status)
	}
	return status
}

func inState(word string, state State) func(*JobStatus) {
	return func(status *JobStatus) { status.Status, status.State = word, state }
}

func withMessage(message string) func(*JobStatus) {
	return func(status *JobStatus) { status.Message = message }
}

// change replaces part of a body, and fails the test if it is not there.
func change(t *testing.T, body, from, to string) string {
	t.Helper()
	if !strings.Contains(body, from) {
		t.Fatalf("%q is not in the body", from)
	}
	return strings.Replace(body, from, to, 1)
}

// reply sends the same response to every request, at noon.
func reply(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", noon.Format(http.TimeFormat))
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
		}
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// serve starts a server and a client for it.
func serve(t testing.TB, handler http.Handler, changes ...func(*Config)) (*Client, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return clientOf(t, server.URL, changes...), server
}

func clientOf(t testing.TB, endpoint string, changes ...func(*Config)) *Client {
	t.Helper()
	config := Config{
		Endpoint:      endpoint,
		ProjectID:     projectID,
		AllowInsecure: true,
		// Large responses are slow on a busy machine and with the race detector.
		Timeout: time.Minute,
		Now:     func() time.Time { return noon },
	}
	for _, change := range changes {
		change(&config)
	}
	client, err := NewClient(config)
	if err != nil {
		t.Fatalf("making a client: %v", err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// check compares the result of a call with the expected one, or with an *Error without its
// cause. It ignores dates, which come from the machine's clock.
func check[T any](t *testing.T, got *T, err error, want any) {
	t.Helper()
	var result any = got
	if err != nil {
		if got != nil {
			t.Errorf("a result came with the error %v", err)
		}
		result = err
	}
	noRows := cmp.FilterValues(func(a, b []JobRow) bool { return len(a)+len(b) == 0 }, cmp.Ignore())
	if diff := cmp.Diff(want, result, noRows, cmpopts.IgnoreFields(Error{}, "Err"),
		cmpopts.IgnoreFields(JobStatus{}, "Date"), cmpopts.IgnoreFields(JobList{}, "Date")); diff != "" {
		t.Errorf("unexpected result (-want +got):\n%s", diff)
	}
}

// judge reads a body as a response with HTTP 200.
func judge[T any](body string, read reader[T]) (*T, error) {
	result, failure := interpret(answer{status: http.StatusOK, header: http.Header{}, body: []byte(body), now: noon}, &secrets{}, read)
	if failure != nil {
		return result, failure
	}
	return result, nil
}

// questionAbout returns the request for a job's status.
func questionAbout(t testing.TB, client *Client, jobID string) question {
	t.Helper()
	q, err := client.statusQuestion(jobID)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// startTLS starts a server that does not log rejected clients.
func startTLS(server *httptest.Server) {
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
}

func hostOf(server *httptest.Server) string {
	u, err := url.Parse(server.URL)
	if err != nil {
		panic(err)
	}
	return u.Host
}

func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

var background = context.Background()
