// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// The pages name the tests that prove their claims.
func TestNamedTestsExist(t *testing.T) {
	defined := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllStringSubmatch(string(text), -1) {
			defined[match[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\bTest[A-Z]\w+`)
	for _, page := range append(pages, "../CONTRIBUTING.md") {
		names := named.FindAllString(testenv.Read(t, page), -1)
		if filepath.Base(page) == "security.md" && len(names) < 20 {
			t.Errorf("%s names only %d tests, not one for each claim", page, len(names))
		}
		for _, name := range names {
			if !defined[name] {
				t.Errorf("%s: there is no %s", page, name)
			}
		}
	}
}

func TestDocumentedPermissions(t *testing.T) {
	file, err := os.Open("../config/rbac/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	role := &rbacv1.ClusterRole{}
	if err := yaml.NewYAMLOrJSONDecoder(file, 4096).Decode(role); err != nil {
		t.Fatal(err)
	}
	var rights []string
	for _, rule := range role.Rules {
		for _, resource := range rule.Resources {
			rights = append(rights, resource+": "+strings.Join(slices.Sorted(slices.Values(rule.Verbs)), " "))
		}
	}
	slices.Sort(rights)
	want := []string{
		"dliconnections/status: patch", "dliconnections: get list watch",
		"dlijobs/status: patch", "dlijobs: delete get list watch",
		"events: create", "namespaces: get list watch", "secrets: get",
	}
	if !slices.Equal(rights, want) {
		t.Errorf("the operator may %q, want %q", rights, want)
	}
}

func TestPackageDocListsEveryFile(t *testing.T) {
	listed := map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^//\t(\w+\.go) `).FindAllStringSubmatch(testenv.Read(t, "doc.go"), -1) {
		listed[line[1]] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file != "doc.go" && !strings.HasSuffix(file, "_test.go") && !listed[file] {
			t.Errorf("doc.go does not say what %s is for", file)
		}
		delete(listed, file)
	}
	for file := range listed {
		t.Errorf("doc.go names %s, which does not exist", file)
	}
}
