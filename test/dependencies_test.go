// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dli-operator/dli-operator/test/testenv"
)

func TestEveryDependencyIsExplained(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	list.Dir = ".."
	text, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var module struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(text, &module); err != nil {
		t.Fatal(err)
	}
	var required []string
	for _, r := range module.Require {
		if !r.Indirect {
			required = append(required, r.Path)
		}
	}
	var explained []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([^ ]+/[^ ]+) \| (.+) \|$`).FindAllStringSubmatch(testenv.Read(t, "../docs/dependencies.md"), -1) {
		explained = append(explained, row[1])
	}
	slices.Sort(required)
	if !slices.Equal(required, explained) {
		t.Errorf("go.mod requires\n%s\ndocs/dependencies.md explains\n%s", strings.Join(required, "\n"), strings.Join(explained, "\n"))
	}
}
