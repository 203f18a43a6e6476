// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// testHook runs the commands of helm test's pod, with the permissions of its account: there
// is no node to run the pod itself.
func (c cluster) testHook(t *testing.T) {
	c.T = t
	hook := c.helm("", "template", "dli-operator", chart, "--namespace="+namespace, "--show-only=templates/test.yaml")
	c.Kubectl(hook, "apply", "-f", "-")
	pod := find(parse(t, hook), "Pod", "")
	containers, _, err := unstructured.NestedSlice(pod.Object, "spec", "containers")
	if err != nil || len(containers) != 2 {
		t.Fatalf("want two containers, got %v, %v", containers, err)
	}
	succeed := func() bool {
		for _, container := range containers {
			args, _, _ := unstructured.NestedStringSlice(container.(map[string]any), "args")
			args = append(args, "--timeout=1s", "--namespace="+namespace, "--as=system:serviceaccount:"+namespace+":"+pod.GetName()) // 1s instead of 1m
			if _, err := testenv.TryKubectl(t, c.Admin, "", args...); err != nil {
				if strings.Contains(err.Error(), "forbidden") {
					t.Fatal(err)
				}
				return false
			}
		}
		return true
	}
	if succeed() {
		t.Error("it succeeds although no operator runs")
	}
	c.Kubectl("", "patch", "deployment", "dli-operator-controller-manager", "--namespace="+namespace, "--subresource=status", "--type=merge",
		`--patch={"status": {"conditions": [{"type": "Available", "status": "True"}]}}`)
	if succeed() {
		t.Error("it succeeds although nobody leads")
	}
	c.Kubectl(`{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "dli-operator"}, "spec": {"holderIdentity": "somebody"}}`,
		"create", "--namespace="+namespace, "-f", "-")
	if !succeed() {
		t.Error("it fails although an operator leads")
	}
	c.Kubectl("", "delete", "lease/dli-operator", "--namespace="+namespace)
	c.Kubectl(hook, "delete", "-f", "-")
}
