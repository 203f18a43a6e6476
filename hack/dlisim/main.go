// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Command dlisim runs a simulated Data Lake Insight, for trying the operator without
// an account and for benchmarks:
//
//	go run ./hack/dlisim -addr 127.0.0.1:8080
//
// It prints its URL, the credentials that it accepts and the IDs of its jobs, and runs
// until interrupted. The timeline of a job starts at the first request for it, unless
// the script sets its start. See -help for all flags.
//
// # Scripts
//
// Without -script it simulates one sample job for each way to end, each within 25
// seconds. A script is a list of jobs in YAML or JSON:
//
//	# jobs.yaml
//	- id: nightly-load
//	  type: INSERT
//	  queue: default
//	  owner: etl
//	  statement: insert into t select * from s
//	  timeline:
//	  - {after: 3s, status: RUNNING}
//	  - {after: 1m, status: FINISHED, rows: 998, inputRows: 1000, badRows: 2, inputBytes: 22000}
//	- id: flaky
//	  timeline:
//	  - {after: 0s, status: RUNNING}
//	  - {after: 10s, response: {status: 503, body: "<html>busy</html>"}}
//	  - {after: 20s, status: FAILED, message: "DLI.0002: FileNotFoundException: obs://b/x"}
//
// A job is LAUNCHING until its first phase. A phase either describes the job or has a
// response to send instead of its status: any of status, header, body, delay, hang,
// reset, cut and slow. The fields are those of the types Job, Phase and Response in
// package internal/dli/dlitest.
//
// # Control
//
// With -control 127.0.0.1:8081, another process can observe and control the simulator
// through a second listener. All bodies are JSON.
//
//	GET /stats      the counters since the start: requests, answers per HTTP
//	                status, connections, requests per access key ...
//	GET /attention  the number of active jobs, how many of them were not
//	                requested since the time since=..., and when the one that
//	                has waited longest was last requested
//	PUT /jobs       a list of jobs, as in a script, to add or replace
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

func main() { testenv.Main(context.Background(), "dlisim", run) }

type options struct {
	address, script, control, caFile string
	tls                              bool
	latency                          time.Duration
	errorRate                        float64
	user                             dlitest.User
}

func parse(args []string) (options, error) {
	o := options{user: dlitest.SampleUser()}
	flags := flag.NewFlagSet("dlisim", flag.ContinueOnError)
	flags.StringVar(&o.address, "addr", "127.0.0.1:0", "host:port of this machine to listen on")
	flags.BoolVar(&o.tls, "tls", false, "serve https with a generated certificate")
	flags.StringVar(&o.caFile, "ca-file", "", "file to write that certificate to")
	flags.StringVar(&o.script, "script", "", "YAML or JSON file with the jobs to simulate; sample jobs if empty")
	flags.StringVar(&o.control, "control", "", "host:port of the control listener; none if empty")
	flags.StringVar(&o.user.ProjectID, "project-id", o.user.ProjectID, "project of the jobs")
	flags.StringVar(&o.user.AccessKeyID, "access-key-id", o.user.AccessKeyID, "access key to accept")
	flags.StringVar(&o.user.SecretAccessKey, "secret-access-key", o.user.SecretAccessKey, "its secret")
	flags.StringVar(&o.user.SecurityToken, "security-token", "", "its security token, for a temporary access key")
	flags.StringVar(&o.user.Token, "token", o.user.Token, "IAM token to accept")
	flags.DurationVar(&o.latency, "latency", 0, "delay of every answer")
	flags.Float64Var(&o.errorRate, "error-rate", 0, "fraction of requests to fail with 502, from 0 to 1")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.errorRate < 0 || o.errorRate > 1:
		return o, fmt.Errorf("-error-rate %v is not between 0 and 1", o.errorRate)
	case o.caFile != "" && !o.tls:
		return o, errors.New("-ca-file needs -tls")
	}
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	jobs := dlitest.SampleJobs()
	if o.script != "" {
		if jobs, err = readScript(o.script); err != nil {
			return err
		}
	}

	server, err := dlitest.NewServer(o.server()...)
	if err != nil {
		return err
	}
	defer server.Close()
	server.SetUsers(o.user)
	for _, job := range jobs {
		server.SetJob(job)
	}
	if o.caFile != "" {
		if err := os.WriteFile(o.caFile, server.CABundle(), 0o644); err != nil {
			return err
		}
	}
	controlURL := ""
	if o.control != "" {
		listener, err := listenLoopback(o.control)
		if err != nil {
			return err
		}
		controlServer := &http.Server{Handler: control(server), ReadHeaderTimeout: 10 * time.Second}
		go func() { _ = controlServer.Serve(listener) }()
		defer func() { _ = controlServer.Close() }()
		controlURL = "http://" + listener.Addr().String()
	}

	if err := describe(out, o, server, controlURL, jobs); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (o options) server() []dlitest.Option {
	options := []dlitest.Option{
		dlitest.WithAddress(o.address),
		dlitest.WithLatency(o.latency),
		dlitest.WithErrorRate(o.errorRate),
		dlitest.WithStartOnRequest(),
	}
	if o.tls {
		options = append(options, dlitest.WithTLS())
	}
	return options
}

