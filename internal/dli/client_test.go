// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorder keeps the last request and responds that its job is running.
type recorder struct{ last atomic.Pointer[http.Request] }

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.last.Store(request)
	segments := strings.Split(request.URL.Path, "/")
	fmt.Fprintf(w, `{"job_id":%q,"status":"RUNNING"}`, segments[len(segments)-2])
}

func TestRequests(t *testing.T) {
	var seen recorder
	client, server := serve(t, &seen, func(c *Config) { c.UserAgent, c.Language = "dli-operator/1.2", "zh-cn" })

	for _, tc := range []struct {
		name  string
		creds Credentials
		want  http.Header
	}{
		{"an access key", accessKey, http.Header{
			"X-Project-Id":  {projectID},
			"X-Sdk-Date":    {"20260101T120000Z"},
			"Authorization": {"SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=host;x-project-id;x-sdk-date, Signature=*"},
		}},
		{"a temporary access key", temporaryKey, http.Header{
			"X-Project-Id":     {projectID},
			"X-Sdk-Date":       {"20260101T120000Z"},
			"X-Security-Token": {"STEXAMPLE"},
			"Authorization":    {"SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=host;x-project-id;x-sdk-date;x-security-token, Signature=*"},
		}},
		{"a token", Credentials{Token: "TOKENEXAMPLE"}, http.Header{
			"X-Project-Id": {projectID},
			"X-Auth-Token": {"TOKENEXAMPLE"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := client.JobStatus(background, tc.creds, jobID); err != nil {
				t.Fatal(err)
			}
			request := seen.last.Load()
			if want := "/v1.0/" + projectID + "/jobs/" + jobID + "/status"; request.Method != "GET" || request.RequestURI != want || request.Host != hostOf(server) {
				t.Errorf("got %s %s to %s", request.Method, request.RequestURI, request.Host)
			}
			if request.ContentLength != 0 || request.Header.Get("Content-Length") != "" {
				t.Error("the request has a body")
			}
			tc.want.Set("Content-Type", "application/json")
			tc.want.Set("X-Language", "zh-cn")
			tc.want.Set("User-Agent", "dli-operator/1.2")
			tc.want.Set("Accept-Encoding", "gzip")
			got := request.Header.Clone()
			if before, _, ok := strings.Cut(got.Get("Authorization"), "Signature="); ok {
				got.Set("Authorization", before+"Signature=*")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnsendable(t *testing.T) {
	var seen recorder
	client, _ := serve(t, &seen)
	refuse := func(creds Credentials, jobID string, want Kind) {
		t.Helper()
		_, err := client.JobStatus(background, creds, jobID)
		if e, ok := AsError(err); !ok || e.Kind != want || e.HTTPStatus != 0 {
			t.Errorf("%q: want an error of Kind %s, got %v", jobID, want, err)
		}
	}
	for _, id := range []string{"", "../../queues", "a/b", "a b", "{project_id}", "a%2Fb", "-a", "_a", "作业", "a\n", strings.Repeat("a", 65)} {
		refuse(accessKey, id, KindRejected)
	}
	refuse(Credentials{AccessKeyID: "AKEXAMPLE"}, jobID, KindAuth)
	refuse(Credentials{Token: "TOKEN\r\nX-Evil: 1"}, jobID, KindAuth)
	if seen.last.Load() != nil {
		t.Error("a request was sent")
	}
	for _, id := range []string{"a", "A_-9", strings.Repeat("a", 64), strings.ToUpper(jobID)} {
		if _, err := client.JobStatus(background, accessKey, id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestInvalidConfig(t *testing.T) {
	good := Config{Endpoint: "https://dli.corp.example", ProjectID: projectID}
	for name, spoil := range map[string]func(*Config){
		"no endpoint":                      func(c *Config) { c.Endpoint = "" },
		"http":                             func(c *Config) { c.Endpoint = "http://dli.corp.example" },
		"a loopback address":               func(c *Config) { c.Endpoint = "https://127.0.0.1" },
		"no project":                       func(c *Config) { c.ProjectID = "" },
		"the name of a project":            func(c *Config) { c.ProjectID = "cn-north-4" },
		"a CA bundle without certificates": func(c *Config) { c.CABundle = []byte("no PEM") },
		"a project with a path":            func(c *Config) { c.ProjectID = "../x" },
	} {
		config := good
		spoil(&config)
		_, err := NewClient(config)
		if e, ok := AsError(err); !ok || e.Kind != KindConfig {
			t.Errorf("%s: want an error of KindConfig, got %v", name, err)
		}
	}
	if _, err := NewClient(good); err != nil {
		t.Error(err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		elsewhere := false
		client, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			elsewhere = elsewhere || r.URL.Path == "/login"
			http.Redirect(w, r, "/login", status)
		}))
		got, err := client.JobStatus(background, accessKey, jobID)
		check(t, got, err, &Error{Kind: KindConfig, HTTPStatus: status,
			Message: fmt.Sprintf("HTTP %d: the endpoint redirects, and redirects are not followed; use DLI's own endpoint", status)})
		if elsewhere {
			t.Errorf("HTTP %d was followed", status)
		}
	}
}

func TestConnectionsAreReused(t *testing.T) {
	bodies := []http.HandlerFunc{
		reply(200, finished),
		reply(200, ""),
		reply(204, ""),
		reply(404, `{"error_code":"DLI.0023","error_msg":"..."}`),
		reply(503, strings.Repeat("<html>", 100000), "Content-Type: text/html"),
		reply(302, "elsewhere", "Location: /"),
	}
	var turn atomic.Int64
	client, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bodies[int(turn.Add(1))%len(bodies)](w, r)
	}))
	for range 10 * len(bodies) {
		_, _ = client.JobStatus(background, accessKey, jobID)
	}
	if opened := client.OpenedConnections(); opened != 1 {
		t.Errorf("want one connection, got %d", opened)
	}
	client.CloseIdleConnections()
	_, _ = client.JobStatus(background, accessKey, jobID)
	if opened := client.OpenedConnections(); opened != 2 {
		t.Errorf("want a second connection after the first was closed, got %d", opened)
	}
}

func TestConcurrentRequests(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("HTTP/%d", version), func(t *testing.T) {
			var seen recorder
			server := httptest.NewUnstartedServer(&seen)
			server.EnableHTTP2 = version == 2
			server.StartTLS()
			defer server.Close()
			client := clientOf(t, server.URL, func(c *Config) { c.CABundle = pemOf(server.Certificate()) })

			var all sync.WaitGroup
			for worker := range 8 {
				all.Go(func() {
					for i := range 50 {
						id := fmt.Sprintf("job-%d-%d", worker, i)
						status, err := client.JobStatus(background, accessKey, id)
						if err != nil || status.JobID != id {
							t.Errorf("for %s, got %v, %v", id, status, err)
							return
						}
					}
				})
			}
			all.Wait()
			if got := seen.last.Load().ProtoMajor; got != version {
				t.Errorf("want HTTP/%d, got HTTP/%d", version, got)
			}
			// A transport may open an additional connection for a request that waits
			// while another one ends, but not for every request.
			if opened := client.OpenedConnections(); opened > 40 {
				t.Errorf("want about 8 connections for 8 workers, got %d", opened)
			}
		})
	}
}

func TestCompressedAnswers(t *testing.T) {
	compressed := func(write func(*gzip.Writer)) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			zip := gzip.NewWriter(w)
			write(zip)
			_ = zip.Close()
		}
	}
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		want    any
	}{
		{"are read", compressed(func(zip *gzip.Writer) { fmt.Fprint(zip, finished) }), finishedStatus()},
		{"are limited by their decompressed size", compressed(func(zip *gzip.Writer) {
			for range 65 {
				fmt.Fprint(zip, strings.Repeat(" ", 1<<20))
			}
		}), &Error{Kind: KindInvalid, HTTPStatus: 200, Message: "the response is larger than 4 MiB"}},
		{"that are not compressed are rejected", reply(200, finished, "Content-Encoding: gzip"),
			&Error{Kind: KindInvalid, HTTPStatus: 200, Message: "the response cannot be decompressed"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, _ := serve(t, tc.handler)
			status, err := client.JobStatus(background, accessKey, jobID)
			check(t, status, err, tc.want)
		})
	}
}

func TestEndpointWithAPath(t *testing.T) {
	var seen recorder
	server := httptest.NewServer(&seen)
	defer server.Close()
	client := clientOf(t, server.URL+"/gateway/v1.0~x/")
	if _, err := client.JobStatus(background, accessKey, jobID); err != nil {
		t.Fatal(err)
	}
	request := seen.last.Load()
	path := "/gateway/v1.0~x/v1.0/" + projectID + "/jobs/" + jobID + "/status"
	if request.RequestURI != path {
		t.Errorf("want %s, got %s", path, request.RequestURI)
	}
	_, signature, _ := strings.Cut(request.Header.Get("Authorization"), "Signature=")
	if want := signatureOf(t, request.Host, path, "", noon, accessKey); signature != want {
		t.Errorf("the path in the request is not the signed path: want %s, got %s", want, signature)
	}
}

func TestBadTimes(t *testing.T) {
	client := clientOf(t, "http://127.0.0.1", func(c *Config) { c.Timeout = -time.Second })
	if client.timeout != defaultTimeout {
		t.Errorf("got a timeout of %v", client.timeout)
	}
}
