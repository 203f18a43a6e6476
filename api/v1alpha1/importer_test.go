// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Dependencies that importers must not inherit, as prefixes of module paths.
var operatorOnly = []string{
	"sigs.k8s.io/controller-runtime",
	"github.com/huaweicloud/",
	"github.com/prometheus/",
	"k8s.io/apiextensions-apiserver",
	"k8s.io/apiserver",
	"google.golang.org/grpc",
}

// The module is meant to be imported alone, so it is tested from outside: with a program
// that does not know the operator.
func TestImporter(t *testing.T) {
	cases := map[string]struct {
		program string
		// All modules that the go command considers, the importer among them; and
		// those whose code is in the program.
		graph, linked int
		// Whether the program has code of client-go.
		clientGo bool
	}{
		"inherits apimachinery from the types": {
			program: `package main

import "github.com/dli-operator/dli-operator/api/v1alpha1"

func main() { println((&v1alpha1.DLIJob{}).IsCompleted()) }
`,
			graph: 75, linked: 20,
		},
		"inherits client-go's apply configurations as well with those of this API": {
			program: `package main

import apply "github.com/dli-operator/dli-operator/api/v1alpha1/applyconfiguration/api/v1alpha1"

func main() { println(*apply.DLIJob("nightly-load", "default").Kind) }
`,
			graph: 85, linked: 50, clientGo: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			importer := newImporter(t, c.program)
			// First: it completes go.mod, from which the graph is made.
			linked := lines(importer.run(t, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "."))
			graph := lines(importer.run(t, "go", "list", "-m", "-f", "{{.Path}}", "all"))
			t.Logf("%d modules in the graph, %d of them in the program", len(graph), len(linked))
			if len(graph) > c.graph {
				t.Errorf("the graph has more than %d modules:\n%s", c.graph, strings.Join(graph, "\n"))
			}
			if len(linked) > c.linked {
				t.Errorf("the program has code of more than %d modules:\n%s", c.linked, strings.Join(linked, "\n"))
			}
			if !c.clientGo && slices.Contains(linked, "k8s.io/client-go") {
				t.Error("the program has code of client-go")
			}
			for _, module := range graph {
				for _, prefix := range operatorOnly {
					if strings.HasPrefix(module, prefix) {
						t.Errorf("the graph has a dependency of the operator: %s", module)
					}
				}
			}
		})
	}
}

// An importer is the directory of a module that requires this one.
type importer string

func newImporter(t *testing.T, program string) importer {
	t.Helper()
	api, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": `module example.com/importer

go 1.26.0

require github.com/dli-operator/dli-operator/api v0.0.0

replace github.com/dli-operator/dli-operator/api => ` + api + "\n",
		"main.go": program,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return importer(dir)
}

// run returns what the command prints, without its messages.
func (i importer) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir = string(i)
	// The go command completes go.mod and go.sum, as go mod tidy would.
	command.Env = append(os.Environ(), "GOFLAGS=-mod=mod "+os.Getenv("GOFLAGS"), "GOWORK=off")
	var messages strings.Builder
	command.Stderr = &messages
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", command, err, out, messages.String())
	}
	return string(out)
}

// lines returns the distinct words of a text, each of which is a line.
func lines(text string) []string { return slices.Compact(slices.Sorted(strings.FieldsSeq(text))) }