func readScript(file string) ([]dlitest.Job, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var jobs []dlitest.Job
	if err := yaml.UnmarshalStrict(text, &jobs); err != nil {
		return nil, fmt.Errorf("reading script %s: %w", file, err)
	}
	if err := requireIDs(jobs); err != nil {
		return nil, fmt.Errorf("reading script %s: %w", file, err)
	}
	return jobs, nil
}

func requireIDs(jobs []dlitest.Job) error {
	for i, job := range jobs {
		if job.ID == "" {
			return fmt.Errorf("job %d has no id", i+1)
		}
	}
	return nil
}

// listenLoopback only listens on loopback addresses, because clients of the control
// listener can read and change the accepted credentials.
func listenLoopback(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return nil, errors.Join(
			fmt.Errorf("control address %q is not a loopback address", address), listener.Close())
	}
	return listener, nil
}

// control serves the requests listed in the package comment.
func control(server *dlitest.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(server.Stats())
	})
	mux.HandleFunc("GET /attention", func(w http.ResponseWriter, r *http.Request) {
		since, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(server.Attention(since))
	})
	mux.HandleFunc("PUT /jobs", func(w http.ResponseWriter, r *http.Request) {
		var jobs []dlitest.Job
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&jobs)
		if err == nil {
			err = requireIDs(jobs)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, job := range jobs {
			server.SetJob(job)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func describe(out io.Writer, o options, server *dlitest.Server, controlURL string, jobs []dlitest.Job) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s:\t%s\n", name, value)
		}
	}
	line("endpoint", server.URL())
	line("control", controlURL)
	line("caFile", o.caFile)
	line("projectID", o.user.ProjectID)
	line("accessKeyID", o.user.AccessKeyID)
	line("secretAccessKey", o.user.SecretAccessKey)
	line("securityToken", o.user.SecurityToken)
	line("token", o.user.Token)

	// More lines would scroll the credentials off the screen.
	const listed = 20
	fmt.Fprintf(t, "\n%d jobs; any other ID is not found\n", len(jobs))
	for _, job := range jobs[:min(listed, len(jobs))] {
		fmt.Fprintf(t, "  %s\t%s\n", job.ID, life(job))
	}

	if o.user.Token != "" && o.user.ProjectID != "" && len(jobs) > 0 {
		trust := ""
		if o.caFile != "" {
			trust = "--cacert " + o.caFile + " "
		} else if o.tls {
			trust = "--insecure "
		}
		fmt.Fprintf(t, "\ncurl -s %s-H 'Content-Type: application/json' -H 'X-Auth-Token: %s' %s/v1.0/%s/jobs/%s/status\n",
			trust, o.user.Token, server.URL(), o.user.ProjectID, jobs[0].ID)
	}
	return t.Flush()
}

// life is a summary of a job's timeline.
func life(job dlitest.Job) string {
	var words strings.Builder
	words.WriteString(cmp.Or(job.Type, "SPARK"))
	for _, phase := range job.Timeline {
		status := phase.Status
		if phase.Response != nil {
			status = "a response of its own"
		}
		fmt.Fprintf(&words, ", %s at %v", status, phase.After)
	}
	return words.String()
}
