// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/dli/v1/region"

	"github.com/dli-operator/dli-operator/internal/dli"
)

func TestRegionsAreUpToDate(t *testing.T) {
	have, err := os.ReadFile("../../internal/dli/regions.go")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	if err := write(&want); err != nil {
		t.Fatal(err)
	}
	if string(have) != want.String() {
		t.Errorf("internal/dli/regions.go differs from the SDK's table; run go generate ./internal/dli")
	}
	ids, _ := regionIDs()
	if len(ids) < 28 {
		t.Errorf("the SDK has only the regions %v", ids)
	}
	for _, id := range ids {
		known, err := region.SafeValueOf(id)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := dli.ResolveEndpoint(id, "", nil, false); got != known.Endpoints[0] || err != nil {
			t.Errorf("%s: want %v, got %s, %v", id, known.Endpoints, got, err)
		}
	}
}

// signed returns the Authorization header that the SDK's signer gives a request which
// the operator's client has sent.
func signed(t *testing.T, r *http.Request, creds dli.Credentials) string {
	t.Helper()
	builder := request.NewHttpRequestBuilder().WithEndpoint("http://"+r.Host).WithPath(r.URL.Path).WithMethod(r.Method).
		AddHeaderParam("host", r.Host)
	for _, name := range []string{"X-Project-Id", "X-Sdk-Date", "X-Security-Token"} {
		if value := r.Header.Get(name); value != "" {
			builder.AddHeaderParam(name, value)
		}
	}
	for name, values := range r.URL.Query() {
		builder.AddQueryParam(name, reflect.ValueOf(values))
	}
	headers, err := signer.Sign(builder.Build(), creds.AccessKeyID, creds.SecretAccessKey)
	if err != nil {
		t.Fatal(err)
	}
	return headers["Authorization"]
}

// TestSignatures holds the operator's signature to the SDK's, for each call.
func TestSignatures(t *testing.T) {
	requests := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { requests <- r }))
	defer server.Close()
	for name, creds := range map[string]dli.Credentials{
		"permanent": {AccessKeyID: "AKEXAMPLE", SecretAccessKey: "SKEXAMPLE"},
		"temporary": {AccessKeyID: "AK", SecretAccessKey: strings.Repeat("k", 100), SecurityToken: strings.Repeat("t", 5000)},
	} {
		for _, path := range []string{"", "/gateway/a~b._-c"} {
			client, err := dli.NewClient(dli.Config{Endpoint: server.URL + path, ProjectID: "48cc2c48765f481480c7db940d6409d1", AllowInsecure: true})
			if err != nil {
				t.Fatal(err)
			}
			for call, send := range map[string]func() error{
				"status": func() error {
					_, err := client.JobStatus(t.Context(), creds, "208b08d4-0dc2-4dd7-8879-ddd4c020d7aa")
					return err
				},
				"list": func() error {
					_, err := client.ListJobs(t.Context(), creds, dli.ListOptions{Status: "RUNNING", Page: 2})
					return err
				},
				"progress": func() error {
					_, err := client.JobProgress(t.Context(), creds, "a_b-c")
					return err
				},
			} {
				t.Run(name+" "+call+path, func(t *testing.T) {
					_ = send() // The response is empty.
					r := <-requests
					if got, want := r.Header.Get("Authorization"), signed(t, r, creds); got != want {
						t.Errorf("signed as %s, by the SDK as %s", got, want)
					}
				})
			}
			client.CloseIdleConnections()
		}
	}
}
