// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// docs/security.md has a table of attacks: who, what input, what others lose, and the test.
// Each row names a test of this package that exists, and each test is named.
func TestTableOfAttacks(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, file := range files {
		for _, test := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllStringSubmatch(testenv.Read(t, file), -1) {
			named[test[1]] = false
		}
	}
	delete(named, "TestTableOfAttacks")
	_, section, found := strings.Cut(testenv.Read(t, "../../docs/security.md"), "\n## What attacks cost others\n")
	if !found {
		t.Fatal("the page has no such section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(line, "|\n"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) != 4 || strings.TrimSpace(cells[0]) == "attacker" {
			continue
		}
		rows++
		tests := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(cells[3], -1)
		if len(tests) == 0 || strings.TrimSpace(cells[2]) == "" {
			t.Errorf("no test or loss: %s", line)
		}
		for _, test := range tests {
			if _, exists := named[test[1]]; !exists {
				t.Errorf("there is no %s here: %s", test[1], line)
			}
			named[test[1]] = true
		}
	}
	if rows < 18 {
		t.Errorf("the table has %d rows", rows)
	}
	for test, isNamed := range named {
		if !isNamed {
			t.Errorf("the table does not name %s", test)
		}
	}
}
