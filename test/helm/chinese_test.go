// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// The commands for CCE of the Chinese README, all but the one that pushes the image.
func TestInstallFromSWR(t *testing.T) {
	c := newCluster(t, "")
	page := testenv.Read(t, "../../docs/README.zh-CN.md")
	t.Setenv("PATH", strings.Join([]string{filepath.Dir(c.program), os.Getenv("KUBEBUILDER_ASSETS"), os.Getenv("PATH")}, ":"))
	env := []string{"KUBECONFIG=" + c.Admin, "HOME=" + filepath.Dir(c.Admin), "SWR_USER=user", "SWR_PASSWORD=password"}
	checkout := strings.NewReplacer("skopeo copy", ": skopeo copy", "dist/dli-operator-0.2.0.tgz", chart)
	for _, command := range []string{"image=swr.", "kubectl create secret docker-registry"} {
		if out, err := testenv.Exec(t, env, "", "bash", "-euo", "pipefail", "-c", checkout.Replace(testenv.CodeBlock(t, page, "shell", command))); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	got := c.Kubectl("", "get", "deployment/dli-operator-controller-manager", "--namespace="+namespace,
		"--output=jsonpath={.spec.template.spec.imagePullSecrets[*].name} {.spec.template.spec.containers[0].image}")
	if want := "default-secret swr.cn-north-4.myhuaweicloud.com/my-organization/dli-operator:v"; !strings.HasPrefix(got, want) {
		t.Errorf("the pods pull %q, want %q", got, want)
	}
}
