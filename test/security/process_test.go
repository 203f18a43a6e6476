// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// operator is a running operator.
type operator struct {
	*testenv.Process
	metrics string
}

// limit is the memory of the pod.
func limit() int64 { return pod.Containers[0].Resources.Limits.Memory().Value() }

// start starts an operator with the arguments and permissions of the pod, as much memory,
// and additional arguments.
func (c *cluster) start(memory int64, args ...string) *operator {
	c.Helper()
	o := startOperator(c.T, c.api, c.TempDir(), memory, args...)
	c.Cleanup(func() {
		o.Kill()
		if c.Failed() {
			c.Logf("the operator ended with:\n%s", o.Said())
		}
	})
	return o
}

// sideBySide starts the operator that attacks share, unless it runs.
func (c *cluster) sideBySide() *operator {
	c.Helper()
	c.Parallel()
	startOnce.Do(func() {
		dir, err := os.MkdirTemp("", "security-")
		if err != nil {
			c.Fatal(err)
		}
		shared = startOperator(c.T, c.api, dir, limit())
	})
	if shared == nil {
		c.Fatal("the operator was not started")
	}
	return shared
}

func startOperator(t *testing.T, api *rest.Config, dir string, memory int64, args ...string) *operator {
	t.Helper()
	metrics, err := testenv.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(testenv.AccountKubeConfig(t, api, operatorNamespace, pod.ServiceAccountName))
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err == nil {
		err = os.WriteFile(kubeconfig, config, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	// The operator takes its limit from its container, which is that of this test here.
	environment := []string{"KUBECONFIG=" + kubeconfig, "GOMEMLIMIT=" + strconv.FormatInt(memory/100*90, 10)}
	p, err := testenv.StartProcess(filepath.Join(dir, "log"), environment, testenv.Binary(t), append(append([]string{}, pod.Containers[0].Args...), append([]string{
		// These replace the pod's addresses and namespace, and allow an endpoint with http on
		// loopback.
		"--metrics-bind-address=" + metrics, "--metrics-secure=false", "--health-probe-bind-address=0",
		"--leader-elect=false", "--allow-insecure-endpoints",
	}, args...)...)...)
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{Process: p, metrics: "http://" + metrics + "/metrics"}
	t.Log("memory: " + confine(t, p, memory))
	if !testenv.Within(world.Patience, func() bool {
		_, err := testenv.Scrape(t.Context(), o.metrics)
		return err == nil || o.Alive() != nil
	}) || o.Alive() != nil {
		t.Fatalf("the operator does not start: %s", o.Said())
	}
	return o
}

// scrape reads the operator's metrics.
func (o *operator) scrape(t *testing.T) testenv.Series {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	series, err := testenv.Scrape(ctx, o.metrics)
	if err != nil {
		t.Fatalf("%v; %v", err, o.Alive())
	}
	return series
}

// attack lets a time pass, and fails the test if the operator ends, or needs more memory than
// it has.
func (o *operator) attack(t *testing.T, window time.Duration, memory int64) {
	t.Helper()
	testenv.Within(window, func() bool { return o.Alive() != nil })
	o.check(t, memory)
}

// check fails the test if the operator has ended, or needed more memory than it has.
func (o *operator) check(t *testing.T, memory int64) {
	t.Helper()
	if err := o.Alive(); err != nil {
		t.Fatal(err)
	}
	peak := testenv.PeakMemory(o.PID())
	t.Logf("at most %.0f of %.0f MiB were used", peak/(1<<20), float64(memory)/(1<<20))
	if peak > float64(memory) {
		t.Errorf("the operator used %.0f MiB, its limit is %.0f", peak/(1<<20), float64(memory)/(1<<20))
	}
}

// confine moves a process into a cgroup that kills it beyond a limit, where one can be made,
// and says what limits it.
func confine(t *testing.T, p *testenv.Process, memory int64) string {
	t.Helper()
	parent, file := memoryHierarchy()
	dir := filepath.Join(parent, fmt.Sprintf("dli-operator-test-%d", p.PID()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Sprintf("GOMEMLIMIT of %d bytes, and the high water is compared with the limit: no cgroup can be made here (%v)", memory/100*90, err)
	}
	go func() {
		<-p.Ended()
		removeGroup(dir)
	}()
	err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(memory, 10)), 0o600)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.PID())), 0o600)
	}
	if err != nil {
		return fmt.Sprintf("GOMEMLIMIT of %d bytes, and the high water is compared with the limit: no limit can be set here (%v)", memory/100*90, err)
	}
	return fmt.Sprintf("a cgroup of %d bytes (%s)", memory, file)
}

// memoryHierarchy returns the cgroup below which a test may limit memory, and the file with
// the limit: the root of version 2, or this process's own of version 1.
func memoryHierarchy() (dir, file string) {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.controllers"); err == nil {
		return root, "memory.max"
	}
	own, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(own)) {
		if _, path, ok := strings.Cut(line, ":memory:"); ok {
			return root + "/memory" + strings.TrimSpace(path), "memory.limit_in_bytes"
		}
	}
	return root + "/memory", "memory.limit_in_bytes"
}

// removeGroup removes a cgroup whose process has ended, which takes the kernel a moment.
func removeGroup(dir string) {
	testenv.Within(10*time.Second, func() bool { return os.Remove(dir) == nil })
}
