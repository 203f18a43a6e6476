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

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// A DLIConnection and its jobs report the same failure.
func TestConnectionsAndJobsAgree(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		second *dlitest.Response
		// times is the number of such responses after which they are compared.
		times int
		probe time.Duration
	}{
		"rejected, then unreachable": {&dlitest.Response{Reset: true}, 5, time.Second},
		"rejected, then throttled": {dlitest.GatewayError(429, "APIGW.0308",
			"The throttling threshold has been reached", "r2"), 1, 24 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			often(w)
			w.options.Connections.ProbeInterval = test.probe
			w.runs("job")
			job := w.watch("job")
			w.start()
			w.awaitReason(job, v1alpha1.ReasonJobRunning)
			w.dli.SetFault(dlitest.GatewayError(401, "APIGW.0301", "Incorrect IAM authentication information: verify aksk signature fail", "r1"))
			if !testenv.Within(wait, func() bool { return w.dli.Stats().ByCode[401] > 0 }) {
				t.Fatal("DLI never responded with 401")
			}
			w.dli.SetFault(test.second)
			// The operator may have reached its limit of attempts.
			asked := w.dli.Requests("job")
			testenv.Within(40*time.Second, func() bool { return w.dli.Requests("job") >= asked+test.times })
			told := func() (connection, reason string) {
				return w.ready("default").Reason, condition(w.reload(job).Status.Conditions, v1alpha1.SyncedCondition).Reason
			}
			// They are written one after the other, so wait until both are stable.
			agreed := time.Now()
			if !testenv.Within(wait, func() bool {
				if connection, reason := told(); !agree(connection, reason) {
					agreed = time.Now()
				}
				return time.Now().After(agreed.Add(2 * time.Second))
			}) {
				connection, reason := told()
				t.Errorf("the DLIConnection reports %s, its job %s", connection, reason)
			}
		})
	}
}

// agree reports whether a DLIConnection and a job that uses it have matching reasons.
// For an open circuit, they differ.
func agree(connection, job string) bool {
	return connection == job || connection == v1alpha1.ReasonCircuitOpen && job == v1alpha1.ReasonEndpointUnreachable
}
