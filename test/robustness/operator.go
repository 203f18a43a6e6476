// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/dli-operator/dli-operator/test/robustness/check"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// The operators' intervals: shorter than in production.
const (
	pollMin       = time.Second
	pollMax       = 10 * time.Second
	listTrust     = 30 * time.Second
	refresh       = 10 * time.Second
	stallAfter    = 10 * time.Second
	notFoundAfter = 12 * time.Second
	// lease is how long a lease is valid without renewal.
	lease = 15 * time.Second
)

// operator is restarted whenever it exits, like by the kubelet, and reaches the API server
// through its own proxy.
type operator struct {
	name  string
	dir   string
	flags []string
	proxy *testenv.Proxy
	http  *http.Client
	// metrics and profiler are addresses that do not change in restarts.
	metrics, profiler string

	mu          sync.Mutex
	incarnation int
	running     *testenv.Process
	closed      chan struct{}
	supervised  sync.WaitGroup
	// logRead is how much of the log was checked, and when.
	logRead   int
	logReadAt time.Time
}

// restartAfter is the delay before an exited operator is restarted.
const restartAfter = time.Second

// startOperator starts an operator that was built in dir, with additional flags.
func startOperator(name, dir string, api *rest.Config, flags ...string) (o *operator, err error) {
	o = &operator{name: name, dir: dir, flags: flags, closed: make(chan struct{}), http: &http.Client{Timeout: time.Second}, logReadAt: time.Now()}
	if o.proxy, err = testenv.NewProxy(api); err != nil {
		return nil, err
	}
	if o.metrics, err = testenv.FreeAddress(); err != nil {
		return nil, err
	}
	if o.profiler, err = testenv.FreeAddress(); err != nil {
		return nil, err
	}
	if err := testenv.WriteKubeConfig(o.file("kubeconfig"), o.proxy.Config(), ""); err != nil {
		return nil, err
	}
	if info, err := os.Stat(o.file("log")); err == nil {
		o.logRead = int(info.Size()) // of an earlier operator with this name
	}
	if err := o.start(); err != nil {
		return nil, err
	}
	o.supervised.Go(o.supervise)
	return o, nil
}

// buildOperator builds an operator: DLI distinguishes them by their version. overlay is a
// file for go build -overlay.
func buildOperator(ctx context.Context, name, dir, overlay string) error {
	say("building operator %s", name)
	return testenv.BuildOperator(ctx, filepath.Join(dir, "operator-"+name), "-ldflags=-X main.version="+name, "-overlay="+overlay)
}

func (o *operator) file(kind string) string { return filepath.Join(o.dir, o.name+"."+kind) }

// start starts a process; it appends to the same log file. POD_UID is the same after a
// restart, like that of a pod whose container is restarted.
func (o *operator) start() (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.incarnation++
	o.running, err = testenv.StartProcess(o.file("log"), []string{"KUBECONFIG=" + o.file("kubeconfig"), "POD_UID=" + o.name},
		filepath.Join(o.dir, "operator-"+o.name), append([]string{
			"--allow-insecure-endpoints", "--metrics-bind-address=" + o.metrics, "--metrics-secure=false",
			"--pprof-bind-address=" + o.profiler, "--health-probe-bind-address=0",
			"--poll-interval-min=" + pollMin.String(), "--poll-interval-max=" + pollMax.String(), "--list-trust=" + listTrust.String(),
			"--status-refresh-interval=" + refresh.String(), "--stall-after=" + stallAfter.String(), "--not-found-after=" + notFoundAfter.String(),
		}, o.flags...)...)
	return err
}

// supervise restarts the operator until it is closed.
func (o *operator) supervise() {
	for {
		o.mu.Lock()
		ended := o.running.Ended()
		o.mu.Unlock()
		select {
		case <-o.closed:
			return
		case <-ended:
		}
		select {
		case <-o.closed:
			return
		case <-time.After(restartAfter):
		}
		if err := o.start(); err != nil {
			say("starting operator %s: %v", o.name, err)
			return
		}
	}
}

// process names the current process.
func (o *operator) process() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.name + strconv.Itoa(o.incarnation)
}

// signal sends a signal to the current process, and returns a channel that is closed when
// the process has exited.
func (o *operator) signal(s syscall.Signal) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.running.Signal(s)
	return o.running.Ended()
}

// kill kills the current process without a graceful shutdown.
func (o *operator) kill() { <-o.signal(syscall.SIGKILL) }

func (o *operator) close() {
	close(o.closed)
	o.supervised.Wait()
	o.running.Signal(syscall.SIGCONT)
	o.running.Stop(10 * time.Second)
	_ = o.proxy.Stop()
}

// leads reports whether the operator claims to hold the lease.
func (o *operator) leads(ctx context.Context) bool {
	s, err := o.scrape(ctx)
	return err == nil && s.Sum("leader_election_master_status") > 0
}

// scrape reads the metrics.
func (o *operator) scrape(ctx context.Context) (testenv.Series, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return testenv.Scrape(ctx, "http://"+o.metrics+"/metrics")
}

// holding is the memory and the goroutines of a process after a garbage collection.
type holding struct{ heap, goroutines float64 }

func (h holding) String() string {
	return fmt.Sprintf("%.1f MiB and %v goroutines", h.heap/(1<<20), h.goroutines)
}

func (o *operator) holding(ctx context.Context) (h holding, err error) {
	// The profiler collects garbage when it is asked for the heap.
	response, err := o.http.Get("http://" + o.profiler + "/debug/pprof/heap?gc=1")
	if err != nil {
		return h, err
	}
	response.Body.Close()
	s, err := o.scrape(ctx)
	return holding{s.Sum("go_memstats_heap_alloc_bytes"), s.Sum("go_goroutines")}, err
}

// errorsPerMinute is how many errors an operator may log: each cause once a minute.
const errorsPerMinute = 40

// checkLog checks what was logged since the last call.
func (o *operator) checkLog(history *check.History) {
	text, err := os.ReadFile(o.file("log"))
	now := time.Now()
	history.Expect(err == nil, now, check.Alive, o.name, "the log cannot be read: %v", err)
	fresh := text[min(o.logRead, len(text)):]
	minutes := now.Sub(o.logReadAt).Minutes()
	o.logRead, o.logReadAt = len(text), now
	failures := bytes.Count(fresh, []byte(`"level":"error"`))
	history.Expect(float64(failures) <= errorsPerMinute*(1+minutes), now, check.Logs, o.name, "%d errors were logged in %.1f minutes", failures, minutes)
	for _, word := range []string{"\npanic: ", "\nfatal error: ", "DATA RACE"} {
		at := bytes.Index(fresh, []byte(word))
		history.Expect(at < 0, now, check.Alive, o.process(), "%q", fresh[max(at, 0):min(len(fresh), max(at, 0)+100)])
	}
}
