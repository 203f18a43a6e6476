// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const podCredentials = `{"credentials":{"accessKeyId":"AKEXAMPLE","secretAccessKey":"SKEXAMPLE","securityToken":"STEXAMPLE","expiration":"2026-01-01T13:00:00Z"}}`

// identity returns a pod identity whose token is in a file, at noon.
func identity(t *testing.T, uri, token string) *PodIdentity {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(podIdentityURI, uri)
	t.Setenv(podIdentityTokenFile, file)
	p, err := PodIdentityFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	p.now = func() time.Time { return noon }
	return p
}

func TestPodIdentityFetch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "{}" || r.Method != "POST" || r.URL.Path != "/v1/credentials" || r.Header.Get("Authorization") != "POD-TOKEN" {
			t.Errorf("got %s %s with %q", r.Method, r.URL, body)
		}
		_, _ = io.WriteString(w, podCredentials)
	}))
	defer server.Close()
	creds, expiry, err := identity(t, server.URL+"/v1/credentials", "POD-TOKEN\n").Fetch(background)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Credentials{AccessKeyID: "AKEXAMPLE", SecretAccessKey: "SKEXAMPLE", SecurityToken: "STEXAMPLE"}, creds); diff != "" {
		t.Error(diff)
	}
	if want := noon.Add(time.Hour); !expiry.Equal(want) {
		t.Errorf("want %v, got %v", want, expiry)
	}
}

func TestPodIdentityFailures(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		want    Kind
	}{
		{"forbidden", reply(403, `{"error_msg":"POD-TOKEN-0123456789 is not allowed"}`), KindPermission},
		{"unauthorized", reply(401, ""), KindAuth},
		{"a failure", reply(500, "stack"), KindRetry},
		{"a redirect", reply(302, "", "Location: /"), KindConfig},
		{"nothing", reply(200, ""), KindInvalid},
		{"no credentials", reply(200, "{}"), KindInvalid},
		{"null credentials", reply(200, `{"credentials":null}`), KindInvalid},
		{"no key", reply(200, strings.Replace(podCredentials, "AKEXAMPLE", "", 1)), KindInvalid},
		{"no secret key", reply(200, strings.Replace(podCredentials, `"SKEXAMPLE"`, "null", 1)), KindInvalid},
		{"no security token", reply(200, strings.Replace(podCredentials, "STEXAMPLE", "", 1)), KindInvalid},
		{"a key that cannot be sent", reply(200, strings.Replace(podCredentials, "AKEXAMPLE", `AK\n`, 1)), KindInvalid},
		{"expired", reply(200, strings.Replace(podCredentials, "T13", "T11", 1)), KindInvalid},
		{"no expiry", reply(200, strings.Replace(podCredentials, "expiration", "x", 1)), KindInvalid},
		{"two values", reply(200, podCredentials+podCredentials), KindInvalid},
		{"an endless response", reply(200, podCredentials+strings.Repeat(" ", maxPodIdentityBytes)), KindInvalid},
		{"a truncated response", reply(200, podCredentials, "Content-Length: 1000"), KindUnreachable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewServer(tc.handler)
			defer server.Close()
			creds, _, err := identity(t, server.URL, "POD-TOKEN-0123456789").Fetch(background)
			if e, ok := AsError(err); !ok || e.Kind != tc.want || strings.Contains(e.Message, "POD-TOKEN") {
				t.Errorf("want an error of Kind %s, got %v", tc.want, err)
			}
			if creds != (Credentials{}) {
				t.Error("credentials came with the error")
			}
		})
	}
}

func TestPodIdentityContext(t *testing.T) {
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(asked)
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(background)
	go func() {
		<-asked
		cancel()
	}()
	if _, _, err := identity(t, server.URL, "POD-TOKEN").Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
}

func TestPodIdentityUnusable(t *testing.T) {
	for _, tc := range []struct{ name, uri, file string }{
		{"no URI", "", "/token"},
		{"no file", "http://169.254.170.23/v1/credentials", ""},
		{"a URI without a host", "http:///v1", "/token"},
		{"a URI of another scheme", "file:///etc/passwd", "/token"},
		{"a URI with a user", "http://user:pass1234@host/", "/token"},
	} {
		t.Setenv(podIdentityURI, tc.uri)
		t.Setenv(podIdentityTokenFile, tc.file)
		_, err := PodIdentityFromEnv()
		if e, ok := AsError(err); !ok || e.Kind != KindConfig || strings.Contains(e.Message, "pass1234") {
			t.Errorf("%s: want an error of KindConfig, got %v", tc.name, err)
		}
	}
	for name, token := range map[string]string{
		"empty": "", "blanks": " \n", "lines": "a\nb", "endless": strings.Repeat("x", maxPodIdentityBytes+1),
	} {
		_, _, err := identity(t, "http://127.0.0.1:1", token).Fetch(background)
		if e, ok := AsError(err); !ok || e.Kind != KindConfig {
			t.Errorf("a token that is %s: want an error of KindConfig, got %v", name, err)
		}
	}
	p, err := NewPodIdentity("http://127.0.0.1:1", filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Fetch(background); err == nil {
		t.Error("a missing file was read")
	}
}
