// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
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

// RunTests runs the tests of a package, so many at once, which share a control plane, after
// what sets it up, and returns the exit code.
func RunTests(m *testing.M, plane *ControlPlane, parallel int, setups ...func() error) (code int) {
	flag.Parse()
	err := errors.Join(flag.Set("test.parallel", strconv.Itoa(parallel)), plane.Start())
	ctrl.SetLogger(logr.Discard())
	if err == nil {
		for _, setup := range setups {
			err = errors.Join(err, setup())
		}
		if err == nil {
			code = m.Run()
		}
		err = errors.Join(err, plane.Close())
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

// Secret returns a Secret with a user's access key.
func Secret(namespace, name string, user dlitest.User) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		StringData: map[string]string{"accessKeyID": user.AccessKeyID, "secretAccessKey": user.SecretAccessKey},
	}
}

// Connection returns a DLIConnection for the project of dlitest.SampleUser, with the
// credentials of a Secret.
func Connection(namespace, name, endpoint, secret string) *v1alpha1.DLIConnection {
	return &v1alpha1.DLIConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.DLIConnectionSpec{
			Endpoint:    endpoint,
			ProjectID:   dlitest.SampleUser().ProjectID,
			Credentials: v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: secret}},
		},
	}
}

// Holder returns the holder of the operator's lease in a namespace; "" if there is none.
func Holder(ctx context.Context, c client.Reader, namespace string) string {
	lease := &coordinationv1.Lease{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "dli-operator"}, lease); err != nil {
		return ""
	}
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// Assets returns the directory of the programs that hack/build.sh builds under a name.
func Assets(t testing.TB, name string) string {
	t.Helper()
	dir, err := assets(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// ModuleVersion returns the version of a Go module in the go.mod of a directory.
func ModuleVersion(t testing.TB, dir, module string) string {
	t.Helper()
	out, err := Exec(t, nil, "", "go", "-C", dir, "list", "-m", "-f", "{{.Version}}", module)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// Tar writes an archive of executable files.
func Tar(t testing.TB, to io.Writer, files map[string]string) {
	t.Helper()
	tree := fstest.MapFS{}
	for name, content := range files {
		tree[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o755}
	}
	w := tar.NewWriter(to)
	if err := errors.Join(w.AddFS(tree), w.Close()); err != nil {
		t.Fatal(err)
	}
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
