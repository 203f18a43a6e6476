// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// The label reason has no other values than the reasons of a DLIJob.
func TestReasonsAreAClosedSet(t *testing.T) {
	ofJobs, _, _ := strings.Cut(testenv.Read(t, "../../api/v1alpha1/conditions.go"), "// Reasons of Ready of a DLIConnection")
	var defined []string
	for _, reason := range regexp.MustCompile(`(?m)^\tReason\w+ += "(\w+)"$`).FindAllStringSubmatch(ofJobs, -1) {
		if reason[1] != v1alpha1.ReasonPollSucceeded && reason[1] != v1alpha1.ReasonOutcomeContradicted { // only of Synced
			defined = append(defined, reason[1])
		}
	}
	if !slices.Equal(defined, readyReasons) {
		t.Errorf("the label knows %q, want %q", readyReasons, defined)
	}
}
