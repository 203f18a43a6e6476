// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli"
)

// A response without its share of memory is nobody's fault.
func TestResponsesWithoutBudget(t *testing.T) {
	client := fake(func(context.Context) (*dli.JobStatus, error) { return nil, dli.ErrNoBudget })
	r, now := registry(client)
	conn := connect(t, r, now, object("a"), "t")
	before := conn.Decide(now.Now())
	for range 3 * circuitFailures {
		now.SetTime(now.Now().Add(time.Second))
		request := conn.Begin(now.Now(), CallStatus, dli.JobTypeSQL, "job", "")
		if request == nil {
			t.Fatal("the connection holds requests back")
		}
		status, err := request.SendStatus(t.Context(), now.Now)
		if failure, ok := AsFailure(err); status != nil || !ok || failure.Kind != "" || failure.NeedsAction() {
			t.Fatalf("want a temporary failure, got %v, %v", status, err)
		}
	}
	if after := conn.Decide(now.Now()); after != before {
		t.Errorf("the connection admitted %+v, and now %+v", before, after)
	}
}
