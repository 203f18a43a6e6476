// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// The simulator checks requests with its own implementation of the contract: if it
// accepts them, their path, query, headers and signature are correct.

// simulate starts a simulator, and returns it with a client that uses the same clock.
func simulate(t testing.TB, options ...dlitest.Option) (*dlitest.Server, *Client) {
	t.Helper()
	clock := dlitest.WithClock(func() time.Time { return noon })
	server, err := dlitest.NewServer(append([]dlitest.Option{clock}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server, clientOf(t, server.URL())
}

// set adds a job that started before noon.
func set(server *dlitest.Server, job dlitest.Job, before time.Duration) {
	job.Start = noon.Add(-before)
	server.SetJob(job)
}

const listPath = "/v1.0/" + projectID + "/jobs"

func TestCalls(t *testing.T) {
	var last atomic.Pointer[http.Request]
	client, _ := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { last.Store(r) }))
	statusPath, batches := listPath+"/"+jobID+"/status", "/v2.0/"+projectID+"/batches"
	list := func(jobType JobType, options ListOptions) func(Credentials) {
		return func(creds Credentials) { _, _ = client.List(background, creds, jobType, options) }
	}
	status := func(jobType JobType, id string) func(Credentials) {
		return func(creds Credentials) { _, _ = client.Status(background, creds, jobType, id) }
	}
	for _, tc := range []struct {
		name        string
		ask         func(Credentials)
		path, query string
	}{
		{"a page of the running jobs", list(JobTypeSQL, ListOptions{Status: "RUNNING", Page: 3, PageSize: 50}), listPath,
			"current-page=3&job-status=RUNNING&job-type=ALL&order=start_time_asc&page-size=50"},
		{"the first page of all jobs", list(JobTypeSQL, ListOptions{}), listPath, "current-page=1&job-type=ALL&order=start_time_asc&page-size=100"},
		{"one job of a list", list(JobTypeSQL, ListOptions{JobID: jobID, PageSize: 1}), listPath,
			"current-page=1&job-id=" + jobID + "&job-type=ALL&order=start_time_asc&page-size=1"},
		{"the progress of a job", func(creds Credentials) { _, _ = client.JobProgress(background, creds, jobID) },
			"/v1/" + projectID + "/jobs/" + jobID + "/progress", ""},
		{"a SQL job", status(JobTypeSQL, jobID), statusPath, ""},
		{"a job without a type", status("", jobID), statusPath, ""},
		{"a batch", status(JobTypeSpark, batchID), batches + "/" + batchID, ""},
		{"a page of the running batches", list(JobTypeSpark, ListOptions{Status: "running", Page: 3, PageSize: 50}), batches,
			"from=100&order=CREATE_TIME_ASC&size=50&state=running"},
		{"one batch of a list", list(JobTypeSpark, ListOptions{JobID: batchID, PageSize: 1}), batches, "from=0&job-id=" + batchID + "&order=CREATE_TIME_ASC&size=1"},
		{"the first page of all batches", list(JobTypeSpark, ListOptions{}), batches, "from=0&order=CREATE_TIME_ASC&size=100"},
	} {
		for name, creds := range map[string]Credentials{"an access key": accessKey, "a temporary access key": temporaryKey, "a token": {Token: "TOKENEXAMPLE"}} {
			t.Run(tc.name+" with "+name, func(t *testing.T) {
				tc.ask(creds)
				request := last.Swap(nil)
				if request.Method != "GET" || request.URL.EscapedPath() != tc.path || request.URL.RawQuery != tc.query || request.ContentLength != 0 {
					t.Errorf("got %s %s with %d bytes", request.Method, request.RequestURI, request.ContentLength)
				}
				for header, want := range map[string]string{
					"X-Auth-Token": creds.Token, "X-Security-Token": creds.SecurityToken, "X-Project-Id": projectID,
					"Content-Type": "application/json", "X-Language": "en-us", "Content-Length": "",
				} {
					if got := request.Header.Get(header); got != want {
						t.Errorf("%s: want %q, got %q", header, want, got)
					}
				}
				_, signature, signed := strings.Cut(request.Header.Get("Authorization"), "Signature=")
				if signed != (creds.Token == "") || signed && signature != signatureOf(t, request.Host, tc.path, tc.query, noon, creds) {
					t.Errorf("got Authorization: %s", request.Header.Get("Authorization"))
				}
			})
		}
	}
}

