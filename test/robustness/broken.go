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

package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Deliberately broken operators: the checks must detect them, or they prove nothing. Each
// is a patch that is applied to a copy while building the operator, so that the operator
// needs no switch for it.
//
//go:embed broken/*.patch
var patches embed.FS

// broken is a deliberately broken operator, with the faults that expose the bug.
type broken struct {
	name   string
	faults []string
}

var brokenOperators = []broken{
	{"outcome-not-sticky", []string{"watches-closed"}},
	{"writes-without-precondition", []string{"stale-writer"}},
	{"not-found-at-once", []string{"watches-closed"}},
}

// overlay applies a patch to copies in dir, and returns a file for go build -overlay.
// root is the root of the repository.
func (b broken) overlay(ctx context.Context, root, dir string) (string, error) {
	patch, err := patches.ReadFile("broken/" + b.name + ".patch")
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for line := range strings.Lines(string(patch)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "+++ b/")
		if !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		replace[filepath.Join(root, name)] = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	apply := exec.CommandContext(ctx, "git", "apply", "--verbose", "-")
	// Ignores a repository that contains the directory.
	apply.Dir, apply.Env = dir, append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir), "GIT_DIR="+dir+"/none")
	apply.Stdin = strings.NewReader(string(patch))
	if said, err := apply.CombinedOutput(); err != nil {
		return "", fmt.Errorf("broken/%s.patch no longer applies: %w\n%s", b.name, err, said)
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o600)
}

// runBroken runs each broken operator, and fails unless it finds a violation.
func runBroken(ctx context.Context, o options, out io.Writer) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	var errs []error
	for _, b := range brokenOperators {
		if len(o.faults) > 0 && !slices.Contains(o.faults, b.name) {
			continue
		}
		found, err := b.run(ctx, o, root)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
			continue
		}
		fmt.Fprintf(out, "%s: found after %v: %s\n", b.name, found.took.Round(time.Second), found.violations[0])
	}
	return errors.Join(errs...)
}

func (b broken) run(ctx context.Context, o options, root string) (*report, error) {
	dir, err := os.MkdirTemp("", "dli-broken-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	say("an operator with %s", b.name)
	if o.overlay, err = b.overlay(ctx, root, dir); err != nil {
		return nil, err
	}
	o.faults, o.untilViolation, o.duration, o.active = b.faults, true, time.Minute, 40
	r, err := runOnce(ctx, o)
	if err == nil && len(r.violations) == 0 {
		err = fmt.Errorf("no violation was found in %v", r.took)
	}
	return r, err
}
