// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// world has everything that runs: the control plane, the simulator, and the operator.
type world struct {
	options
	cluster
	dir          string
	simulator    *testenv.Process
	endpoint     string
	control      string
	operator     *testenv.Process
	bare         *testenv.Process // the floor, while it is measured
	metrics      string
	profiler     string
	jobs         *population
	doomed       int // jobs of -ends-per-second
	stopWatching context.CancelFunc
}

// cluster is the control plane, with clients and the operator's kubeconfig.
type cluster struct {
	controlPlane *testenv.ControlPlane // nil until it runs
	etcd         int
	apiServer    int
	client       client.Client
	kubeconfig   string // the operator's
	// proxy is between the operator and the API server if writes are to be disturbed;
	// else nil.
	proxy *testenv.Proxy
}

// newWorld builds and starts everything except the operator.
func newWorld(ctx context.Context, o options) (w *world, err error) {
	w = &world{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "dli-bench-"); err != nil {
		return w, err
	}
	say("building the operator and the simulator")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", w.dir, ".", "./hack/dlisim")
	build.Stderr, build.Env = os.Stderr, append(os.Environ(), "CGO_ENABLED=0")
	if err := build.Run(); err != nil {
		return w, fmt.Errorf("building: %w", err)
	}
	say("starting etcd, kube-apiserver and the simulator")
	if err := w.startControlPlane(); err != nil {
		return w, err
	}
	if err := w.startSimulator(ctx); err != nil {
		return w, err
	}
	if err := w.createConnections(ctx); err != nil {
		return w, err
	}
	if err := w.addOthers(ctx, o.others); err != nil {
		return w, err
	}
	w.jobs = &population{policy: o.policy}
	watching, stop := context.WithCancel(ctx)
	w.stopWatching = stop
	return w, w.watch(watching)
}

func (w *world) startControlPlane() (err error) {
	plane := &testenv.ControlPlane{CRDs: "config/crd/bases", Sync: true}
	if err := plane.Start(); err != nil {
		return err
	}
	w.controlPlane = plane
	if w.etcd, err = plane.PID("etcd"); err != nil {
		return err
	}
	if w.apiServer, err = plane.PID("kube-apiserver"); err != nil {
		return err
	}
	config := plane.Config()
	if w.trouble.some() {
		if w.proxy, err = testenv.NewProxy(config); err != nil {
			return err
		}
		config = w.proxy.Config()
	}
	w.kubeconfig = filepath.Join(w.dir, "kubeconfig")
	if err := testenv.WriteKubeConfig(w.kubeconfig, config, ""); err != nil {
		return err
	}
	w.client, err = client.New(plane.Config(), client.Options{Scheme: testenv.Scheme()})
	return err
}

var simulatorLine = regexp.MustCompile(`(?m)^(endpoint|control): +(\S+)$`)

func (w *world) startSimulator(ctx context.Context) (err error) {
	args := []string{
		"-control=127.0.0.1:0",
		"-latency=" + w.latency.String(), "-error-rate=" + strconv.FormatFloat(w.errorRate, 'g', -1, 64),
	}
	if w.tls {
		w.caFile = filepath.Join(w.dir, "ca.pem")
		args = append(args, "-tls", "-ca-file="+w.caFile)
	}
	w.simulator, err = testenv.StartProcess(filepath.Join(w.dir, "dlisim.log"), nil, filepath.Join(w.dir, "dlisim"), args...)
	if err != nil {
		return err
	}
	return await(ctx, 20*time.Second, "the simulator", func() (bool, error) {
		text, err := os.ReadFile(w.simulator.Log)
		found := simulatorLine.FindAllSubmatch(text, -1)
		if err != nil || len(found) < 2 {
			return false, errors.Join(err, w.simulator.Alive())
		}
		w.endpoint, w.control = string(found[0][2]), string(found[1][2])
		return true, nil
	})
}

// startOperator starts the operator like config/default, except for what a simulator on
// loopback needs.
func (w *world) startOperator(ctx context.Context) error {
	metrics, err := testenv.FreeAddress()
	if err != nil {
		return err
	}
	args := append([]string{
		// Losing the lease would end the operator, and there is no standby here.
		"--leader-elect=" + strconv.FormatBool(w.writesStopped == 0), "--leader-election-namespace=default",
		"--metrics-bind-address=" + metrics, "--metrics-secure=false", "--health-probe-bind-address=0",
		"--allow-insecure-endpoints",
		"--poll-interval-min=" + w.policy.min.String(), "--poll-interval-max=" + w.policy.max.String(),
		"--poll-interval-factor=" + strconv.FormatFloat(w.policy.factor, 'g', -1, 64),
		"--list-interval=" + w.policy.lists.String(),
	}, w.pass...)
	if w.pprof != "" || w.completed > 0 {
		address, err := testenv.FreeAddress()
		if err != nil {
			return err
		}
		args = append(args, "--pprof-bind-address="+address)
		w.profiler = "http://" + address
	}
	w.operator, err = testenv.StartProcess(filepath.Join(w.dir, "operator.log"), []string{"KUBECONFIG=" + w.kubeconfig},
		filepath.Join(w.dir, "dli-operator"), args...)
	if err != nil {
		return err
	}
	w.metrics = "http://" + metrics + "/metrics"
	return await(ctx, time.Minute, "the operator", func() (bool, error) {
		_, err := testenv.Scrape(ctx, w.metrics)
		return err == nil, w.operator.Alive()
	})
}

// patience is how long a process may take to stop: the operator gives its workers 30 s.
const patience = 40 * time.Second

// close stops everything.
func (w *world) close() error {
	if w.stopWatching != nil {
		w.stopWatching()
	}
	for _, p := range []*testenv.Process{w.bare, w.operator, w.simulator} {
		if p != nil {
			p.Stop(patience)
		}
	}
	var err error
	if w.proxy != nil {
		err = w.proxy.Stop()
	}
	if w.controlPlane != nil {
		err = errors.Join(err, w.controlPlane.Close())
	}
	if w.keepLogs {
		say("logs are in %s", w.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

// tell adds jobs to the simulator or changes their timelines.
func (w *world) tell(ctx context.Context, jobs []dlitest.Job) error {
	text, err := json.Marshal(jobs)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, w.control+"/jobs", bytes.NewReader(text))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the simulator rejects new jobs with %s", response.Status)
	}
	return nil
}

// ask reads from the simulator's control listener.
func (w *world) ask(ctx context.Context, path string, into any) error {
	response, err := get(ctx, http.DefaultClient, w.control+path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}

func (w *world) stats(ctx context.Context) (s dlitest.Stats, err error) {
	return s, w.ask(ctx, "/stats", &s)
}

// attention returns the simulator's record of how long active jobs were not polled.
func (w *world) attention(ctx context.Context, since time.Time) (a dlitest.Attention, err error) {
	return a, w.ask(ctx, "/attention?since="+url.QueryEscape(since.Format(time.RFC3339Nano)), &a)
}

// await calls done until it returns true.
func await(ctx context.Context, limit time.Duration, what string, done func() (bool, error)) error {
	timeout := time.After(limit)
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return fmt.Errorf("%s is not ready after %v", what, limit)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
