// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// pagesOf lists the pages about each kind, in every language.
var pagesOf = map[string][]string{
	"dlijobs":        {"../docs/dlijob.md", "../docs/zh-CN/dlijob.md"},
	"dliconnections": {"../docs/dliconnection.md", "../docs/zh-CN/dliconnection.md"},
}

// Every field of a kind has a row in a table of its pages.
func TestEveryFieldIsDocumented(t *testing.T) {
	for plural, pages := range pagesOf {
		definition := storedVersion(t, plural)
		fields := 0
		for _, part := range []string{"spec", "status"} {
			for name := range definition.Schema.OpenAPIV3Schema.Properties[part].Properties {
				if name == "conditions" {
					continue // they have a section of their own
				}
				fields++
				for _, page := range pages {
					if !regexp.MustCompile("(?m)^\\| [^|]*`" + name + "[`.]").MatchString(testenv.Read(t, page)) {
						t.Errorf("%s does not explain %s.%s", page, part, name)
					}
				}
			}
		}
		if fields < 8 {
			t.Errorf("%s has only %d fields", plural, fields)
		}
	}
}

// The section about columns lists those of kubectl get in their order: first the ones
// that are always shown, then those of -o wide.
func TestEveryColumnIsDocumented(t *testing.T) {
	for _, page := range pagesOf["dlijobs"] {
		section := regexp.MustCompile(`(?s)\n## (?:Columns|列)\n(.*?)\n## `).FindStringSubmatch(testenv.Read(t, page))
		if section == nil {
			t.Errorf("%s has no section about columns", page)
			continue
		}
		shown, wide, _ := strings.Cut(section[1], "-o wide")
		for priority, text := range []string{shown, wide} {
			var want, got []string
			for _, column := range storedVersion(t, "dlijobs").AdditionalPrinterColumns {
				if int(column.Priority) == priority {
					want = append(want, column.Name)
				}
			}
			for _, word := range regexp.MustCompile(`\b[A-Z][A-Z-]+\b`).FindAllString(text, -1) {
				if !slices.Contains(got, word) {
					got = append(got, word)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s has the columns %s with priority %d, want %s", page, got, priority, want)
			}
		}
	}
}

// storedVersion returns the only version of a CRD.
func storedVersion(t *testing.T, plural string) apiextensionsv1.CustomResourceDefinitionVersion {
	t.Helper()
	var definition apiextensionsv1.CustomResourceDefinition
	readYAML(t, fmt.Sprintf("../config/crd/bases/dli.huaweicloud.com_%s.yaml", plural), &definition)
	return definition.Spec.Versions[0]
}
