// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// edit replaces a text in a file of the operator, where it stands once.
type edit struct{ file, old, new string }

// panicOnResponse makes the operator panic while it handles a response about some jobs. It
// is applied to all operators, also to those that are not broken.
var panicOnResponse = edit{
	"internal/poller/results.go",
	"\tended := status.State.HasEnded()\n\tresult :=",
	"\tif id := j.target.JobID; len(id) > 9 && id[:9] == \"panicking\" {\n\t\tpanic(\"injected\")\n\t}\n\tended := status.State.HasEnded()\n\tresult :=",
}

// writeOverlay applies edits to copies of the files below root, and returns a file for go
// build -overlay. So the operator needs no switch for what only this test does to it.
func writeOverlay(root, dir string, edits ...edit) (string, error) {
	texts := map[string]string{}
	for _, e := range edits {
		if _, ok := texts[e.file]; !ok {
			text, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return "", err
			}
			texts[e.file] = string(text)
		}
		if n := strings.Count(texts[e.file], e.old); n != 1 {
			return "", fmt.Errorf("%s has the following text %d times, not once; it has changed, so change the edit with it:\n%s", e.file, n, e.old)
		}
		texts[e.file] = strings.Replace(texts[e.file], e.old, e.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, file)] = path
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}
