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
	"context"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// config/default grants the operator exactly what it needs: kubectl applies it to a real API
// server, and the operator then runs as its ServiceAccount with the arguments of its
// Deployment.
func TestInstalledAsDocumented(t *testing.T) {
	environment := startControlPlane(t)
	admin := environment.Config
	kubectl(t, environment, "apply", "-k", "config/default")

	c := newClient(t, admin)
	deployment := deployedManager(t, c)
	operator := rest.AnonymousClientConfig(admin)
	operator.BearerToken = tokenOf(t, c, deployment.ServiceAccountName)
	o := parse(t, deployment.Containers[0].Args)
	// Where the pod would have addresses of its own.
	o.probeAddress, o.metricsAddress = "127.0.0.1:0", "127.0.0.1:0"
	o.leaderElectionNamespace = namespace
	// The simulator is on loopback and speaks http.
	o.controllers.Connections.AllowInsecure = true

	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	log := zap.New(zap.WriteTo(testWriter{t}))
	ctrl.SetLogger(log)
	go func() { stopped <- run(ctx, operator, o, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("the operator stopped: %v", err)
		}
	})

	job := startJob(t, c)
	eventually(t, "the job has ended, was told of, and is deleted by its TTL", func() bool {
		err := c.Get(t.Context(), client.ObjectKeyFromObject(job), job)
		return apierrors.IsNotFound(err)
	})
	if events := kubectl(t, environment, "get", "events.events.k8s.io", "-n", "default"); !strings.Contains(events, "JobFinished") {
		t.Errorf("no event tells of the end:\n%s", events)
	}
	if lease := kubectl(t, environment, "get", "lease", "-n", namespace); !strings.Contains(lease, "dli-operator") {
		t.Errorf("nobody holds the lease:\n%s", lease)
	}

	t.Run("config/sharded adds two more operators", func(t *testing.T) {
		kubectl(t, environment, "apply", "-k", "config/sharded", "--server-side", "--force-conflicts")
		deployments := &appsv1.DeploymentList{}
		if err := c.List(t.Context(), deployments, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		leases, selectors := map[string]bool{}, map[string]bool{}
		for _, deployment := range deployments.Items {
			pod := deployment.Spec.Template.Spec
			o := parse(t, pod.Containers[0].Args)
			leases[o.leaderElectionID], selectors[o.watchSelector] = true, true
			if _, err := cacheOptions(o); err != nil {
				t.Errorf("%s: %v", deployment.Name, err)
			}
			if o.controllers.ReportConnections != (deployment.Name == "dli-operator-controller-manager") {
				t.Errorf("%s reports connections: %v", deployment.Name, o.controllers.ReportConnections)
			}
		}
		if len(leases) != 3 || len(selectors) != 3 {
			t.Errorf("want three operators with a lease and a selector each, got %v and %v", leases, selectors)
		}
	})

	t.Run("the ServiceAccount can do no more than that", func(t *testing.T) {
		as := "--as=system:serviceaccount:" + namespace + ":" + deployment.ServiceAccountName
		for _, forbidden := range [][]string{
			{"list", "secrets"}, {"watch", "secrets"}, {"create", "secrets"}, {"delete", "secrets"}, {"update", "secrets"},
			{"create", "dlijobs"}, {"update", "dlijobs"}, {"patch", "dlijobs"}, {"patch", "dliconnections"}, {"delete", "dliconnections"},
			{"get", "pods"}, {"list", "configmaps"}, {"delete", "namespaces"}, {"get", "nodes"},
		} {
			if answer := canI(t, environment, forbidden[0], forbidden[1], "-n", "default", as); answer != "no" {
				t.Errorf("may %s %s: %s", forbidden[0], forbidden[1], answer)
			}
		}
	})
}

func startControlPlane(t *testing.T) *envtest.Environment {
	t.Helper()
	environment := &envtest.Environment{}
	if _, err := environment.Start(); err != nil {
		t.Fatalf("starting the control plane: %v; run the tests with make test, which builds it", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	return environment
}

const namespace = "dli-operator-system"

// testWriter keeps the operator's log in case a test fails.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func kubectl(t *testing.T, environment *envtest.Environment, args ...string) string {
	t.Helper()
	out, err := kubectlCommand(t, environment, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// canI returns the answer of kubectl auth can-i, which says no by its exit code
// too.
func canI(t *testing.T, environment *envtest.Environment, args ...string) string {
	t.Helper()
	out, _ := kubectlCommand(t, environment, append([]string{"auth", "can-i"}, args...)...).Output()
	return strings.TrimSpace(string(out))
}

func kubectlCommand(t *testing.T, environment *envtest.Environment, args ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+writeKubeconfig(t, environment))
	return command
}

func writeKubeconfig(t *testing.T, environment *envtest.Environment) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(config, environment.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// deployedManager returns the pod that the installed Deployment describes.
func deployedManager(t *testing.T, c client.Client) corev1.PodSpec {
	t.Helper()
	deployments := &appsv1.DeploymentList{}
	if err := c.List(t.Context(), deployments, client.InNamespace(namespace)); err != nil || len(deployments.Items) != 1 {
		t.Fatalf("want one Deployment, got %d: %v", len(deployments.Items), err)
	}
	return deployments.Items[0].Spec.Template.Spec
}

func tokenOf(t *testing.T, c client.Client, name string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	request := &authenticationv1.TokenRequest{}
	if err := c.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

func parse(t *testing.T, args []string) options {
	t.Helper()
	var o options
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	o.bind(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

// startJob creates a connection to a simulated DLI and a DLIJob that will end.
func startJob(t *testing.T, c client.Client) *v1alpha1.DLIJob {
	t.Helper()
	server, err := dlitest.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	const id = "208b08d4-0dc2-4dd7-8879-ddd4c020d7aa"
	server.SetJob(dlitest.Query(id).Finishes(4))
	connect(t, c, server, "default")
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "report"},
		Spec:       v1alpha1.DLIJobSpec{JobID: id, TTLSecondsAfterFinished: new(int32(1))},
	}
	if err := c.Create(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	return job
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick, timeout := time.NewTicker(50*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not so within a minute: %s", what)
		}
	}
}

func TestRefusedFlags(t *testing.T) {
	for flag, says := range map[string]string{
		"--poll-interval-min=2m":         "poll interval",
		"--poll-interval-factor=0":       "factor",
		"--list-interval=10ms":           "list interval",
		"--max-concurrent-reconciles=0":  "at least 1",
		"--default-connection=name":      "namespace/name",
		"--default-connection=a/b/c":     "namespace/name",
		"--watch-label-selector=a in (":  "--watch-label-selector",
		"--status-refresh-interval=-10s": "negative",
	} {
		o := parse(t, []string{flag, "--metrics-bind-address=0", "--health-probe-bind-address=0"})
		err := run(t.Context(), &rest.Config{Host: unusedAddress(t)}, o, zap.New(zap.WriteTo(testWriter{t})))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error is %v, want one that says %q", flag, err, says)
		}
	}
}

// unusedAddress is an address without a listener.
func unusedAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
