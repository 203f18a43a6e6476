// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package hack_test tests the scripts of this directory.
package hack_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/test/testenv"
)

var controlPlane = []string{"etcd", "kube-apiserver", "kubectl"}

func TestTheControlPlaneIsDownloaded(t *testing.T) {
	s := newScript(t)
	index := newIndex(t, "1.37.1", archive(t))

	dir, messages, err := s.run("ENVTEST_INDEX=" + index.URL)
	if err != nil {
		t.Fatalf("%v\n%s", err, messages)
	}
	for _, program := range controlPlane {
		if content := testenv.Read(t, filepath.Join(dir, program)); content != "downloaded "+program {
			t.Errorf("%s is %q", program, content)
		}
	}
	if built := s.built(); built != "" {
		t.Errorf("programs were also built:\n%s", built)
	}

	// The next time it is cached, no matter what the index says.
	index.Close()
	again, messages, err := s.run("ENVTEST_INDEX=" + index.URL)
	if err != nil || again != dir || messages != "" {
		t.Errorf("the second time it is %q, %v:\n%s", again, err, messages)
	}
}

func TestAWrongChecksumIsRejected(t *testing.T) {
	s := newScript(t)
	index := newIndex(t, "1.37.1", archive(t), func(i *index) { i.checksum = strings.Repeat("0", 2*sha512.Size) })

	for range 2 {
		dir, messages, err := s.run("ENVTEST_INDEX=" + index.URL)
		if err == nil || dir != "" {
			t.Errorf("it is used anyway: %s", dir)
		}
		if !strings.Contains(messages, "checksum mismatch") || !strings.Contains(messages, "ENVTEST_INDEX=none") {
			t.Errorf("the message does not say what is wrong and how to fix it:\n%s", messages)
		}
	}
	if built := s.built(); built != "" {
		t.Errorf("programs were built:\n%s", built)
	}
}

func TestTheControlPlaneIsBuilt(t *testing.T) {
	cases := map[string]struct {
		// index returns the value of ENVTEST_INDEX.
		index func(t *testing.T) string
		env   string
		says  string
	}{
		"if the index cannot be reached": {
			index: func(t *testing.T) string {
				t.Helper()
				index := newIndex(t, "1.37.1", nil)
				index.Close()
				return index.URL
			},
			says: "connection refused",
		},
		"if the index does not respond": {
			index: func(t *testing.T) string {
				t.Helper()
				return newIndex(t, "1.37.1", nil, func(i *index) { i.silent = true }).URL
			},
			says: "not read within 5 s",
		},
		"if the index only has other versions": {
			index: func(t *testing.T) string { t.Helper(); return newIndex(t, "1.36.4", archive(t)).URL },
			says:  "it has none for",
		},
		"if the user requests it": {
			index: func(*testing.T) string { return "none" },
		},
		"in another version": {
			index: func(*testing.T) string { return "none" },
			env:   "KUBERNETES_VERSION=" + version(t, "controlplane/oldest"),
			says:  version(t, "controlplane/oldest"),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			start := time.Now()
			dir, messages, err := s.run("ENVTEST_INDEX="+c.index(t), c.env)
			if err != nil {
				t.Fatalf("%v\n%s", err, messages)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %s to decide", took)
			}
			for _, want := range []string{c.says, "from source"} {
				if !strings.Contains(messages, want) {
					t.Errorf("the messages lack %q:\n%s", want, messages)
				}
			}
			for _, program := range controlPlane {
				if content := testenv.Read(t, filepath.Join(dir, program)); content != "built\n" {
					t.Errorf("%s is %q", program, content)
				}
			}
			for _, want := range []string{"go.etcd.io/etcd/server/v3\n", "/cmd/kube-apiserver\n", "/cmd/kubectl\n"} {
				if built := s.built(); strings.Count(built, want) != 1 {
					t.Errorf("%q was not built once:\n%s", want, built)
				}
			}
		})
	}
}

func TestAnUnknownVersionIsRejected(t *testing.T) {
	dir, messages, err := newScript(t).run("ENVTEST_INDEX=none", "KUBERNETES_VERSION=v1.12.3")
	if err == nil || dir != "" || !strings.Contains(messages, "1.12.3") {
		t.Errorf("it is %q, %v:\n%s", dir, err, messages)
	}
}

func TestKubebuilderAssetsAreUsed(t *testing.T) {
	s := newScript(t)
	index := newIndex(t, "1.37.1", archive(t))
	assets := t.TempDir()
	if _, messages, err := s.run("ENVTEST_INDEX="+index.URL, "KUBEBUILDER_ASSETS="+assets); err == nil || !strings.Contains(messages, "holds no etcd") {
		t.Errorf("an empty directory is accepted: %v\n%s", err, messages)
	}
	for _, program := range controlPlane {
		write(t, filepath.Join(assets, program), "mine")
	}
	dir, messages, err := s.run("ENVTEST_INDEX="+index.URL, "KUBEBUILDER_ASSETS="+assets)
	if err != nil || dir != assets || messages != "" {
		t.Errorf("it is %q, %v:\n%s", dir, err, messages)
	}
	if asked := index.asked(); asked != 0 {
		t.Errorf("the index received %d requests", asked)
	}
}

// A new version must be changed in all of these places.
func TestSupportedKubernetesVersionsAgree(t *testing.T) {
	minor := func(module string) string {
		return strings.Join(strings.Split(strings.TrimPrefix(version(t, module), "v"), ".")[:2], ".")
	}
	oldest, newest := minor("controlplane/oldest"), minor("controlplane")
	for file, want := range map[string]string{
		"../config/helm/dli-operator/Chart.yaml": `kubeVersion: ">=` + oldest + `.0-0"`,
		"../docs/operations.md":                  "Kubernetes " + oldest + " to " + newest + " are supported",
		"../Makefile":                            "OLDEST_KUBERNETES := " + oldest + "\n",
	} {
		if !strings.Contains(testenv.Read(t, file), want) {
			t.Errorf("%s does not say %q", file, want)
		}
	}
}

