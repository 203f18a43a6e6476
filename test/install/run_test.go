// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// make run beside an installed operator takes part in its election: it stands by, and leads
// once that one is gone.
func TestMakeRunStandsBy(t *testing.T) {
	c := newCluster(t, "default")
	installed := c.startPod(c.deployed()[manager])
	c.Eventually("the installed operator leads", func() bool { return testenv.Holder(t.Context(), c, namespace) != "" })
	leader := testenv.Holder(t.Context(), c, namespace)
	run := c.makeRun()
	c.Eventually("make run waits for the lease", func() bool { return strings.Contains(run.Said(), "ttempting to acquire leader lease") })
	polls := c.runningJob()
	c.Eventually("the job is polled", func() bool { return polls() > 2 })
	if got := testenv.Holder(t.Context(), c, namespace); got != leader {
		t.Errorf("%s took the lease from %s", got, leader)
	}

	installed.Stop(time.Minute)
	c.Eventually("make run leads", func() bool {
		return testenv.Holder(t.Context(), c, namespace) != "" && testenv.Holder(t.Context(), c, namespace) != leader
	})
	before := polls()
	c.Eventually("make run polls the job", func() bool { return polls() > before })
}

// Without an installed operator there is nothing to wait for.
func TestMakeRunAlone(t *testing.T) {
	c := newCluster(t, "crd")
	polls := c.runningJob()
	c.makeRun()
	c.Eventually("the job is polled", func() bool { return polls() > 2 })
}

// runningJob creates a DLIJob and returns a function that counts the polls of it.
func (c *cluster) runningJob() (polls func() int) {
	c.Helper()
	const id = "208b08d4-0dc2-4dd7-8879-ddd4c020d7aa"
	dli := testenv.DLI(c.T)
	dli.SetJob(dlitest.Query(id).Running(time.Hour))
	c.Kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	c.Connect("default", dli)
	c.MustCreate(&v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "report"},
		Spec:       v1alpha1.DLIJobSpec{JobID: id, PollIntervalSeconds: new(int32(1))},
	})
	return func() int { return dli.Requests(id) }
}

// makeRun starts what make run would start, with the built operator instead of go run.
func (c *cluster) makeRun() *testenv.Process {
	c.Helper()
	const compiled = "go run ."
	path := "PATH=" + os.Getenv("KUBEBUILDER_ASSETS") + ":" + os.Getenv("PATH")
	recipe, err := testenv.Exec(c.T, []string{path}, "", "make", "-C", "../..", "--no-print-directory", "--dry-run", "run",
		"RUNFLAGS=--allow-insecure-endpoints --health-probe-bind-address=0")
	if err != nil || !strings.Contains(recipe, compiled) {
		c.Fatalf("make run does not use %q: %v\n%s", compiled, err, recipe)
	}
	recipe = strings.Replace(recipe, compiled, "exec "+testenv.Binary(c.T), 1)
	return testenv.Start(c.T, c.Admin, "bash", "-euo", "pipefail", "-c", recipe)
}
