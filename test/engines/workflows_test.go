// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// The executor of Argo Workflows creates the object of a resource template and waits for
// its conditions, here with the template of the example.
func TestArgoWorkflows(t *testing.T) {
	argoexec := filepath.Join(testenv.Assets(t, "argo-workflows"), "argoexec")
	t.Parallel()
	// The executor writes a file with a fixed name, because it usually runs in its own pod.
	var manifest sync.Mutex
	gate{name: "Argo Workflows, resource template", begin: func(t *testing.T, j job) func() verdict {
		t.Helper()
		manifest.Lock()
		defer manifest.Unlock()
		decided := run(t, j, []string{
			"ARGO_TEMPLATE=" + resourceTemplate(t, j.id),
			"ARGO_POD_NAME=" + j.id, "ARGO_NODE_ID=" + j.id, "ARGO_WORKFLOW_NAME=" + j.id,
			"ARGO_DEADLINE=" + time.Time{}.Format(time.RFC3339),
		}, argoexec, "resource", "create")
		if !eventually(time.Minute, func() bool { return decided() != waits || j.watched(t) != nil }) {
			t.Fatal("the executor created no DLIJob")
		}
		return decided
	}}.judge(t)
}

// resourceTemplate returns the resource template of the example for a job, as JSON.
func resourceTemplate(t *testing.T, jobID string) string {
	t.Helper()
	var workflow struct {
		Spec struct{ Templates []map[string]any }
	}
	if err := yaml.Unmarshal([]byte(testenv.Read(t, "../../config/examples/argo-workflows.yaml")), &workflow); err != nil {
		t.Fatal(err)
	}
	for _, template := range workflow.Spec.Templates {
		if template["resource"] == nil {
			continue
		}
		text, err := json.Marshal(template)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(text), "{{inputs.parameters.job-id}}", jobID)
	}
	t.Fatal("the example has no resource template")
	return ""
}
