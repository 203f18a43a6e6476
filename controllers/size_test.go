// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// A namespace whose connections cause large statuses gets small ones for the rest of a
// minute; others do not notice.
func TestSizeOfStatuses(t *testing.T) {
	large := func() *v1alpha1.DLIJobStatus {
		status := &v1alpha1.DLIJobStatus{Outcome: v1alpha1.OutcomeSucceeded, Statement: strings.Repeat("<", 4096), Message: "m"}
		for range 256 {
			status.Columns = append(status.Columns, v1alpha1.Column{Name: strings.Repeat("n", 200), Type: strings.Repeat("t", 500)})
		}
		return status
	}
	limit, now := sizeLimit{}, time.Now()
	write := func(connection string, now time.Time) *v1alpha1.DLIJobStatus {
		status := large()
		limit.shorten(status, connection, now)
		return status
	}
	whole, written, n := wireSize(large()), 0, 100
	for i := range n {
		written += wireSize(write([]string{"a/one", "a/two"}[i%2], now))
	}
	if most := largeBytesPerMinute + n*smallStatusBytes; written > most || written < largeBytesPerMinute*9/10 {
		t.Errorf("%d of %d bytes were written, want almost %d and at most %d", written, n*whole, largeBytesPerMinute, most)
	}
	short := write("a/three", now.Add(59*time.Second))
	if wireSize(short) > smallStatusBytes || len(short.Columns)+int(short.ColumnsOmitted) != 256 || short.Outcome == "" || !short.StatementTruncated {
		t.Errorf("%d bytes with %d columns and %d omitted, outcome %q", wireSize(short), len(short.Columns), short.ColumnsOmitted, short.Outcome)
	}
	if size := wireSize(write("b/one", now)); size != whole {
		t.Errorf("another namespace's status has %d of %d bytes", size, whole)
	}
	if size := wireSize(write("a/one", now.Add(time.Minute))); size != whole {
		t.Errorf("a minute later, the status has %d of %d bytes", size, whole)
	}
	small := &v1alpha1.DLIJobStatus{Statement: "select 1"}
	if limit.shorten(small, "a/one", now); small.Statement == "" {
		t.Error("a small status is shortened")
	}
}
