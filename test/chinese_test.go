// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// The Chinese pages have what does not depend on the language in common with the English
// ones: the levels of the headings, the code blocks, and every word in code.
func TestChinesePages(t *testing.T) {
	pages, err := filepath.Glob("../docs/zh-CN/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatalf("there are only %s: %v", pages, err)
	}
	for _, path := range pages {
		name := filepath.Base(path)
		english, chinese := parsePage(testenv.Read(t, "../docs/"+name)), parsePage(testenv.Read(t, path))
		if diff := cmp.Diff(english.headings, chinese.headings); diff != "" {
			t.Errorf("the headings of %s have other levels (-English +Chinese):\n%s", name, diff)
		}
		if diff := cmp.Diff(english.blocks, chinese.blocks); diff != "" {
			t.Errorf("%s has other code blocks (-English +Chinese):\n%s", name, diff)
		}
		for _, word := range english.words {
			if !slices.Contains(chinese.words, word) {
				t.Errorf("%s does not mention %s in Chinese", name, word)
			}
		}
	}
}

// The Chinese README has all commands of the English one, which other tests run. Comments in
// them are translated, and it may have more.
func TestChineseReadme(t *testing.T) {
	comment := regexp.MustCompile(`(?m) *# .*$`)
	read := func(path string) page { return parsePage(comment.ReplaceAllString(testenv.Read(t, path), "")) }
	english, chinese := read("../README.md"), read("../docs/README.zh-CN.md")
	if len(english.blocks) < 10 {
		t.Fatalf("README.md has only %d code blocks", len(english.blocks))
	}
	for _, block := range english.blocks {
		if !slices.Contains(chinese.blocks, block) {
			t.Errorf("README.zh-CN.md lacks the code block\n%s", block)
		}
	}
	for _, word := range english.words {
		if !slices.Contains(chinese.words, word) {
			t.Errorf("README.zh-CN.md does not mention %s", word)
		}
	}
}

// page has the parts of a page that do not depend on its language.
type page struct{ headings, blocks, words []string }

func parsePage(text string) (p page) {
	block := regexp.MustCompile("(?ms)^```.*?^```$")
	p.blocks = block.FindAllString(text, -1)
	text = block.ReplaceAllString(text, "")
	// The table of results is only in English.
	text = regexp.MustCompile(`(?m)^.*(passes|fails|waits), \d+ s.*$`).ReplaceAllString(text, "")
	for _, found := range regexp.MustCompile("(?m)^(#+) ").FindAllStringSubmatch(text, -1) {
		p.headings = append(p.headings, found[1])
	}
	p.words = regexp.MustCompile("`[^`\n]+`").FindAllString(text, -1)
	return p
}
