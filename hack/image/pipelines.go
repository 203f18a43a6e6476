// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// pipelinesImage returns what is in the image that submits jobs and waits for them: a
// shell, curl, jq, openssl, kubectl and the script.
func pipelinesImage(ctx context.Context, o options, platform v1.Platform) ([]layer, v1.Config, error) {
	if platform.OS != "linux" {
		return nil, v1.Config{}, errors.New("-pipelines: Debian has packages for linux only")
	}
	base, err := baseLayer()
	if err != nil {
		return nil, v1.Config{}, err
	}
	base.files = append(base.files, file{path: "tmp/", mode: 0o1777})
	tools, err := debianFiles(ctx, platform.Architecture)
	if err != nil {
		return nil, v1.Config{}, err
	}
	kubectl := filepath.Join(o.binaries, "kubectl-"+platform.OS+"-"+platform.Architecture)
	if err := buildKubectl(ctx, o.root, kubectl, platform); err != nil {
		return nil, v1.Config{}, err
	}
	own := layer{comment: "kubectl and the script", files: []file{{path: "usr/", mode: 0o755}, {path: "usr/local/", mode: 0o755}, {path: "usr/local/bin/", mode: 0o755}}}
	for _, program := range []struct{ name, path string }{
		{"kubectl", kubectl}, {"submit-to-dli.sh", filepath.Join(o.root, "config", "examples", "submit-to-dli.sh")},
	} {
		content, err := os.ReadFile(program.path)
		if err != nil {
			return nil, v1.Config{}, err
		}
		own.files = append(own.files, file{path: "usr/local/bin/" + program.name, mode: 0o755, content: content})
	}
	layers := []layer{base, {"Debian's packages", tools}, own}
	return layers, v1.Config{
		User: user, WorkingDir: "/tmp", Cmd: []string{"/bin/sh"},
		// kubectl caches there what the API server serves.
		Env:    []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp"},
		Labels: labelsOf("dli-pipelines", "Submits jobs to Huawei Cloud Data Lake Insight and waits for their DLIJobs.", o.version, o.revision),
	}, nil
}
