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

// Package prometheus tests what Prometheus makes of the operator: a real one
// scrapes it, answers the queries of the dashboard and loads the alerts.
package prometheus

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

const (
	root      = "../.."
	config    = root + "/config"
	namespace = "dli-operator-system"
	// deadline is far beyond what any wait takes on a busy machine.
	deadline = 2 * time.Minute
)

func eventually(t *testing.T, what string, is func() error) {
	t.Helper()
	tick, timeout := time.NewTicker(200*time.Millisecond), time.After(deadline)
	defer tick.Stop()
	for {
		err := is()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not so within %v: %s: %v", deadline, what, err)
		}
	}
}

// cluster is a real API server with config/default installed.
type cluster struct {
	*testing.T
	kubeconfig string
	host       string
	ca         []byte
}

func newCluster(t *testing.T) *cluster {
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
	c := &cluster{T: t, host: environment.Config.Host, ca: environment.Config.CAData}
	c.kubeconfig = write(t, "kubeconfig", environment.KubeConfig)
	c.kubectl("", "apply", "--server-side", "-k", filepath.Join(config, "default"))
	c.kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	return c
}

func (c *cluster) kubectl(input string, args ...string) string {
	c.Helper()
	out, err := c.tryKubectl(input, args...)
	if err != nil {
		c.Fatal(err)
	}
	return out
}

func (c *cluster) tryKubectl(input string, args ...string) (string, error) {
	return run(c.T, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), input, append([]string{"--kubeconfig=" + c.kubeconfig}, args...)...)
}

// token is one of a ServiceAccount.
func (c *cluster) token(namespace, account string) string {
	c.Helper()
	return strings.TrimSpace(c.kubectl("", "create", "token", account, "-n", namespace))
}

// operator starts the operator as its ServiceAccount, as its Deployment does,
// and returns the address of its metrics.
func (c *cluster) operator(binary string, args ...string) string {
	c.Helper()
	kubeconfig, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "it",
		"clusters": []any{map[string]any{"name": "it", "cluster": map[string]any{"server": c.host, "certificate-authority-data": c.ca}}},
		"users":    []any{map[string]any{"name": "it", "user": map[string]any{"token": c.token(namespace, "dli-operator-controller-manager")}}},
		"contexts": []any{map[string]any{"name": "it", "context": map[string]any{"cluster": "it", "user": "it"}}},
	})
	if err != nil {
		c.Fatal(err)
	}
	address := unusedAddress(c.T)
	start(c.T, binary, append([]string{
		"--kubeconfig=" + write(c.T, "operator", kubeconfig),
		"--leader-elect", "--leader-election-namespace=" + namespace,
		"--metrics-bind-address=" + address,
		"--health-probe-bind-address=0",
		// The simulator is on loopback and speaks http.
		"--allow-insecure-endpoints",
		"--poll-interval-min=500ms", "--poll-interval-max=1s",
	}, args...)...)
	return address
}

func buildOperator(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "manager")
	if _, err := run(t, "go", "", "build", "-C", root, "-ldflags=-X main.version=v1.2.3", "-o", binary, "."); err != nil {
		t.Fatal(err)
	}
	return binary
}

// start runs a program until the test ends, and shows what it says if the test
// fails.
func start(t *testing.T, program string, args ...string) {
	t.Helper()
	command := exec.Command(program, args...)
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		_ = command.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(program), said.String())
		}
	})
}

// tool is the path of prometheus or promtool.
func tool(t *testing.T, name string) string {
	t.Helper()
	dir, err := run(t, filepath.Join(root, "hack", "build.sh"), "", "prometheus")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(dir), name)
}

// run returns what a program prints. Its error has what it complains about.
func run(t *testing.T, program, input string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Stdin = strings.NewReader(input)
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", program, strings.Join(args, " "), err, complaints.String(), out.String())
	}
	return out.String(), nil
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// unusedAddress is one at which nobody listens.
func unusedAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
