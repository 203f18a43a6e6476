// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const (
	testVersion  = "v9.8.7-test"
	testRevision = "0123456789abcdef0123456789abcdef01234567"
)

// write returns the path of an archive.
func write(t *testing.T, platforms string) string {
	t.Helper()
	output := filepath.Join(t.TempDir(), "image.tar")
	if err := run(t.Context(), options{
		root: "../..", image: "dli-operator:" + testVersion, version: testVersion, revision: testRevision,
		platforms: platforms, output: output,
	}); err != nil {
		t.Fatal(err)
	}
	return output
}

func TestMultiPlatformImage(t *testing.T) {
	const platforms = "linux/amd64,linux/arm64"
	first := write(t, platforms)
	t.Run("is reproducible", func(t *testing.T) {
		one, err := os.ReadFile(first)
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(write(t, platforms))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Error("two archives of the same sources differ")
		}
	})

	dir := unpack(t, first)
	index := onlyIndex(t, dir, "docker.io/library/dli-operator:"+testVersion)
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, descriptor := range manifest.Manifests {
		found = append(found, descriptor.Platform.String())
		t.Run(descriptor.Platform.String(), func(t *testing.T) {
			image, err := index.Image(descriptor.Digest)
			if err != nil {
				t.Fatal(err)
			}
			checkImage(t, image, *descriptor.Platform)
		})
	}
	if got := strings.Join(found, ","); got != platforms {
		t.Errorf("the platforms are %s, want %s", got, platforms)
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err == nil {
		t.Error("docker load would use only one of the platforms")
	}
}

func TestSinglePlatformImageHasADockerManifest(t *testing.T) {
	dir := unpack(t, write(t, "linux/amd64"))
	list, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"RepoTags":["dli-operator:` + testVersion + `"]`, `"Config":"blobs/sha256/`, `"Layers":["blobs/sha256/`} {
		if !strings.Contains(string(list), want) {
			t.Errorf("manifest.json lacks %s: %s", want, list)
		}
	}
	if err := validate.Index(onlyIndex(t, dir, "docker.io/library/dli-operator:"+testVersion)); err != nil {
		t.Error(err)
	}
}

func checkImage(t *testing.T, image v1.Image, platform v1.Platform) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		t.Errorf("the config is for %s/%s", config.OS, config.Architecture)
	}
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/manager"}) {
		t.Errorf("the entrypoint is %q, the user %q", config.Config.Entrypoint, config.Config.User)
	}
	if !config.Created.Equal(epoch) {
		t.Errorf("created at %s", config.Created)
	}
	for label, want := range map[string]string{
		"source": source, "version": testVersion, "revision": testRevision, "licenses": "Apache-2.0",
	} {
		if got := config.Config.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("the label %s is %q, want %q", label, got, want)
		}
	}

	files := contents(t, image)
	want := []string{
		"etc/", "etc/group", "etc/passwd", "etc/ssl/", "etc/ssl/certs/", "etc/ssl/certs/ca-certificates.crt", "manager",
	}
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(files["etc/ssl/certs/ca-certificates.crt"]) {
		t.Error("there are no certificates")
	}
	if n := bytes.Count(files["etc/ssl/certs/ca-certificates.crt"], []byte("BEGIN CERTIFICATE")); n < 80 {
		t.Errorf("there are %d certificates", n)
	}
	if platform.OS == runtime.GOOS && platform.Architecture == runtime.GOARCH {
		checkVersion(t, files["manager"])
	}
}

// checkVersion runs the manager of an image.
func checkVersion(t *testing.T, binary []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manager")
	if err := os.WriteFile(path, binary, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "--version").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != testVersion {
		t.Errorf("the manager prints %q, %v; want %s", out, err, testVersion)
	}
}

// contents returns the files of all layers, and checks their owner, mode and time.
func contents(t *testing.T, image v1.Image) map[string][]byte {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, layer := range layers {
		eachOf(t, layer, func(header *tar.Header, content []byte) {
			files[header.Name] = content
			executable := header.Name == "manager" || header.Typeflag == tar.TypeDir
			if header.Uid != 0 || header.Gid != 0 || header.Mode&0o022 != 0 || executable != (header.Mode&0o001 != 0) {
				t.Errorf("%s has mode %o and owner %d:%d", header.Name, header.Mode, header.Uid, header.Gid)
			}
			if !header.ModTime.Equal(epoch) {
				t.Errorf("the time of %s is %s", header.Name, header.ModTime)
			}
		})
	}
	return files
}

// eachOf calls do with each file of a layer.
func eachOf(t *testing.T, layer v1.Layer, do func(*tar.Header, []byte)) {
	t.Helper()
	reader, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	in := tar.NewReader(reader)
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		do(header, content)
	}
}

// unpack unpacks an archive and returns the directory.
func unpack(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "-xf", path, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// onlyIndex returns the only index of a layout, and checks its name.
func onlyIndex(t *testing.T, dir, name string) v1.ImageIndex {
	t.Helper()
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("the layout has %v, %v; want one index", manifest, err)
	}
	descriptor := manifest.Manifests[0]
	if got := descriptor.Annotations["io.containerd.image.name"]; got != name {
		t.Errorf("the name for containerd is %s, want %s", got, name)
	}
	if got := descriptor.Annotations["org.opencontainers.image.ref.name"]; got != testVersion {
		t.Errorf("the reference is %s", got)
	}
	inner, err := outer.ImageIndex(descriptor.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return inner
}

func TestInvalidOptions(t *testing.T) {
	for name, change := range map[string]func(*options){
		"no output":                   func(o *options) { o.output = "" },
		"no name":                     func(o *options) { o.image = "" },
		"no tag":                      func(o *options) { o.image = "dli-operator" },
		"the tag latest":              func(o *options) { o.image = "dli-operator:latest" },
		"a digest in place of a tag":  func(o *options) { o.image = "dli-operator@sha256:0" },
		"the files of two platforms":  func(o *options) { o.files, o.platforms = o.root, "linux/amd64,linux/arm64" },
		"no platform":                 func(o *options) { o.platforms = "" },
		"a platform without its arch": func(o *options) { o.platforms = "linux" },
		"a variant of a platform":     func(o *options) { o.platforms = "linux/arm/v7" },
	} {
		t.Run(name, func(t *testing.T) {
			o := options{image: "dli-operator:v1.2.3", platforms: "linux/amd64", output: filepath.Join(t.TempDir(), "image.tar"), root: t.TempDir()}
			change(&o)
			if err := run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "-") || strings.Contains(err.Error(), "building") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
