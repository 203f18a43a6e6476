// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package prometheus tests the operator with a real Prometheus, which scrapes it,
// evaluates the queries of the dashboard and loads the alerts.
package prometheus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	root      = "../.."
	config    = root + "/config"
	namespace = "dli-operator-system"
	// deadline is far longer than any wait takes on a busy machine.
	deadline = 2 * time.Minute
)

func eventually(t *testing.T, what string, is func() error) {
	t.Helper()
	var err error
	if !testenv.Within(deadline, func() bool { err = is(); return err == nil }) {
		t.Fatalf("not within %v: %s: %v", deadline, what, err)
	}
}

// cluster is a real API server with config/default installed.
type cluster struct{ testenv.Cluster }

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{testenv.NewCluster(t, "")}
	c.Kubectl("", "apply", "--server-side", "-k", filepath.Join(config, "default"))
	c.Kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	return c
}

// watch creates a DLIJob for a job, with the same name.
func (c *cluster) watch(namespace, jobID string, spec v1alpha1.DLIJobSpec) {
	c.Helper()
	spec.JobID = jobID
	c.MustCreate(&v1alpha1.DLIJob{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: jobID}, Spec: spec})
}

// token returns a token of a ServiceAccount.
func (c *cluster) token(namespace, account string) string {
	c.Helper()
	return strings.TrimSpace(c.Kubectl("", "create", "token", account, "-n", namespace))
}

// operator starts the operator with its ServiceAccount, like its Deployment does, and
// returns the address of its metrics.
func (c *cluster) operator(args ...string) string {
	c.Helper()
	account := testenv.AccountKubeConfig(c.T, c.Plane.Config(), namespace, "dli-operator-controller-manager")
	address := freeAddress(c.T)
	testenv.Start(c.T, account, testenv.Binary(c.T), append([]string{
		"--leader-elect", "--leader-election-namespace=" + namespace,
		"--metrics-bind-address=" + address,
		"--health-probe-bind-address=0",
		// The simulator uses http on loopback.
		"--allow-insecure-endpoints",
		"--poll-interval-min=500ms", "--poll-interval-max=1s",
	}, args...)...)
	return address
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddress returns an address without a listener.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := testenv.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
