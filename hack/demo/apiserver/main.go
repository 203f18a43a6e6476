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
	"io"
	"os"

	"github.com/dli-operator/dli-operator/test/testenv"
)

func main() { testenv.Main(context.Background(), "apiserver", run) }

func run(ctx context.Context, args []string, _ io.Writer) (err error) {
	if len(args) != 1 {
		return errors.New("usage: apiserver KUBECONFIG")
	}
	plane := &testenv.ControlPlane{}
	if err := plane.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plane.Close()) }()
	// The existence of the file means that the API server is ready.
	partial := args[0] + ".partial"
	if err := testenv.WriteKubeConfig(partial, plane.Config(), ""); err != nil {
		return err
	}
	if err := os.Rename(partial, args[0]); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
