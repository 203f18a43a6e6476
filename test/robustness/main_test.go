// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// The edits of the broken operators must apply to the current operator. They are compiled
// together, which takes a tenth of the time.
func TestBrokenOperatorsCompile(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	edits := []edit{panicOnResponse}
	for _, b := range brokenOperators {
		edits = append(edits, b.edits...)
		if _, err := chooseFaults(b.faults); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
	}
	overlay, err := writeOverlay(root, t.TempDir(), edits...)
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay="+overlay, "./controllers", "./internal/operator")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("no longer compile: %v\n%s", err, out)
	}
}

func TestOverlay(t *testing.T) {
	if _, err := writeOverlay("../..", t.TempDir(), edit{"main.go", "not in this file", ""}); err == nil {
		t.Error("an edit that does not apply is accepted")
	}
}

func TestPlan(t *testing.T) {
	names := func(pairs bool, rounds int) (all [][]string) {
		next := plan(rand.New(rand.NewPCG(7, 2)), allFaults(), pairs)
		for range rounds {
			var round []string
			for _, f := range next() {
				round = append(round, f.name)
			}
			all = append(all, round)
		}
		return all
	}
	n := len(allFaults()) - 1 // the last one is injected after all others
	t.Run("each fault alone, then several together", func(t *testing.T) {
		seen := map[string]int{}
		for i, round := range names(false, n+20) {
			if i < n {
				seen[round[0]]++
			}
			if (len(round) == 1) != (i < n) {
				t.Errorf("round %d has %v", i, round)
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d faults are injected alone", len(seen), n)
		}
	})
	t.Run("the same seed gives the same plan", func(t *testing.T) {
		if a, b := names(false, 50), names(false, 50); !slices.EqualFunc(a, b, slices.Equal) {
			t.Errorf("got %v and %v", a, b)
		}
	})
	t.Run("in pairs from the start", func(t *testing.T) {
		seen := map[string]int{}
		for _, round := range names(true, n/2+2) {
			for _, name := range round {
				seen[name]++
			}
		}
		if len(seen) < n*9/10 {
			t.Errorf("%d of %d faults are injected in half the rounds", len(seen), n)
		}
	})
	t.Run("no two of a group together", func(t *testing.T) {
		next := plan(rand.New(rand.NewPCG(7, 2)), allFaults(), true)
		for range 100 {
			groups := map[string]bool{}
			for _, f := range next() {
				if groups[f.group] {
					t.Errorf("two of group %q", f.group)
				}
				groups[f.group] = true
			}
		}
	})
}

func TestParse(t *testing.T) {
	if o, err := parse(nil); err != nil || o.seed == 0 || o.duration != 30*time.Minute {
		t.Errorf("without flags: %+v, %v", o, err)
	}
	for _, args := range [][]string{{"-faults=none-such"}, {"-duration=0s"}, {"-jobs=1"}, {"word"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}

func TestQuantile(t *testing.T) {
	times := []time.Duration{4 * time.Second, time.Second, 2 * time.Second}
	if p50, most := quantile(times, 0.5), quantile(times, 1); p50 != "2.0 s" || most != "4.0 s" {
		t.Errorf("got %s and %s", p50, most)
	}
}
