// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The steps of the Dockerfile, without Docker: its builder sees what .dockerignore lets
// through, and the image gets the files that it writes.
func TestTheDockerfileBuildsTheSameImage(t *testing.T) {
	platform := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	index := onlyIndex(t, unpack(t, write(t, platform.String())), "docker.io/library/dli-operator:"+testVersion)
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	want, got := contents(t, image), map[string][]byte{}

	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	dockerfile := strings.NewReplacer("$VERSION", testVersion, "$REVISION", testRevision,
		"$TARGETOS", platform.OS, "$TARGETARCH", platform.Architecture, "\\\n", "").Replace(string(text))
	build := regexp.MustCompile(`(?m)^RUN (.*) -files=/files$`).FindStringSubmatch(dockerfile)
	if build == nil {
		t.Fatalf("the Dockerfile writes no files:\n%s", dockerfile)
	}
	files := filepath.Join(t.TempDir(), "files")
	command := exec.CommandContext(t.Context(), "sh", "-c", build[1]+" -files="+files)
	command.Dir = builder(t)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build[1], err, out)
	}
	if err := filepath.WalkDir(files, func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(strings.TrimPrefix(path, files), "/")
		switch {
		case err != nil || name == "":
		case entry.IsDir():
			got[name+"/"] = []byte{}
		default:
			got[name], err = os.ReadFile(path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(want, got, bytes.Equal) {
		t.Errorf("the files are %q, want %q, with the same content", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	checkDockerfile(t, dockerfile, image)
}

// checkDockerfile compares the last stage of the Dockerfile with the config of the image.
func checkDockerfile(t *testing.T, dockerfile string, image v1.Image) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config
	for _, line := range []string{"FROM scratch\nCOPY --from=builder /files /", "USER " + c.User, "WORKDIR " + c.WorkingDir, fmt.Sprintf("ENTRYPOINT [%q]", c.Entrypoint[0])} {
		if !strings.Contains(dockerfile, "\n"+line+"\n") {
			t.Errorf("the Dockerfile lacks %q", line)
		}
	}
	labels := map[string]string{}
	for _, label := range regexp.MustCompile(`(org\.opencontainers\.image\.\w+)="(.*?)"`).FindAllStringSubmatch(dockerfile, -1) {
		labels[label[1]] = label[2]
	}
	if !maps.Equal(labels, c.Labels) {
		t.Errorf("the labels are %q, want %q", labels, c.Labels)
	}
}

// builder returns a directory with the sources that .dockerignore lets through.
func builder(t *testing.T) string {
	t.Helper()
	ignored, err := os.ReadFile("../../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, line := range regexp.MustCompile(`(?m)^!(.+)$`).FindAllStringSubmatch(string(ignored), -1) {
		paths, err := filepath.Glob(filepath.Join("../..", line[1]))
		if err != nil || len(paths) == 0 {
			t.Fatalf("there is no %s: %v", line[1], err)
		}
		for _, path := range paths {
			relative, _ := filepath.Rel("../..", path)
			copySources(t, path, filepath.Join(dir, relative))
		}
	}
	return dir
}

// copySources copies a file or directory, without tests.
func copySources(t *testing.T, from, to string) {
	t.Helper()
	if err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		target := to + strings.TrimPrefix(path, from)
		switch {
		case err != nil || strings.HasSuffix(path, "_test.go"):
			return err
		case entry.IsDir():
			return os.MkdirAll(target, 0o700)
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestDockerBuildLoadsTheImage(t *testing.T) {
	for _, tt := range []struct{ flags, want, unwanted string }{
		{"", "--load", "--platform"},
		{"--push", "--platform='linux/amd64,linux/arm64'", "--load"},
	} {
		out, err := exec.CommandContext(t.Context(), "make", "--dry-run", "-C", "../..", "docker-build", "BUILDXFLAGS="+tt.flags).CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.want) || strings.Contains(string(out), tt.unwanted) {
			t.Errorf("BUILDXFLAGS=%s: want %s and no %s: %s, %v", tt.flags, tt.want, tt.unwanted, out, err)
		}
	}
}
