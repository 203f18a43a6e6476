/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package engines

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// OpenTofu, which is compatible with Terraform, with the example.
func TestTerraform(t *testing.T) {
	tofu := filepath.Join(assets(t, "opentofu"), "tofu")
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