func TestListSimulatedJobs(t *testing.T) {
	server, client := simulate(t)
	const active = 250
	for i := range active {
		set(server, dlitest.Query(fmt.Sprintf("running-%03d", i)).Running(24*time.Hour).Finishes(1), time.Duration(i)*time.Second)
	}
	set(server, dlitest.Query("launching").Launching(time.Hour), time.Minute)
	set(server, dlitest.Insert("inserted").Running(time.Minute).Inserts(998, 2), time.Hour)
	set(server, dlitest.Query("failed").Running(time.Minute).Fails("DLI.0001: x"), time.Hour)

	for name, creds := range map[string]Credentials{"with an access key": accessKey, "with a token": {Token: "TOKENEXAMPLE"}} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			sizes := []int{}
			for page := 1; page <= 4; page++ {
				list, err := client.ListJobs(background, creds, ListOptions{Status: "RUNNING", Page: page})
				if err != nil {
					t.Fatal(err)
				}
				sizes = append(sizes, len(list.Jobs))
				for _, row := range list.Jobs {
					seen[row.JobID] = true
					if row.State != StateRunning {
						t.Errorf("got %s of %s", row.Status, row.JobID)
					}
				}
				if list.Total != active || !list.Date.Equal(noon) {
					t.Errorf("got %d jobs at %v", list.Total, list.Date)
				}
			}
			if diff := cmp.Diff([]int{100, 100, 50, 0}, sizes); diff != "" || len(seen) != active {
				t.Errorf("%d jobs on all pages (-want +got):\n%s", len(seen), diff)
			}
		})
	}
	t.Run("rows agree with the status", func(t *testing.T) {
		list, err := client.ListJobs(background, accessKey, ListOptions{})
		if err != nil || list.Total != active+3 {
			t.Fatalf("got %v, %v", list, err)
		}
		for _, row := range append(list.Jobs[:5:5], list.Jobs[60:]...) {
			status, err := client.JobStatus(background, accessKey, row.JobID)
			if err != nil {
				t.Fatal(err)
			}
			want := rowOf(status, row.EndTime)
			want.CPUCost, want.OutputBytes = new(int64(0)), new(int64(0))
			if diff := cmp.Diff(want, row); diff != "" {
				t.Errorf("(-status +row):\n%s", diff)
			}
			if ended := row.State == StateFinished || row.State == StateFailed; ended == row.EndTime.IsZero() || ended && !row.EndTime.Equal(row.StartTime.Add(*row.Duration)) {
				t.Errorf("%s, %s: got end time %v", row.JobID, row.Status, row.EndTime)
			}
		}
	})
	if opened := client.OpenedConnections(); opened != 1 {
		t.Errorf("want one connection for all calls, got %d", opened)
	}
	if got := server.Stats().ByCall; got[dlitest.CallList] != 9 || got[dlitest.CallStatus] == 0 {
		t.Errorf("got requests %v", got)
	}
}

// rowOf returns the row of a job with that status.
func rowOf(status *JobStatus, end time.Time) JobRow {
	return JobRow{
		JobID: status.JobID, Status: status.Status, State: status.State,
		StartTime: status.StartTime, Figures: status.Figures, Cost: Cost{EndTime: end},
		JobType: status.JobType, QueueName: status.QueueName, Owner: status.Owner, DatabaseName: status.DatabaseName, TableName: status.TableName,
	}
}
