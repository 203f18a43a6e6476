// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package test tests what users and pipelines see of the operator: the tables of
// kubectl, the health that Argo CD computes, and the examples. It uses a real API
// server, the real kubectl and the operator itself; only DLI is simulated.
package test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/operator"
	"github.com/dli-operator/dli-operator/internal/poller"
	"github.com/dli-operator/dli-operator/test/testenv"
)

var update = flag.Bool("update", false, "rewrite the golden files; review the diff")

// All tests of the package share one API server.
var (
	controlPlane = &testenv.ControlPlane{CRDs: "../config/crd/bases"}
	scheme       = testenv.Scheme()
	admin        client.Client
)

// The tests mostly wait.
func TestMain(m *testing.M) {
	os.Exit(testenv.RunTests(m, controlPlane, 8, func() (err error) {
		admin, err = client.New(controlPlane.Config(), client.Options{Scheme: scheme})
		return err
	}))
}

// quick is a schedule in seconds instead of minutes.
func quick() poller.Schedule {
	return poller.Schedule{
		PollIntervalMin:       100 * time.Millisecond,
		PollIntervalMax:       200 * time.Millisecond,
		PollIntervalFactor:    0.1,
		StatusRefreshInterval: time.Minute,
		NotFoundAfter:         time.Second,
	}
}

// startOperator runs an operator of the DLIJobs that a label selector selects, until stop
// is called.
func startOperator(selector string, schedule poller.Schedule, reports bool) (stop func() error) {
	o := operator.DefaultOptions("test")
	o.WatchSelector = selector
	o.Controllers.Schedule = schedule
	o.Controllers.ReportConnections = reports
	o.Controllers.Connections.AllowInsecure = true
	o.Controllers.Registry = prometheus.NewRegistry()
	o.MetricsAddress, o.ProbeAddress = "0", "0"
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- operator.Run(ctx, controlPlane.Config(), o) }()
	return func() error { cancel(); return <-stopped }
}

func namespaceNamed(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func connectionTo(endpoint, namespace, name, secret string) *v1alpha1.DLIConnection {
	connection := testenv.Connection(namespace, name, endpoint, secret)
	connection.Spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: 1000, Burst: 1000}
	return connection
}

// eventually waits for a condition, much longer than it takes on a busy machine.
func eventually(is func() bool) bool { return testenv.Within(time.Minute, is) }

// kubeconfig writes a kubeconfig for a namespace, with the cluster's administrator as
// the user, who impersonates another user unless as is empty.
func kubeconfig(t *testing.T, namespace, as string) string {
	t.Helper()
	config := controlPlane.Config()
	config.Impersonate.UserName = as
	return testenv.KubeConfig(t, config, namespace)
}

func kubectl(t *testing.T, namespace string, args ...string) string {
	t.Helper()
	return testenv.Kubectl(t, kubeconfig(t, namespace, ""), "", args...)
}

// golden compares a text with a file; with -update, it writes the file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(testenv.Read(t, path), got); diff != "" {
		t.Errorf("%s differs (-file +now); if that is intended, run go test ./test -update:\n%s", path, diff)
	}
}

// varying lists what differs between runs, and its replacement in golden files.
var varying = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "2026-01-02T03:04:05Z"},
	{regexp.MustCompile(`http://127\.0\.0\.1:\d{5}`), "https://dli.example.com"},
	{regexp.MustCompile(` \(request [0-9a-f]{32}\)`), ""}, // a connection may report its own failure instead
	{regexp.MustCompile(`(UID: +)[0-9a-f-]{36}`), "${1}01234567-89ab-cdef-0123-456789abcdef"},
	{regexp.MustCompile(`(Resource Version: +)\d+`), "${1}1234"},
	{regexp.MustCompile(`("fingerprint":")[0-9a-f]{32}`), "${1}0123456789abcdef0123456789abcdef"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z`), "2026-01-02T03:04:05.000000Z"},
}

func steady(text string) string {
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.instead)
	}
	return text
}
