// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package install tests the built operator as the manifests in config install it: their
// arguments, ServiceAccounts and probes, and several operators in one cluster.
package install

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	config    = "../../config"
	namespace = "dli-operator-system"
)

// cluster is a control plane for one test.
type cluster struct{ testenv.Cluster }

// newCluster starts a control plane and applies a kustomization of config.
func newCluster(t *testing.T, kustomization string) *cluster {
	t.Helper()
	t.Parallel()
	c := &cluster{testenv.NewCluster(t, "")}
	c.Kubectl("", "apply", "-k", filepath.Join(config, kustomization))
	return c
}

func (c *cluster) canI(args ...string) string {
	c.Helper()
	return testenv.CanI(c.T, c.Admin, args...)
}

// deployed returns the pod specs of the installed Deployments, by name.
func (c *cluster) deployed() map[string]corev1.PodSpec {
	c.Helper()
	deployments := &appsv1.DeploymentList{}
	if err := c.List(c.Context(), deployments, client.InNamespace(namespace)); err != nil {
		c.Fatal(err)
	}
	pods := map[string]corev1.PodSpec{}
	for _, deployment := range deployments.Items {
		pods[deployment.Name] = deployment.Spec.Template.Spec
	}
	return pods
}

// manager is the name of the Deployment in every kustomization.
const manager = "dli-operator-controller-manager"

// startPod starts the operator with the arguments and the ServiceAccount of a pod.
func (c *cluster) startPod(pod corev1.PodSpec) *operator {
	c.Helper()
	return c.start(c.account(pod), pod.Containers[0].Args...)
}

// account writes a kubeconfig of the pod's ServiceAccount.
func (c *cluster) account(pod corev1.PodSpec) (kubeconfig string) {
	c.Helper()
	return testenv.AccountKubeConfig(c.T, c.Plane.Config(), namespace, pod.ServiceAccountName)
}

// userOf returns the pod's user name at the API server.
func userOf(pod corev1.PodSpec) string {
	return "system:serviceaccount:" + namespace + ":" + pod.ServiceAccountName
}

// leases returns the names of the leases in the operator's namespace.
func (c *cluster) leases() []string {
	c.Helper()
	return strings.Fields(c.Kubectl("", "get", "leases", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}"))
}

// operator is a running operator.
type operator struct {
	*testenv.Process
	probes, metrics string // addresses
}

// start starts an operator and kills it at the end of the test.
func (c *cluster) start(kubeconfig string, args ...string) *operator {
	c.Helper()
	probes, err := testenv.FreeAddress()
	if err != nil {
		c.Fatal(err)
	}
	metrics, err := testenv.FreeAddress()
	if err != nil {
		c.Fatal(err)
	}
	return &operator{probes: probes, metrics: metrics, Process: testenv.Start(c.T, kubeconfig, testenv.Binary(c.T), append(args,
		// These replace the pod's addresses and namespace, and allow a simulator with
		// http on loopback.
		"--health-probe-bind-address="+probes, "--metrics-bind-address="+metrics,
		"--leader-election-namespace="+namespace, "--allow-insecure-endpoints")...)}
}

func (o *operator) ready() bool { return o.answers("/readyz") }

// answers reports whether a probe succeeds.
func (o *operator) answers(probe string) bool {
	answer, err := http.Get("http://" + o.probes + probe)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}
