// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Command pictures draws the pictures of docs/performance.md from the figures in
// performance.json beside them. The same figures give the same bytes.
//
// Its arguments are files with the output of make bench. Their figures are stored in
// performance.json first, and replace those at the same numbers of jobs:
//
//	make pictures BENCH="/tmp/bench.log /tmp/bench50k.log"
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	dir := flag.String("dir", "../../docs/images", "Directory of the pictures and their figures.")
	flag.Parse()
	if err := run(*dir, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// figures are the content of performance.json.
type figures struct {
	Operator []point `json:"operator"`
	Peers    []peer  `json:"peers"`
}

// peer is another program that polls a service for Kubernetes.
type peer struct {
	Name   string  `json:"name"`
	Points []point `json:"points"`
}

// point has the measurements at one number of jobs.
type point struct {
	Jobs int `json:"jobs"`
	// Source says who measured it and when.
	Source         string  `json:"source"`
	PollsPerSecond float64 `json:"pollsPerSecond"`
	// CPU and BareClient were measured at the same time.
	CPU        float64 `json:"cpuSecondsPer1000Polls"`
	BareClient float64 `json:"bareClientCPUSecondsPer1000Polls,omitempty"`
	// LateP50 and the following are the time from the end of a job until the API server
	// shows its outcome, in poll intervals; 0 if not measured.
	LateP50 float64 `json:"lateP50,omitempty"`
	LateP99 float64 `json:"lateP99"`
	LateMax float64 `json:"lateMax,omitempty"`
}

func run(dir string, outputs []string) error {
	path := filepath.Join(dir, "performance.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var f figures
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, output := range outputs {
		text, err := os.ReadFile(output)
		if err != nil {
			return err
		}
		points, err := measured(string(text))
		if err != nil {
			return fmt.Errorf("%s is not the output of make bench: %w", output, err)
		}
		f.Operator = merge(f.Operator, points)
	}
	if len(outputs) > 0 {
		text, err := json.MarshalIndent(f, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return f.draw(dir)
}

// merge replaces the points at the same numbers of jobs, and sorts them.
func merge(points, newer []point) []point {
	points = slices.DeleteFunc(points, func(p point) bool {
		return slices.ContainsFunc(newer, func(n point) bool { return n.Jobs == p.Jobs })
	})
	points = append(points, newer...)
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.Jobs, b.Jobs) })
	return points
}

var date = regexp.MustCompile(`(?m)^measured on (\S+) in`)

// measured parses the output of the benchmark: paragraphs of lines with a name and a
// value, one for each number of jobs.
func measured(output string) (points []point, err error) {
	on := date.FindStringSubmatch(output)
	if on == nil {
		return nil, errors.New("it has no date at the end")
	}
	for paragraph := range strings.SplitSeq(output, "\n\n") {
		values := map[string]float64{}
		for line := range strings.Lines(paragraph) {
			// Names contain colons, too.
			if colon := strings.LastIndex(line, ": "); colon > 0 {
				if value, err := strconv.ParseFloat(strings.TrimSpace(line[colon+2:]), 64); err == nil {
					values[line[:colon]] = value
				}
			}
		}
		jobs, ok := values["jobs"]
		if !ok {
			continue
		}
		p := point{Jobs: int(jobs), Source: "make bench, " + on[1]}
		for name, into := range map[string]*float64{
			"polls done per second":                   &p.PollsPerSecond,
			"operator: CPU seconds per 1000 polls":    &p.CPU,
			"bare client: CPU seconds per 1000 polls": &p.BareClient,
			"end stored late (poll intervals): p50":   &p.LateP50,
			"end stored late (poll intervals): p99":   &p.LateP99,
			"end stored late (poll intervals): max":   &p.LateMax,
		} {
			if *into, ok = values[name]; !ok {
				err = errors.Join(err, fmt.Errorf("at %d jobs it has no figure of %q", p.Jobs, name))
			}
		}
		points = append(points, p)
	}
	if len(points) == 0 {
		err = errors.New("it has no figures")
	}
	return points, err
}
