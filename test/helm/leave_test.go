// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// users has what must outlive the operator, some of it in the operator's own namespace.
const users = job + `---
apiVersion: dli.huaweicloud.com/v1alpha1
kind: DLIConnection
metadata: {name: shared, namespace: ` + namespace + `}
spec: {region: cn-north-4, projectID: "1", credentials: {secretRef: {name: shared}}}
---
apiVersion: v1
kind: Secret
metadata: {name: shared, namespace: ` + namespace + `}
`

// The way from kubectl to Helm, to another release, and back to kubectl, by the commands of
// docs/operations.md.
func TestInstallAndLeave(t *testing.T) {
	t.Run("Helm 4", func(t *testing.T) { installAndLeave(t, "helm") })
	t.Run("Helm 3", func(t *testing.T) {
		if testing.Short() {
			t.Skip("it may have to build Helm 3")
		}
		installAndLeave(t, "helm3")
	})
}

func installAndLeave(t *testing.T, program string) {
	t.Helper()
	c := newCluster(t, "")
	c.program = filepath.Join(testenv.Assets(t, program), "helm")
	install := []string{"install", "dli-operator", chart, "--namespace=" + namespace, "--create-namespace"}
	const another = "crds: {install: false}"

	c.Kubectl("", "apply", "-k", filepath.Join(config, "default"))
	c.Kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	c.Kubectl(users, "create", "-f", "-")
	c.install("second", another)
	second := mustRender(t, "second", another)

	c.refused("invalid ownership metadata", install...)

	c.follow("kubectl delete --ignore-not-found --namespace=")
	c.kept("after everything but the CRDs was deleted")
	c.checkRemoval(second)

	c.refused("invalid ownership metadata", install...)
	c.follow("helm install dli-operator config/helm/dli-operator --namespace dli-operator-system --create-namespace")
	c.kept("after helm install")
	for _, step := range []struct {
		name, replicas string
		args           []string
	}{
		{"upgrade", "3", []string{"upgrade", "dli-operator", chart, "--set=replicas=3"}},
		{"rollback", "2", []string{"rollback", "dli-operator"}},
	} {
		c.helm("", append(step.args, "--namespace="+namespace)...)
		got := c.Kubectl("", "get", "deployment/dli-operator-controller-manager", "--namespace="+namespace, "--output=jsonpath={.spec.replicas}")
		if got != step.replicas {
			t.Errorf("%s: there are %s replicas, want %s", step.name, got, step.replicas)
		}
		c.kept("after helm " + step.name)
	}
	c.helm("", "uninstall", "dli-operator", "--namespace="+namespace)
	c.kept("after helm uninstall")

	install[1] = "dli-operator-again"
	c.refused("invalid ownership metadata", install...)
	c.helm("", append(install, "--take-ownership")...)
	c.kept("after the installation of another release")
	c.helm("", "uninstall", install[1], "--namespace="+namespace)

	c.Kubectl("", "apply", "-k", filepath.Join(config, "default"))
	c.kept("after kubectl apply")
	install[1] = "dli-operator"
	c.refused("spec.selector", append(install, "--take-ownership")...)
	c.helm("", "uninstall", install[1], "--namespace="+namespace)
	c.kept("after an installation that failed")
}

// checkRemoval fails the test unless everything that kubectl installed is gone, but the CRDs
// and the namespace, and everything of another release is left.
func (c cluster) checkRemoval(another []*unstructured.Unstructured) {
	c.Helper()
	for _, o := range kustomize(c.T, filepath.Join(config, "default")) {
		kept := o.GetKind() == "CustomResourceDefinition" || o.GetKind() == "Namespace"
		if c.exists(o) != kept {
			c.Errorf("%s %s exists: %t", o.GetKind(), o.GetName(), !kept)
		}
	}
	for _, o := range another {
		if !c.exists(o) {
			c.Errorf("the %s %s of another release is gone", o.GetKind(), o.GetName())
		}
	}
}

// refused fails the test unless helm fails with a message.
func (c cluster) refused(message string, args ...string) {
	c.Helper()
	if out, err := c.tryHelm("", args...); err == nil || !strings.Contains(err.Error(), message) {
		c.Errorf("helm %q should fail with %q: %v\n%s", args, message, err, out)
	}
}

// kept fails the test if the objects of users are gone.
func (c cluster) kept(when string) {
	c.Helper()
	for _, o := range parse(c.T, users) {
		if !c.exists(o) {
			c.Errorf("%s, the %s %s of a user is gone", when, o.GetKind(), o.GetName())
		}
	}
}

func (c cluster) exists(o *unstructured.Unstructured) bool {
	c.Helper()
	gvk := o.GroupVersionKind()
	kind := gvk.Kind
	if gvk.Group != "" {
		kind += "." + gvk.Version + "." + gvk.Group
	}
	args := []string{"get", kind, o.GetName(), "--output=jsonpath={.metadata.deletionTimestamp}"}
	if o.GetNamespace() != "" {
		args = append(args, "--namespace="+o.GetNamespace())
	}
	deleted, err := testenv.TryKubectl(c.T, c.Admin, "", args...)
	if err != nil && !strings.Contains(err.Error(), "NotFound") {
		c.Fatal(err)
	}
	return err == nil && deleted == ""
}

// follow runs the code block of docs/operations.md that begins with a command.
func (c cluster) follow(command string) {
	c.Helper()
	block := testenv.CodeBlock(c.T, testenv.Read(c.T, "../../docs/operations.md"), "shell", command)
	path := strings.Join([]string{filepath.Dir(c.program), os.Getenv("KUBEBUILDER_ASSETS"), os.Getenv("PATH")}, ":")
	env := []string{"KUBECONFIG=" + c.Admin, "HOME=" + filepath.Dir(c.Admin), "PATH=" + path}
	if out, err := testenv.Exec(c.T, env, "", "bash", "-euo", "pipefail", "-c", "cd ../..\n"+block); err != nil {
		c.Fatalf("%v\n%s", err, out)
	}
}
