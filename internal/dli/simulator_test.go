// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
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

func TestListAndProgressRequests(t *testing.T) {
	var last atomic.Pointer[http.Request]
	client, _ := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { last.Store(r) }))
	temporary := Credentials{AccessKeyID: "AKEXAMPLE", SecretAccessKey: "SKEXAMPLE", SecurityToken: "STEXAMPLE"}
	list := func(creds Credentials, options ListOptions) {
		_, _ = client.ListJobs(background, creds, options)
	}
	for _, tc := range []struct {
		name        string
		ask         func(Credentials)
		path, query string
	}{
		{"a page of the running jobs", func(creds Credentials) { list(creds, ListOptions{Status: "RUNNING", Page: 3, PageSize: 50}) },
			listPath, "current-page=3&job-status=RUNNING&job-type=ALL&order=start_time_asc&page-size=50"},
		{"the first page of all jobs", func(creds Credentials) { list(creds, ListOptions{}) },
			listPath, "current-page=1&job-type=ALL&order=start_time_asc&page-size=100"},
		{"the progress of a job", func(creds Credentials) { _, _ = client.JobProgress(background, creds, jobID) },
			"/v1/" + projectID + "/jobs/" + jobID + "/progress", ""},
	} {
		for name, creds := range map[string]Credentials{"an access key": accessKey, "a temporary access key": temporary, "a token": {Token: "TOKENEXAMPLE"}} {
			t.Run(tc.name+" with "+name, func(t *testing.T) {
				tc.ask(creds)
				request := last.Load()
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
				if signed != (creds.Token == "") || signed && signature != signatureOf(request.Host, tc.path, tc.query, "20260101T120000Z", creds) {
					t.Errorf("got Authorization: %s", request.Header.Get("Authorization"))
				}
			})
		}
	}
}

func TestQuerySignature(t *testing.T) {
	server, client := simulate(t)
	for name, query := range map[string]url.Values{
		"none":                                nil,
		"the query of a list":                 {"current-page": {"1"}, "page-size": {"100"}, "job-status": {"RUNNING"}},
		"blanks and punctuation":              {"owner": {"a b+c/d?e&f=g~h*i'j(k)"}, "z%": {"100%"}},
		"letters of any script":               {"queue_name": {"作业 é"}},
		"a repeated name, and an empty value": {"b": {"2", "1", "10"}, "a": {""}, "B": {"3"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, err := client.newRequest(background, accessKey, question{path: listPath, query: query})
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("%s: got HTTP %d", r.URL.RawQuery, response.StatusCode)
			}
		})
	}
	t.Run("but not for another query", func(t *testing.T) {
		between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "RUNNING", "FINISHED", 1)
			server.ServeHTTP(w, r)
		}))
		defer between.Close()
		_, err := clientOf(t, between.URL).ListJobs(background, accessKey, ListOptions{Status: "RUNNING"})
		if e, ok := AsError(err); !ok || e.Kind != KindAuth || e.Code != "APIGW.0301" {
			t.Errorf("got %v", err)
		}
	})
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
			if diff := cmp.Diff(rowOf(status, row.EndTime), row); diff != "" {
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
		StartTime: status.StartTime, EndTime: end, Figures: status.Figures,
		JobType: status.JobType, QueueName: status.QueueName, Owner: status.Owner, DatabaseName: status.DatabaseName, TableName: status.TableName,
	}
}

func TestSimulatedListFailures(t *testing.T) {
	denied := dlitest.SampleUser()
	denied.Denied = []string{"dli:jobs:list"}
	for _, tc := range []struct {
		name  string
		spoil func(*dlitest.Server)
		want  Kind
	}{
		{"a missing permission", func(s *dlitest.Server) { s.SetUsers(denied) }, KindPermission},
		{"a revoked key", func(s *dlitest.Server) { s.SetUsers() }, KindAuth},
		{"an edition without this API", func(s *dlitest.Server) {
			s.SetCallFault(dlitest.CallList, dlitest.GatewayError(404, "APIGW.0101", "not published", "r"))
		}, KindConfig},
		{"an edition that rejects large pages", func(s *dlitest.Server) {
			s.SetListQuirks(dlitest.ListQuirks{MaxPageSize: 50, RefuseLargePages: true})
		}, KindRejected},
		{"a service that is down", func(s *dlitest.Server) { s.SetFault(&dlitest.Response{Status: 503}) }, KindRetry},
		{"a truncated response", func(s *dlitest.Server) {
			s.SetCallFault(dlitest.CallList, &dlitest.Response{Body: `{"job_count":`, Cut: true})
		}, KindUnreachable},
		{"a reset", func(s *dlitest.Server) { s.SetCallFault(dlitest.CallList, &dlitest.Response{Reset: true}) }, KindUnreachable},
		{"a redirect", func(s *dlitest.Server) {
			s.SetCallFault(dlitest.CallList, &dlitest.Response{Status: 302, Header: http.Header{"Location": {"/"}}})
		}, KindConfig},
		{"an HTML page", func(s *dlitest.Server) {
			s.SetCallFault(dlitest.CallList, &dlitest.Response{Body: "<html>login</html>"})
		}, KindInvalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, client := simulate(t)
			set(server, dlitest.Query("j").Running(0), time.Minute)
			tc.spoil(server)
			list, err := client.ListJobs(background, accessKey, ListOptions{Status: "RUNNING"})
			if e, ok := AsError(err); !ok || e.Kind != tc.want || list != nil {
				t.Errorf("want an error of Kind %s, got %v, %v", tc.want, list, err)
			}
		})
	}
	t.Run("too many requests", func(t *testing.T) {
		_, client := simulate(t, dlitest.WithRateLimit(1, 7*time.Second))
		_, _ = client.ListJobs(background, accessKey, ListOptions{})
		_, err := client.ListJobs(background, accessKey, ListOptions{})
		if e, ok := AsError(err); !ok || e.Kind != KindThrottle || e.RetryAfter != 7*time.Second {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no response in time", func(t *testing.T) {
		server, _ := simulate(t)
		server.SetCallFault(dlitest.CallList, &dlitest.Response{Hang: true})
		client := clientOf(t, server.URL(), func(c *Config) { c.Timeout = 50 * time.Millisecond })
		_, err := client.ListJobs(background, accessKey, ListOptions{})
		if e, ok := AsError(err); !ok || e.Kind != KindUnreachable {
			t.Errorf("got %v", err)
		}
	})
}

