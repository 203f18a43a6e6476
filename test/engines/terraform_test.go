// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// OpenTofu, which is compatible with Terraform, with the example.
func TestTerraform(t *testing.T) {
	tofu := filepath.Join(testenv.Assets(t, "opentofu"), "tofu")
	example := testenv.Read(t, "../../config/examples/terraform.tf")
	t.Parallel()
	path := "PATH=" + os.Getenv("KUBEBUILDER_ASSETS") + string(os.PathListSeparator) + os.Getenv("PATH")
	gate{name: "OpenTofu, `local-exec`", begin: func(t *testing.T, j job) func() verdict {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(example), 0o600); err != nil {
			t.Fatal(err)
		}
		return run(t, j, []string{path}, tofu, "-chdir="+dir, "apply", "-auto-approve", "-input=false", "-no-color", "-var=job_id="+j.id)
	}}.judge(t)
}
