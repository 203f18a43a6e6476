// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The image for pipelines has what the examples need: its programs run, and the script
// submits a job, all with nothing but the files of the image.
func TestImageForPipelines(t *testing.T) {
	platform := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	layers, config, err := pipelinesImage(t.Context(), options{root: "../..", binaries: t.TempDir(), version: testVersion}, platform)
	if err != nil {
		t.Fatal(err)
	}
	image, err := newImage(layers, config, platform)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("NOT RUN: the programs of the image, which needs chroot, so root on Linux")
	}
	root := extract(t, image)
	run := func(env []string, args ...string) (string, error) {
		// A container has these mounts, too; they end with the process.
		args = append([]string{"--mount", "--pid", "--fork", "sh", "-ec", `
			mount -t tmpfs tmpfs "$1/dev" && mknod -m 666 "$1/dev/null" c 1 3 && ln -s /proc/self/fd "$1/dev/fd"
			mount -t proc proc "$1/proc" && root=$1 user=$2 && shift 2 && exec /usr/sbin/chroot --userspec="$user" "$root" "$@"`, "sh", root, config.User}, args...)
		command := exec.CommandContext(t.Context(), "unshare", args...)
		command.Env = append(config.Env[:len(config.Env):len(config.Env)], env...)
		out, err := command.CombinedOutput()
		return string(out), err
	}
	for _, args := range [][]string{
		{"kubectl", "version", "--client"}, {"curl", "--version"}, {"jq", "--version"}, {"openssl", "version"},
		{"sh", "-ec", "echo a | sed s/a/b/ | grep b"}, {"sh", "-ec", "mktemp"},
	} {
		if out, err := run(nil, args...); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}

	const jobID = "6d2146a0-c2d5-41bd-8ca0-ca9694ada992"
	dli := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "SDK-HMAC-SHA256 Access=AKEXAMPLE, ") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"is_success": true, "job_id": "` + jobID + `"}`))
	}))
	defer dli.Close()
	out, err := run([]string{
		"DLI_ENDPOINT=" + dli.URL, "DLI_PROJECT_ID=48cc2c48", "DLI_ACCESS_KEY_ID=AKEXAMPLE", "DLI_SECRET_ACCESS_KEY=SKEXAMPLE",
	}, "submit-to-dli.sh", "-e", "SELECT 1")
	if err != nil || strings.TrimSpace(out) != jobID {
		t.Errorf("the script prints %q, %v; want the job's ID", out, err)
	}
}

// extract returns a directory with the files of an image, and checks that nobody but root
// may change them.
func extract(t *testing.T, image v1.Image) string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, mountpoint := range []string{"dev", "proc"} {
		if err := os.Mkdir(filepath.Join(root, mountpoint), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for dir := root; dir != "/"; dir = filepath.Dir(dir) { // for the image's user
		if err := os.Chmod(dir, 0o755); err != nil && dir == root {
			t.Fatal(err)
		}
		if filepath.Dir(dir) == os.TempDir() {
			break
		}
	}
	for _, layer := range layers {
		eachOf(t, layer, func(header *tar.Header, content []byte) {
			target := filepath.Join(root, header.Name)
			var err error
			switch header.Typeflag {
			case tar.TypeDir:
				err = os.MkdirAll(target, 0o755)
			case tar.TypeSymlink:
				err = os.Symlink(header.Linkname, target)
			default:
				err = os.WriteFile(target, content, os.FileMode(header.Mode))
			}
			if err != nil {
				t.Fatal(err)
			}
			writable := header.Mode&0o022 != 0 && header.Typeflag != tar.TypeSymlink && header.Name != "tmp/"
			if header.Uid != 0 || header.Gid != 0 || writable || header.Mode&0o6000 != 0 {
				t.Errorf("%s has mode %o and owner %d:%d", header.Name, header.Mode, header.Uid, header.Gid)
			}
		})
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o1777); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestUnreadablePackages(t *testing.T) {
	for _, deb := range []string{"", "PK", "!<arch>\n", "!<arch>\ndata.tar.xz/    0           0     0     100644  999999    `\n", "!<arch>\n" + strings.Repeat("-", 60)} {
		if files, err := unpackDeb([]byte(deb)); err == nil {
			t.Errorf("%q is a package with %d files", deb, len(files))
		}
	}
}