func TestSimulatedProgress(t *testing.T) {
	server, client := simulate(t)
	set(server, dlitest.Query("half").Running(time.Hour).Finishes(1), 30*time.Minute)
	set(server, dlitest.Query("failed").Fails("x"), time.Minute)
	got, err := client.JobProgress(background, accessKey, "half")
	checkResult(t, got, err, &Progress{JobID: "half", Status: "RUNNING", State: StateRunning, Fraction: new(0.5)})
	got, err = client.JobProgress(background, accessKey, "failed")
	checkResult(t, got, err, &Progress{JobID: "failed", Status: "FAILED", State: StateFailed})
	_, err = client.JobProgress(background, Credentials{Token: "TOKENEXAMPLE"}, "unknown")
	if e, ok := AsError(err); !ok || e.Kind != KindNotFound || e.Code != "DLI.0023" {
		t.Errorf("got %v", err)
	}
}

// TestCapturedRequests sends what one endpoint has received, in every call, to another one.
// That one only accepts it for the first one's host, which it does not have; so the host is
// the only difference.
func TestCapturedRequests(t *testing.T) {
	var captured atomic.Pointer[http.Request]
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { captured.Store(r) }))
	defer thief.Close()
	server, _ := simulate(t)
	set(server, dlitest.Query(jobID).Running(time.Hour), 0)
	client := clientOf(t, thief.URL)
	for name, call := range map[string]func(){
		"status":   func() { _, _ = client.JobStatus(background, accessKey, jobID) },
		"list":     func() { _, _ = client.ListJobs(background, accessKey, ListOptions{}) },
		"progress": func() { _, _ = client.JobProgress(background, accessKey, jobID) },
	} {
		t.Run(name, func(t *testing.T) {
			call()
			r := captured.Load()
			for host, want := range map[string]int{"": http.StatusUnauthorized, r.Host: http.StatusOK} {
				again, err := http.NewRequestWithContext(background, r.Method, server.URL()+r.URL.RequestURI(), nil)
				if err != nil {
					t.Fatal(err)
				}
				again.Host, again.Header = host, r.Header.Clone()
				response, err := http.DefaultTransport.RoundTrip(again)
				if err != nil {
					t.Fatal(err)
				}
				_ = response.Body.Close()
				if response.StatusCode != want {
					t.Errorf("for the host %q: want HTTP %d, got %d", host, want, response.StatusCode)
				}
			}
		})
	}
}

func TestListsWithAPath(t *testing.T) {
	var last atomic.Pointer[http.Request]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last.Store(r)
		fmt.Fprint(w, page(0))
	}))
	defer server.Close()
	client := clientOf(t, server.URL+"/gateway/")
	if _, err := client.ListJobs(background, accessKey, ListOptions{Page: 2}); err != nil {
		t.Fatal(err)
	}
	request := last.Load()
	_, signature, _ := strings.Cut(request.Header.Get("Authorization"), "Signature=")
	if request.URL.Path != "/gateway"+listPath || signature != signatureOf(request.Host, request.URL.Path, request.URL.RawQuery, "20260101T120000Z", accessKey) {
		t.Errorf("the request is not the signed one: %s", request.RequestURI)
	}
}

// BenchmarkListJobs requests a full page of the simulator's 10,000 running jobs,
// including the simulator's part of the work.
func BenchmarkListJobs(b *testing.B) {
	server, client := simulate(b)
	for i := range 10_000 {
		set(server, dlitest.Query(fmt.Sprintf("208b08d4-0dc2-4dd7-8879-%012d", i)).Running(24*time.Hour), time.Duration(i)*time.Millisecond)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		list, err := client.ListJobs(background, accessKey, ListOptions{Status: "RUNNING", Page: i%MaxPage + 1})
		if err != nil || len(list.Jobs) != 100 {
			b.Fatal(err)
		}
	}
}
