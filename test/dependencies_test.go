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
