// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// buildManager builds the manager without paths and build ID, and with a given version
// rather than that of a checkout.
func buildManager(ctx context.Context, root, output, version string, platform v1.Platform) error {
	output, err := filepath.Abs(output)
	if err != nil {
		return err
	}
	return build(ctx, root, ".", "main.version="+version, output, platform)
}

// buildKubectl builds the kubectl of the control plane for tests.
func buildKubectl(ctx context.Context, root, output string, platform v1.Platform) error {
	module := filepath.Join(root, "hack", "controlplane")
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	list.Dir, list.Stderr = module, os.Stderr
	version, err := list.Output()
	if err != nil {
		return fmt.Errorf("finding the version of Kubernetes: %w", err)
	}
	stamp := "k8s.io/component-base/version.gitVersion=" + strings.TrimSpace(string(version))
	return build(ctx, module, "k8s.io/kubernetes/cmd/kubectl", stamp, output, platform)
}

// build builds a program of a module, with the value of one of its variables.
func build(ctx context.Context, module, program, stamp, output string, platform v1.Platform) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X "+stamp, "-o", output, program)
	build.Dir = module
	// Settings for other builds would change the bytes of this one.
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+platform.OS, "GOARCH="+platform.Architecture,
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFLAGS=", "GOWORK=off")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building %s for %s: %w", filepath.Base(output), platform, err)
	}
	return nil
}