func TestTheProgramsOfANodeAreBuilt(t *testing.T) {
	s := newScript(t)
	s.name = "node"
	dir, messages, err := s.run()
	if err != nil {
		t.Fatalf("%v\n%s", err, messages)
	}
	for _, program := range []string{"kubelet", "kube-controller-manager", "kube-scheduler", "bridge", "host-local", "loopback"} {
		if content := testenv.Read(t, filepath.Join(dir, program)); content != "built\n" || strings.Count(s.built(), "/"+program+"\n") != 1 {
			t.Errorf("%s is %q; these programs were built:\n%s", program, content, s.built())
		}
	}
}

// go test keeps a result while the environment is the same, so the directory must change
// with the operator, and only then.
func TestTheDirectoryOfTheOperatorChangesWithIt(t *testing.T) {
	s := newScript(t)
	s.name = "operator"
	build := func(content string) string {
		t.Helper()
		dir, messages, err := s.run("CONTENT=" + content)
		if err != nil {
			t.Fatalf("%v\n%s", err, messages)
		}
		if got := testenv.Read(t, filepath.Join(dir, "manager")); got != content+"\n" {
			t.Errorf("%s holds %q, want %q", dir, got, content)
		}
		return dir
	}
	first := build("first")
	if again := build("first"); again != first {
		t.Errorf("the same operator is first in %s and then in %s", first, again)
	}
	if second := build("second"); second == first {
		t.Errorf("another operator is in the same directory %s", second)
	}
	if dir, _, err := s.run("OPERATOR_ASSETS=" + first); err != nil || dir != first {
		t.Errorf("with OPERATOR_ASSETS it is %q, %v", dir, err)
	}
}

// script runs build.sh with an empty cache, and with a go command that records what to
// build instead of building it.
type script struct {
	name string
	env  []string
	note string
}

// setupEnvtest returns the directory of the real setup-envtest.
var setupEnvtest = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("./build.sh", "setup-envtest").Output()
	return strings.TrimSpace(string(out)), err
})

func newScript(t *testing.T) script {
	t.Helper()
	envtest, err := setupEnvtest()
	if err != nil {
		t.Fatalf("setup-envtest: %v", err)
	}
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// setup-envtest makes its files read-only.
	t.Cleanup(func() {
		_ = exec.Command("chmod", "-R", "u+w", dir).Run()
	})
	s := script{name: "controlplane", note: filepath.Join(dir, "note")}
	write(t, filepath.Join(dir, "go"), `#!/usr/bin/env bash
for word; do
  if [[ "$previous" == -o ]]; then
    echo "${CONTENT:-built}" >"$word"
    chmod +x "$word"
    echo "${@: -1}" >>'`+s.note+`'
    exit
  fi
  previous=$word
done
exec '`+goCommand+`' "$@"
`)
	s.env = append(os.Environ(),
		"PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"),
		"XDG_CACHE_HOME="+filepath.Join(dir, "cache"),
		"SETUP_ENVTEST_ASSETS="+envtest,
		"KUBEBUILDER_ASSETS=", "OPERATOR_ASSETS=", "NODE_ASSETS=", "KUBERNETES_VERSION=")
	return s
}

// run returns the output of the script and its messages.
func (s script) run(env ...string) (string, string, error) {
	command := exec.Command("./build.sh", s.name)
	command.Env = slices.Concat(s.env, env)
	var out, messages bytes.Buffer
	command.Stdout, command.Stderr = &out, &messages
	err := command.Run()
	return strings.TrimSpace(out.String()), messages.String(), err
}

// built returns the packages that were to be built, one per line.
func (s script) built() string {
	content, err := os.ReadFile(s.note)
	if err != nil {
		return ""
	}
	return string(content)
}

// index is a server with an index of controller-tools and one archive.
type index struct {
	*httptest.Server
	checksum string
	silent   bool

	mu       sync.Mutex
	requests int
}

func newIndex(t *testing.T, version string, archive []byte, changes ...func(*index)) *index {
	t.Helper()
	i := &index{checksum: fmt.Sprintf("%x", sha512.Sum512(archive))}
	for _, change := range changes {
		change(i)
	}
	i.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.requests++
		i.mu.Unlock()
		if i.silent {
			<-r.Context().Done()
			return
		}
		if strings.HasSuffix(r.URL.Path, ".tar.gz") {
			_, _ = w.Write(archive)
			return
		}
		name := fmt.Sprintf("envtest-v%s-%s-%s.tar.gz", version, runtime.GOOS, runtime.GOARCH)
		_, _ = fmt.Fprintf(w, "releases:\n  v%s:\n    %s:\n      hash: %s\n      selfLink: %s/%s\n",
			version, name, i.checksum, i.URL, name)
	}))
	// Started last, because requests read the fields above.
	i.Start()
	t.Cleanup(i.Close)
	return i
}

func (i *index) asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// archive returns an archive in the format of controller-tools.
func archive(t *testing.T) []byte {
	t.Helper()
	files := map[string]string{}
	for _, program := range controlPlane {
		files["controller-tools/envtest/"+program] = "downloaded " + program
	}
	var content bytes.Buffer
	zipped := gzip.NewWriter(&content)
	testenv.Tar(t, zipped, files)
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

// version returns the version of Kubernetes that a module builds.
func version(t *testing.T, module string) string {
	t.Helper()
	return testenv.ModuleVersion(t, module, "k8s.io/kubernetes")
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
}
