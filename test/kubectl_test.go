// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// described lists the DLIJobs for kubectl describe. Each has an Event.
var described = []string{"finished", "failed", "not-found", "secret-not-found", "rate-limited", "deadline-exceeded"}

func TestKubectl(t *testing.T) {
	everyState.reach(t)
	commands := map[string][]string{
		"get-dlijobs":             {"get", "dlijobs"},
		"get-dlijobs-wide":        {"get", "dlijobs", "-o", "wide"},
		"get-dli":                 {"get", "dli", "--field-selector=metadata.name!=failing,metadata.name!=garbled,metadata.name!=slow"},
		"get-dliconnections-wide": {"get", "dliconnections", "-o", "wide", "--field-selector=metadata.name!=failing,metadata.name!=garbled,metadata.name!=slow"},
		"explain-spec":            {"explain", "dlijob.spec"},
		"explain-outcome":         {"explain", "dlijob.status.outcome"},
		"describe-suspended":      {"describe", "dlijob", "suspended"},
		"describe-unseen":         {"describe", "dlijob", "unseen"},
	}
	for _, name := range described {
		commands["describe-"+name] = []string{"describe", "dlijob", name}
	}
	for name, args := range commands {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := kubectl(t, namespace, args...)
			for line := range strings.Lines(text) {
				if unreadable.MatchString(line) && !mayBeNone.MatchString(line) {
					t.Errorf("not readable: %s", line)
				}
			}
			if number := longNumber.FindString(text); number != "" && strings.HasPrefix(name, "get-dlijobs") {
				t.Errorf("it shows %s", number)
			}
			golden(t, "testdata/kubectl/"+name+".txt", tidy(text))
		})
	}

	t.Run("the short name works", func(t *testing.T) {
		t.Parallel()
		// Only names, because the ages may differ.
		if long, short := kubectl(t, namespace, "get", "dlijobs", "-o", "name"), kubectl(t, namespace, "get", "dlij", "-o", "name"); long != short {
			t.Errorf("get dlijobs:\n%s\nget dlij:\n%s", long, short)
		}
	})
}

// kubectl explain breaks lines of more than 76 characters, and keeps the breaks between
// lines: what is written wider comes out in shreds.
func TestExplainPrintsWholeLines(t *testing.T) {
	for _, plural := range []string{"dlijobs", "dliconnections"} {
		schema := storedVersion(t, plural).Schema.OpenAPIV3Schema
		for _, part := range []string{"", ".spec", ".status"} {
			explained := schema
			if part != "" {
				explained = new(schema.Properties[part[1:]])
			}
			var text string
			if !eventually(func() (ok bool) { text, ok = explain(t, plural+part); return ok }) {
				t.Fatalf("explain %s%s: %s", plural, part, text)
			}
			described := []string{explained.Description}
			for name, field := range explained.Properties {
				if part != "" || name == "spec" || name == "status" { // the others are those of any kind
					described = append(described, field.Description)
				}
			}
			for _, description := range described {
				if printed := "    " + strings.ReplaceAll(description, "\n", "\n    ") + "\n"; !strings.Contains(text, printed) {
					t.Errorf("explain %s%s does not print these lines as they are:\n%s", plural, part, printed)
				}
			}
			if len(described) < 3 {
				t.Errorf("%s%s has only %d descriptions", plural, part, len(described))
			}
		}
	}
}

// explain fails while the API server's description of a new CRD is not complete.
func explain(t *testing.T, what string) (text string, ok bool) {
	t.Helper()
	text, err := testenv.TryKubectl(t, kubeconfig(t, "", ""), "", "explain", what)
	return text, err == nil
}

// unreadable matches what kubectl prints for times in the future and for missing values.
var unreadable = regexp.MustCompile(`<(invalid|none|unknown|nil)>`)

// longNumber matches a number that nobody reads at a glance.
var longNumber = regexp.MustCompile(`\b\d{5,}\b`)

// mayBeNone matches lines of kubectl describe that can say <none> for any object.
var mayBeNone = regexp.MustCompile(`^(Labels|Annotations|Events): +<none>\s*$`)

// tidy removes what differs between runs from the output of kubectl.
func tidy(text string) string {
	lines := strings.Split(steady(text), "\n")
	var out []string
	for len(lines) > 0 {
		n := 1
		if tableHeader.MatchString(lines[0]) {
			n = len(lines)
			if end := slices.Index(lines, ""); end > 0 {
				n = end
			}
			out = append(out, sameAges(lines[:n])...)
		} else {
			out = append(out, lines[0])
		}
		lines = lines[n:]
	}
	return strings.Join(out, "\n")
}

// tableHeader matches the first line of a table of kubectl get, or of the Events in
// kubectl describe.
var tableHeader = regexp.MustCompile(`^NAME +READY|^NAME +STATUS|^  Type +Reason +Age`)

// sameAges formats a table again, with the same value for all ages and times of this
// run.
func sameAges(lines []string) []string {
	columns := regexp.MustCompile(`\S+`).FindAllStringIndex(lines[0], -1)
	indent := lines[0][:columns[0][0]]
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 8, 3, ' ', 0)
	for _, line := range lines {
		var cells []string
		for i, column := range columns {
			end := len(line)
			if i+1 < len(columns) {
				end = min(columns[i+1][0], len(line))
			}
			cell := strings.TrimSpace(line[min(column[0], end):end])
			switch strings.ToUpper(lines[0][column[0]:column[1]]) {
			case "AGE", "STARTED", "COMPLETED":
				cell = recent.ReplaceAllString(cell, "5s")
			}
			cells = append(cells, cell)
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	if err := table.Flush(); err != nil {
		panic(err) // a strings.Builder never fails
	}
	lines = strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = indent + strings.TrimRight(line, " ")
	}
	return lines
}

// recent matches an age of less than ten minutes.
var recent = regexp.MustCompile(`^(\d{1,3}s|\dm\d{0,2}s?)$`)

// A line of kubectl get --watch for each event in a job's life: what is only counted is
// not written.
func TestWatchPrintsALinePerEvent(t *testing.T) {
	t.Parallel()
	w := world.New(t, controlPlane)
	w.Options.Controllers.Schedule = quick()
	w.Options.Controllers.Schedule.NotFoundAfter = 3 * time.Second // four responses
	w.WatchJob("gone")
	watch := testenv.Start(t, kubeconfig(t, w.Namespace, ""), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"),
		"get", "dlijobs", "--watch", "--no-headers", "--output=custom-columns=:.status.phase,:.status.conditions[0].reason")
	w.Start()
	if !eventually(func() bool { return strings.Contains(watch.Said(), "NotFound   JobNotFound") }) {
		t.Fatalf("it printed:\n%s", watch.Said())
	}
	if printed := strings.Split(strings.TrimSpace(watch.Said()), "\n"); len(printed) != 3 || w.DLI.Requests("gone") < 4 {
		t.Errorf("%d responses, but it printed:\n%s", w.DLI.Requests("gone"), watch.Said())
	}
}
