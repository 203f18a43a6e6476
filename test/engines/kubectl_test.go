// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"os"
	"strings"
	"testing"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// The recipe of docs/gating.md that gives up as soon as user action is required.
func TestKubectlWait(t *testing.T) {
	t.Parallel()
	const begins = "for attempt in"
	_, rest, found := strings.Cut(testenv.Read(t, "../../docs/gating.md"), "```sh\n"+begins)
	recipe, _, _ := strings.Cut(rest, "```")
	if !found {
		t.Fatalf("docs/gating.md has no recipe that begins with %q", begins)
	}
	path := "PATH=" + os.Getenv("KUBEBUILDER_ASSETS") + string(os.PathListSeparator) + os.Getenv("PATH")
	gate{name: "`kubectl wait`", spark: true, begin: func(t *testing.T, j job) func() verdict {
		t.Helper()
		apply(t, j.manifest())
		return run(t, j, []string{path}, "/bin/sh", "-ec", begins+strings.ReplaceAll(recipe, "dlijob/finished", "dlijob/"+j.id))
	}}.judge(t)
}
