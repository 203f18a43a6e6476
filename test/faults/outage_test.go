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
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// While DLI fails for all jobs of a connection, few requests are sent. When it
// recovers, all jobs are polled soon, without a stampede.
func TestAnOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	t.Parallel()
	const jobs, requestsPerSecond, lasts = 200, 20, 65 * time.Second
	for name, test := range map[string]struct {
		fault *dlitest.Response
		// most is the maximum number of requests during the outage.
		most int64
	}{
		// Requests in flight at the start, a probe every 30 s, and a poll of each of up
		// to 100 other jobs, because a single job could cause these failures.
		"a gateway without backend": {&dlitest.Response{Status: 502, Body: "<html></html>"}, 140},
		"connections reset":         {&dlitest.Response{Reset: true}, 140},
		"no responses":              {&dlitest.Response{Hang: true}, 140},
		// Each job is polled after 1, 2, 4 ... s.
		"errors with a code": {dlitest.DLIError(500, "DLI.10001", "Internal error"), 8 * jobs},
		"a rejected key": {dlitest.GatewayError(401, "APIGW.0301",
			"Incorrect IAM authentication information: verify aksk signature fail", "r1"), 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start()
			watched := w.watchRunning(jobs)

			w.dli.SetFault(test.fault)
			before := w.dli.Stats()
			throughout(lasts, time.Second, func() {})
			during := w.dli.Stats()
			if n := during.Requests - before.Requests; n > test.most {
				t.Errorf("%d requests during an outage of %v, want at most %d", n, lasts, test.most)
			}

			w.dli.SetFault(nil)
			healed := time.Now()
			asked := map[string]int{}
			for _, job := range watched {
				asked[job.Name] = w.dli.Requests(job.Name)
			}
			left := 0
			if !testenv.Within(75*time.Second, func() bool {
				left = 0
				for name, n := range asked {
					if w.dli.Requests(name) == n {
						left++
					}
				}
				return left == 0
			}) {
				t.Errorf("%d jobs were not polled within %v after the outage", left, time.Since(healed))
			}
			for _, job := range watched {
				w.await(job, wait, "synced", func(job *v1alpha1.DLIJob) bool {
					return condition(job.Status.Conditions, v1alpha1.SyncedCondition).Status == metav1.ConditionTrue
				})
			}
			// A connection that was idle may send its burst in addition to its rate.
			if peak := w.dli.Stats().PeakPerSecond; peak > 2*requestsPerSecond+5 {
				t.Errorf("%d requests in one second, on a connection with %d per second", peak, requestsPerSecond)
			}
		})
	}
}
