// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dli-operator/dli-operator/test/testenv"
)

const consumer = `package main

import (
	"fmt"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

func main() {
	job := v1alpha1.DLIJob{Spec: v1alpha1.DLIJobSpec{JobID: "1"}}
	fmt.Println(job.Spec.JobID, job.IsCompleted())
}
`

// Others import the API by the tag api/VERSION, from a clone without a work tree as on
// GitHub, and nothing of this tree is replaced.
func TestTheAPIModuleIsConsumedByItsTag(t *testing.T) {
	const release = "v0.9.9"
	dir := t.TempDir()
	bare := filepath.Join(dir, "dli-operator.git")
	git := func(args ...string) { execute(t, nil, "git", args...) }
	git("clone", "--quiet", "--bare", "--no-local", "../..", bare)
	git("-C", bare, "-c", "user.name=a", "-c", "user.email=a@example.com", "tag", "api/"+release)

	modules := strings.TrimSpace(execute(t, nil, "go", "env", "GOMODCACHE"))
	env := []string{
		// The module from the clone, its dependencies from what is downloaded.
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://" + bare + ".insteadOf", "GIT_CONFIG_VALUE_0=https://github.com/dli-operator/dli-operator",
		"GOPROXY=file://" + modules + "/cache/download", "GOPRIVATE=github.com/dli-operator", "GOSUMDB=off", "GOVCS=*:git",
		"GOMODCACHE=" + filepath.Join(dir, "modules"), "GOFLAGS=-mod=mod -modcacherw -trimpath", "GOWORK=off",
		"CGO_ENABLED=0", // and -trimpath: what the operator was built from is not compiled anew
	}
	program := filepath.Join(dir, "program")
	if err := os.Mkdir(program, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(program, "main.go"), []byte(consumer), 0o600); err != nil {
		t.Fatal(err)
	}
	goIn := func(args ...string) string { return execute(t, env, "go", append([]string{"-C", program}, args...)...) }
	// As after go mod tidy, which would need the network: the program requires what the API
	// requires.
	for name, module := range map[string]string{
		"go.mod": "module example.com/program\n\nrequire github.com/dli-operator/dli-operator/api " + release + "\n", "go.sum": "",
	} {
		text := strings.Replace(testenv.Read(t, "../../api/"+name), "module github.com/dli-operator/dli-operator/api\n", module, 1)
		if err := os.WriteFile(filepath.Join(program, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := goIn("run", "."); out != "1 false\n" {
		t.Errorf("the program prints %q", out)
	}
	if module := testenv.Read(t, filepath.Join(program, "go.mod")); !strings.Contains(module, "dli-operator/api "+release) || strings.Contains(module, "replace") {
		t.Errorf("go.mod is\n%s", module)
	}
}

// make release checks that both tags of a release are there, and on the commit it builds.
func TestTagsOfARelease(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		execute(t, nil, "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
	}
	script := filepath.Join(dir, "hack", "release", "tags.sh")
	if err := os.CopyFS(filepath.Dir(script), os.DirFS("../../hack/release")); err != nil {
		t.Fatal(err)
	}
	git("init", "--quiet")
	git("add", ".")
	git("commit", "--quiet", "--message=first")
	check := func(step, complaint string) {
		t.Helper()
		_, err := testenv.Exec(t, nil, "", script, "v1.2.3")
		if (err == nil) != (complaint == "") || err != nil && !strings.Contains(err.Error(), complaint) {
			t.Errorf("%s: %v, want %q", step, err, complaint)
		}
	}
	check("no tag", "")
	git("tag", "v1.2.3")
	check("one tag", "the tag api/v1.2.3 is missing")
	git("tag", "--delete", "v1.2.3")
	git("tag", "api/v1.2.3")
	check("the other tag", "the tag v1.2.3 is missing")
	git("tag", "--annotate", "--message=a", "v1.2.3")
	check("both tags", "")
	git("commit", "--quiet", "--allow-empty", "--message=second")
	check("tags of an earlier commit", "not HEAD")
	git("tag", "--force", "v1.2.3")
	check("one tag of an earlier commit", "the tag api/v1.2.3 is")

	recipe := execute(t, nil, "make", "--dry-run", "--directory=../..", "release", "VERSION=v1.2.3")
	if tags, files := strings.Index(recipe, "tags.sh 'v1.2.3'"), strings.Index(recipe, "release.sh"); tags < 0 || files < tags {
		t.Errorf("make release does not check the tags first:\n%s", recipe)
	}
}

func execute(t *testing.T, env []string, program string, args ...string) string {
	t.Helper()
	out, err := testenv.Exec(t, env, "", program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
