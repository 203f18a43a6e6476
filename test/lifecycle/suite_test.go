// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package lifecycle tests the built operator as a process: how it stops, how another
// replica takes over, and how it handles CRDs that are older or newer than itself.
package lifecycle

import (
	"os"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

const crds = "../../config/crd/bases"

// shared is the control plane of tests that neither stop it nor change its CRDs.
var shared = &testenv.ControlPlane{CRDs: crds}

// The tests mostly wait.
func TestMain(m *testing.M) { os.Exit(testenv.RunTests(m, shared, 8)) }

// cluster is a world whose operators are processes.
type cluster struct{ *world.World }

func newCluster(t *testing.T) cluster {
	t.Helper()
	t.Parallel()
	return cluster{world.New(t, shared)}
}

// newOwnCluster returns a cluster with its own control plane.
func newOwnCluster(t *testing.T, crds string) cluster {
	t.Helper()
	t.Parallel()
	return cluster{world.New(t, testenv.Run(t, crds))}
}

// everySecond makes a DLIJob be polled every second.
func everySecond(job *v1alpha1.DLIJob) { job.Spec.PollIntervalSeconds = new(int32(1)) }

// process is a running operator, which reaches the API server through a proxy.
type process struct {
	*testenv.Process
	proxy *testenv.Proxy
}

// start starts an operator that runs until the test ends.
func (c cluster) start(args ...string) *process {
	c.Helper()
	return c.startReplica("", args...)
}

// startReplica starts an operator like a container of a pod.
func (c cluster) startReplica(podUID string, args ...string) *process {
	c.Helper()
	proxy, err := testenv.NewProxy(c.Config)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = proxy.Stop() })
	return &process{proxy: proxy, Process: testenv.Start(c.T, testenv.KubeConfig(c.T, proxy.Config(), ""), "env", append([]string{
		"POD_UID=" + podUID, testenv.Binary(c.T),
		"--watch-namespaces=" + c.Namespace, "--allow-insecure-endpoints", "--metrics-bind-address=0", "--health-probe-bind-address=0",
	}, args...)...)}
}

// terminate stops the operator, and returns how long that took.
func (p *process) terminate(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	p.Stop(time.Minute)
	took := time.Since(began)
	if code := p.ExitCode(); code != 0 {
		t.Errorf("the operator exited with code %d", code)
	}
	return took
}
