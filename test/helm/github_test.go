// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/test/testenv"
)

func TestDependabotKnowsEveryModule(t *testing.T) {
	var file struct {
		Updates []struct {
			Ecosystem   string   `json:"package-ecosystem"`
			Directories []string `json:"directories"`
		} `json:"updates"`
	}
	if err := yaml.Unmarshal([]byte(testenv.Read(t, "../../.github/dependabot.yml")), &file); err != nil {
		t.Fatal(err)
	}
	var known, modules []string
	for _, update := range file.Updates {
		if update.Ecosystem == "gomod" {
			known = append(known, update.Directories...)
		}
	}
	for module := range strings.FieldsSeq(execute(t, nil, "git", "-C", "../..", "ls-files", "go.mod", "*/go.mod")) {
		modules = append(modules, path.Join("/", path.Dir(module)))
	}
	slices.Sort(known)
	slices.Sort(modules)
	if diff := cmp.Diff(modules, known); diff != "" {
		t.Errorf("the modules (-) and those of dependabot.yml (+) differ:\n%s", diff)
	}
}

// A tag can be moved to other code.
func TestWorkflowsPinActions(t *testing.T) {
	for _, name := range []string{"ci.yml", "release.yml"} {
		uses := regexp.MustCompile(`uses: (\S+)`).FindAllStringSubmatch(testenv.Read(t, "../../.github/workflows/"+name), -1)
		if len(uses) == 0 {
			t.Errorf("%s uses no action", name)
		}
		for _, use := range uses {
			if !regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40}$`).MatchString(use[1]) {
				t.Errorf("%s: %s is not pinned to a commit", name, use[1])
			}
		}
	}
}

// What make hands to the shell for a command of a workflow must be what a shell reads: flags
// with parentheses, say, need quotes of their own.
func TestWorkflowCommandsAreShell(t *testing.T) {
	commands := 0
	for _, name := range []string{"ci.yml", "release.yml"} {
		for _, found := range regexp.MustCompile(`(?m)\brun: (make .*)$`).FindAllStringSubmatch(testenv.Read(t, "../../.github/workflows/"+name), -1) {
			commands++
			recipe := execute(t, nil, "bash", "-euo", "pipefail", "-c", "cd ../.. && "+found[1]+" --dry-run --no-print-directory")
			if _, err := testenv.Exec(t, nil, recipe, "bash", "-n"); err != nil {
				t.Errorf("%s: %s runs what is no shell script: %v", name, found[1], err)
			}
		}
	}
	if commands == 0 {
		t.Error("no workflow runs make")
	}
}
