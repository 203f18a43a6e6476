// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// Cluster is a control plane in a test, with an administrator's client.
type Cluster struct {
	*testing.T
	client.WithWatch
	Plane *ControlPlane
	// Admin is the path of an administrator's kubeconfig.
	Admin string
}

// NewCluster starts a control plane for a test. crds is the CRDs of ControlPlane.
func NewCluster(t *testing.T, crds string) Cluster {
	t.Helper()
	plane := Run(t, crds)
	return Cluster{t, Client(t, plane.Config()), plane, KubeConfig(t, plane.Config(), "")}
}

// Kubectl runs kubectl as the administrator, and returns its output.
func (c Cluster) Kubectl(input string, args ...string) string {
	c.Helper()
	return Kubectl(c.T, c.Admin, input, args...)
}

// MustCreate creates an object.
func (c Cluster) MustCreate(object client.Object) {
	c.Helper()
	if err := c.Create(c.Context(), object); err != nil {
		c.Fatal(err)
	}
}

// Connect creates the default DLIConnection of a namespace.
func (c Cluster) Connect(namespace string, dli *dlitest.Server) {
	c.Helper()
	c.MustCreate(Secret(namespace, "credentials", dlitest.SampleUser()))
	c.MustCreate(Connection(namespace, "default", dli.URL(), "credentials"))
}

// Eventually ends the test unless a condition is met within a minute.
func (c Cluster) Eventually(what string, is func() bool) {
	c.Helper()
	if !Within(time.Minute, is) {
		c.Fatalf("not within a minute: %s", what)
	}
}
