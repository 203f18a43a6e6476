// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// start runs the command until the test ends and returns what it printed.
func start(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := &testenv.Buffer{}, make(chan error, 1)
	go func() { ended <- run(ctx, args, out) }()
	deadline := time.After(20 * time.Second)
	for !strings.Contains(out.String(), "curl") {
		select {
		case err := <-ended:
			cancel()
			t.Fatalf("it ended: %v", err)
		case <-deadline:
			cancel()
			t.Fatalf("it printed only %q", out)
		case <-time.After(time.Millisecond):
		}
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	return out.String()
}

// field is the value that the command printed under a name.
func field(t *testing.T, out, name string) string {
	t.Helper()
	match := regexp.MustCompile(`(?m)^` + name + `: +(\S+)$`).FindStringSubmatch(out)
	if match == nil {
		t.Fatalf("no %s in %s", name, out)
	}
	return match[1]
}

func call(t *testing.T, method, url, body, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestRun(t *testing.T) {
	script := filepath.Join(t.TempDir(), "jobs.yaml")
	if err := os.WriteFile(script, []byte(`
- id: nightly-load
  type: INSERT
  timeline:
  - {after: 0s, status: RUNNING}
  - {after: 1h, status: FINISHED, rows: 998, badRows: 2}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	out := start(t, "-script", script, "-project-id", "p1", "-token", "T1", "-control", "127.0.0.1:0")
	endpoint, controlURL := field(t, out, "endpoint"), field(t, out, "control")
	status := func(id string) (int, string) {
		return call(t, "GET", endpoint+"/v1.0/p1/jobs/"+id+"/status", "", "T1")
	}

	steps := []struct {
		name, method, path, body string
		controlled               int
		job                      string
		code                     int
		want                     string
	}{
		{"a job of the script is simulated", "GET", "/stats", "", 200, "nightly-load", 200, `"status":"RUNNING"`},
		{"a job can be added", "PUT", "/jobs", `[{"id":"j2","timeline":[{"after":"0s","status":"FAILED"}]}]`,
			204, "j2", 200, `"status":"FAILED"`},
		{"a job without id is rejected", "PUT", "/jobs", `[{}]`, 400, "j2", 200, ""},
		{"a misspelled field is rejected", "PUT", "/jobs", `[{"id":"j2","timelin":[]}]`, 400, "j2", 200, ""},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			if got, body := call(t, step.method, controlURL+step.path, step.body, ""); got != step.controlled {
				t.Errorf("got %d %s from the control listener, want %d", got, body, step.controlled)
			}
			if got, body := status(step.job); got != step.code || !strings.Contains(body, step.want) {
				t.Errorf("got %d %s, want %d %s", got, body, step.code, step.want)
			}
		})
	}
	_, stats := call(t, "GET", controlURL+"/stats", "", "")
	if want := `{"requests":4,"authenticated":{"token":4},"byCall":`; !strings.HasPrefix(stats, want) {
		t.Errorf("got %s, want %s", stats, want)
	}
}

func TestRunOverTLS(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	out := start(t, "-tls", "-ca-file", ca)
	if endpoint := field(t, out, "endpoint"); !strings.HasPrefix(endpoint, "https://127.0.0.1:") {
		t.Errorf("got endpoint %s", endpoint)
	}
	if text, err := os.ReadFile(ca); err != nil || !strings.Contains(string(text), "BEGIN CERTIFICATE") {
		t.Errorf("got %s, %v", text, err)
	}
	if !strings.Contains(out, "5 jobs") {
		t.Errorf("got %s, want the sample jobs", out)
	}
}

func TestRefusals(t *testing.T) {
	misspelled := filepath.Join(t.TempDir(), "jobs.yaml")
	if err := os.WriteFile(misspelled, []byte("- {id: j, timelin: []}"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"an address that other machines can reach", []string{"-addr", "0.0.0.0:0"}, "not a loopback address"},
		{"a control address that other machines can reach", []string{"-control", "0.0.0.0:0"}, "not a loopback address"},
		{"a misspelled script", []string{"-script", misspelled}, "timelin"},
		{"a missing script", []string{"-script", misspelled + "x"}, "no such file"},
		{"an error rate above one", []string{"-error-rate", "2"}, "between 0 and 1"},
		{"a file for a certificate without TLS", []string{"-ca-file", "x"}, "needs -tls"},
		{"an argument", []string{"x"}, "unexpected argument"},
	}
	for _, test := range tests {
		t.Run(test.name+" is rejected", func(t *testing.T) {
			err := run(t.Context(), test.args, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
