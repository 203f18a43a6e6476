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
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// A connection whose rate limit is higher than what DLI admits finds out the admitted
// rate and uses it, whatever hints DLI gives.
func TestAdaptiveRateLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("takes three minutes")
	}
	t.Parallel()
	const admitted = 10
	t.Run("with a window", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, dlitest.WithRateLimit(admitted, 0))
		w.usesWhatIsAdmitted(admitted, func() (answered, throttled int64) {
			stats := w.dli.Stats()
			return stats.ByCode[200], stats.ByCode[429]
		})
	})
	t.Run("without a hint", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		g := &gateway{limit: admitted, service: w.dli}
		server := httptest.NewServer(g)
		t.Cleanup(server.Close)
		change(w, w.connection("default", ""), func(c *v1alpha1.DLIConnection) { c.Spec.Endpoint = server.URL })
		w.usesWhatIsAdmitted(admitted, g.counts)
	})
}

// gateway admits a number of requests in each second of the clock.
type gateway struct {
	limit   int64
	service http.Handler

	mu                      sync.Mutex
	second, admitted        int64
	sumAdmitted, sumRefused int64
}

func (g *gateway) counts() (admitted, refused int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sumAdmitted, g.sumRefused
}

func (g *gateway) admits() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if second := time.Now().Unix(); second != g.second {
		g.second, g.admitted = second, 0
	}
	if g.admitted == g.limit {
		g.sumRefused++
		return false
	}
	g.admitted++
	g.sumAdmitted++
	return true
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.admits() {
		g.service.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = w.Write([]byte(`{"error_msg":"The throttling threshold has been reached","error_code":"APIGW.0308","request_id":"r1"}`))
}

// usesWhatIsAdmitted watches 500 jobs and measures two minutes, after one minute of
// warm-up.
func (w *world) usesWhatIsAdmitted(perSecond int, counts func() (answered, throttled int64)) {
	w.Helper()
	w.options.Schedule.ListInterval = 0 // lists would need fewer requests
	for i := range 500 {
		id := fmt.Sprintf("job-%d", i)
		w.runs(id)
		w.watch(id)
	}
	w.start()
	throughout(time.Minute, time.Second, func() {})
	answeredBefore, throttledBefore := counts()
	began := time.Now()
	throughout(2*time.Minute, time.Second, func() {})
	answeredAfter, throttledAfter := counts()
	could := float64(perSecond) * time.Since(began).Seconds()
	answered, throttled := float64(answeredAfter-answeredBefore), float64(throttledAfter-throttledBefore)
	w.Logf("%.0f responses of %.0f that DLI admits, and %.0f × 429", answered, could, throttled)
	if answered < 0.8*could {
		w.Errorf("%.0f responses, want 80 %% of the %.0f that DLI admits", answered, could)
	}
	if throttled > 0.1*(answered+throttled) {
		w.Errorf("%.0f × 429 of %.0f requests, want at most a tenth", throttled, answered+throttled)
	}
}
