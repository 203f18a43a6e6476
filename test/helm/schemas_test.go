// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// The JSON schemas of a release, with the kubeconform that docs/operations.md names.
func TestSchemasOfTheCRDs(t *testing.T) {
	dir := t.TempDir()
	if out, err := testenv.Exec(t, nil, "", "../../hack/release/schemas.sh", dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	samples, err := filepath.Glob(config + "/samples/dli*.yaml")
	if err != nil || len(samples) < 5 {
		t.Fatalf("there are %d samples: %v", len(samples), err)
	}
	validate := func(input string, files ...string) (string, error) {
		args := []string{
			"-C", "../../hack/checks", "tool", "kubeconform", "-strict", "-summary", "-skip=Secret",
			"-schema-location", filepath.Join(dir, "{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"),
		}
		return testenv.Exec(t, nil, input, "go", append(args, files...)...)
	}
	for i := range samples {
		if samples[i], err = filepath.Abs(samples[i]); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := validate("", samples...); err != nil || !strings.Contains(out, "Invalid: 0, Errors: 0, Skipped: 1") {
		t.Errorf("samples are invalid: %v\n%s", err, out)
	}
	for name, change := range map[string][2]string{
		"an unknown field":       {"spec: {", "spec: {jobsID: a, "},
		"another kind of value":  {"jobID: \"1\"", "jobID: 1"},
		"an empty job ID":        {"jobID: \"1\"", "jobID: \"\""},
		"no job ID":              {"jobID: \"1\"", "suspend: true"},
		"a version that is none": {"v1alpha1", "v1alpha2"},
	} {
		if out, err := validate(strings.Replace(job, change[0], change[1], 1)); err == nil {
			t.Errorf("%s is valid: %s", name, out)
		}
	}
}
