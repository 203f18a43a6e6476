// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// Run starts a control plane and stops it at the end of the test. crds is the CRDs of
// ControlPlane.
func Run(t testing.TB, crds string) *ControlPlane {
	t.Helper()
	plane := &ControlPlane{CRDs: crds}
	if err := plane.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Close(); err != nil {
			t.Error(err)
		}
	})
	return plane
}

// RunTests runs the tests of a package, so many at once, which share a control plane, and
// returns the exit code.
func RunTests(m *testing.M, plane *ControlPlane, parallel int) (code int) {
	flag.Parse()
	err := errors.Join(flag.Set("test.parallel", strconv.Itoa(parallel)), plane.Start())
	ctrl.SetLogger(logr.Discard())
	if err == nil {
		code = m.Run()
		err = plane.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Client returns a client for the API server of a config.
func Client(t testing.TB, config *rest.Config) client.WithWatch {
	t.Helper()
	c, err := client.NewWithWatch(config, client.Options{Scheme: Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// DLI starts a simulated DLI and stops it at the end of the test.
func DLI(t testing.TB, options ...dlitest.Option) *dlitest.Server {
	t.Helper()
	server, err := dlitest.NewServer(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// Read returns the content of a file.
func Read(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// CodeBlock returns the first code block of a page in a language that begins with a
// prefix.
func CodeBlock(t testing.TB, page, language, prefix string) string {
	t.Helper()
	found := regexp.MustCompile("(?ms)^```" + language + "\n(" + regexp.QuoteMeta(prefix) + ".*?)^```$").FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("no code block in %s begins with %q", language, prefix)
	}
	return found[1]
}

// Exec runs a program with additional environment variables and the given standard
// input. It returns the standard output even with an error, which includes the standard
// error.
func Exec(t testing.TB, env []string, input, program string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Env = append(os.Environ(), env...)
	command.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// Start starts a program and kills it at the end of the test. If the test has failed, it
// logs the end of the program's output.
func Start(t testing.TB, kubeconfig, program string, args ...string) *Process {
	t.Helper()
	p, err := StartProcess(filepath.Join(t.TempDir(), "log"), []string{"KUBECONFIG=" + kubeconfig}, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s ended with:\n%s", filepath.Base(program), p.Said())
		}
	})
	return p
}

// binary is the path of the operator. The clients of its tests log nothing.
var binary = sync.OnceValues(func() (string, error) {
	ctrl.SetLogger(logr.Discard())
	return Operator(context.Background()) //nolint:forbidigo // it outlives the test that comes first
})

// Binary returns the path of the operator. It is for tests, not for TestMain: go test keeps
// results while the variables that tests read are the same, but sees none that TestMain reads.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
