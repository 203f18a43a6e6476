/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dli-operator/dli-operator/test/robustness/check"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// replica is one of the operators: it is restarted whenever it exits, like by the kubelet,
// and reaches the API server through its own proxy.
type replica struct {
	name  string
	world *world
	proxy *testenv.Proxy
	http  *http.Client
	// metrics and profiler are addresses that do not change in restarts.
	metrics, profiler string

	mu          sync.Mutex
	incarnation int
	running     *testenv.Process
	closed      chan struct{}
	supervised  sync.WaitGroup
}

// restartAfter is the delay before an exited operator is restarted.
const restartAfter = time.Second

func newReplica(w *world, name string) (*replica, error) {
	r := &replica{name: name, world: w, closed: make(chan struct{}), http: &http.Client{Timeout: time.Second}}
	var err error
	if r.proxy, err = testenv.NewProxy(w.plane.Config()); err != nil {
		return nil, err
	}
	if r.metrics, err = testenv.FreeAddress(); err != nil {
		return nil, err
	}
	if r.profiler, err = testenv.FreeAddress(); err != nil {
		return nil, err
	}
	if err := testenv.WriteKubeConfig(r.file("kubeconfig"), r.proxy.Config(), ""); err != nil {
		return nil, err
	}
	if err := r.start(); err != nil {
		return nil, err
	}
	r.supervised.Add(1)
	go r.supervise()
	return r, nil
}

func (r *replica) file(kind string) string { return filepath.Join(r.world.dir, r.name+"."+kind) }

// start starts a process; it appends to the same log file.
func (r *replica) start() (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.incarnation++
	r.running, err = testenv.StartProcess(r.file("log"), []string{"KUBECONFIG=" + r.file("kubeconfig")},
		filepath.Join(r.world.dir, "operator-"+r.name),
		"--leader-elect", "--leader-election-namespace=default", "--allow-insecure-endpoints",
		"--metrics-bind-address="+r.metrics, "--metrics-secure=false", "--pprof-bind-address="+r.profiler, "--health-probe-bind-address=0",
		"--poll-interval-min="+pollMin.String(), "--poll-interval-max="+pollMax.String(),
		"--status-refresh-interval="+refresh.String(), "--stall-after="+stallAfter.String(), "--not-found-after="+notFoundAfter.String())
	return err
}

// supervise restarts the operator until the replica is closed.
func (r *replica) supervise() {
	defer r.supervised.Done()
	for {
		r.mu.Lock()
		ended := r.running.Ended()
		r.mu.Unlock()
		select {
		case <-r.closed:
			return
		case <-ended:
		}
		select {
		case <-r.closed:
			return
		case <-time.After(restartAfter):
		}
		if err := r.start(); err != nil {
			say("starting operator %s: %v", r.name, err)
			return
		}
	}
}

// process names the current process.
func (r *replica) process() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.name + strconv.Itoa(r.incarnation)
}

// signal sends a signal to the current process, and returns a channel that is closed when
// the process has exited.
func (r *replica) signal(s syscall.Signal) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running.Signal(s)
	return r.running.Ended()
}

// kill kills the current process without a graceful shutdown.
func (r *replica) kill() { <-r.signal(syscall.SIGKILL) }

func (r *replica) close() {
	close(r.closed)
	r.supervised.Wait()
	r.running.Signal(syscall.SIGCONT)
	r.running.Stop(10 * time.Second)
	_ = r.proxy.Stop()
}

// leads reports whether the replica claims to hold the lease.
func (r *replica) leads(ctx context.Context) bool {
	s, err := r.scrape(ctx)
	return err == nil && s["leader_election_master_status"] > 0
}

// scrape reads the metrics, summed over their labels.
func (r *replica) scrape(ctx context.Context) (map[string]float64, error) {
	text, err := r.get(ctx, "http://"+r.metrics+"/metrics")
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ')
		if space < 0 || line[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(line[:space], "{")
		if value, err := strconv.ParseFloat(line[space+1:], 64); err == nil {
			all[name] += value
		}
	}
	return all, nil
}

func (r *replica) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := r.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return io.ReadAll(response.Body)
}

// holding is the memory and the goroutines of a process after a garbage collection.
type holding struct{ heap, goroutines float64 }

func (r *replica) holding(ctx context.Context) (h holding, err error) {
	if _, err := r.get(ctx, "http://"+r.profiler+"/debug/pprof/heap?gc=1"); err != nil {
		return h, err
	}
	s, err := r.scrape(ctx)
	return holding{s["go_memstats_heap_alloc_bytes"], s["go_goroutines"]}, err
}

// leader returns the leader; nil while there is none.
func (w *world) leader(ctx context.Context) *replica {
	for _, r := range w.replicas {
		if r.leads(ctx) {
			return r
		}
	}
	return nil
}

// awaitLeader waits for a leader.
func (w *world) awaitLeader(ctx context.Context) (leader *replica, err error) {
	if !until(ctx, time.Minute, func() bool { leader = w.leader(ctx); return leader != nil }) {
		return nil, errors.Join(errors.New("no operator leads after a minute"), ctx.Err())
	}
	return leader, nil
}

// panics searches the logs for panics.
func (w *world) panics() {
	for _, r := range w.replicas {
		text, err := os.ReadFile(r.file("log"))
		w.judge(func(h *check.History) {
			h.Add(check.Alive, 1, nil)
			for _, word := range []string{"panic:", "Observed a panic", "DATA RACE", "fatal error:"} {
				if at := bytes.Index(text, []byte(word)); err != nil || at >= 0 {
					h.Fail(time.Now(), check.Alive, "operator "+r.name, "%v %s", err, text[max(at, 0):min(len(text), max(at, 0)+500)])
				}
			}
		})
	}
}
