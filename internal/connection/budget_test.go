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
		request := conn.Begin(now.Now(), CallStatus, "job", "")
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
