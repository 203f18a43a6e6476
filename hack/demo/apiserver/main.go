// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Command apiserver runs etcd and kube-apiserver on free ports of this machine
// until it is interrupted. Once they are ready it writes an administrator's
// kubeconfig to the file that it is given:
//
//	KUBEBUILDER_ASSETS=$(hack/build.sh controlplane) go run ./hack/demo/apiserver kubeconfig
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctrl.SetLogger(logr.Discard())
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) != 1 {
		return errors.New("usage: apiserver KUBECONFIG")
	}
	controlPlane := &envtest.Environment{UseExistingCluster: new(false)}
	// Also after a failed start, because etcd may be running.
	defer func() { err = errors.Join(err, controlPlane.Stop()) }()
	if _, err := controlPlane.Start(); err != nil {
		return fmt.Errorf("starting etcd and kube-apiserver: %w", err)
	}
	if err := publish(args[0], controlPlane.KubeConfig); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// publish writes a file atomically: its existence means that the API server is ready.
func publish(file string, content []byte) error {
	partial := file + ".partial"
	if err := os.WriteFile(partial, content, 0o600); err != nil {
		return err
	}
	return os.Rename(partial, file)
}
