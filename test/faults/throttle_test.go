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

package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// A connection that may ask more often than DLI admits finds out how often, and
// uses it.
func TestThrottledBelowItsRate(t *testing.T) {
	if testing.Short() {
		t.Skip("takes three minutes")
	}
	const admitted, jobs, watched = 10, 500, 2 * time.Minute
	w := newWorld(t, dlitest.WithRateLimit(admitted, 0))
	for i := range jobs {
		id := fmt.Sprintf("job-%d", i)
		w.runs(id)
		w.watch(id)
	}
	w.start()
	throughout(time.Minute, time.Second, func() {})
	before := w.dli.Stats()
	began := time.Now()
	throughout(watched, time.Second, func() {})
	after := w.dli.Stats()
	could := admitted * time.Since(began).Seconds()
	answered := float64(after.ByCode[200] - before.ByCode[200])
	throttled := float64(after.ByCode[429] - before.ByCode[429])
	t.Logf("%.0f answers of %.0f that DLI admits, and %.0f × 429", answered, could, throttled)
	if answered < 0.8*could {
		t.Errorf("%.0f answers, want 80 %% of the %.0f that DLI admits", answered, could)
	}
	if throttled > 0.1*(answered+throttled) {
		t.Errorf("%.0f × 429 of %.0f requests, want at most a tenth", throttled, answered+throttled)
	}
}
