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

// An edit takes effect immediately, and leaves everything else unchanged.
func TestEdits(t *testing.T) {
	t.Parallel()
	t.Run("a shorter interval", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.runs("job")
		job := w.watch("job", every(3600))
		w.start()
		w.awaitReason(job, v1alpha1.ReasonJobRunning)
		asked := w.dli.Requests("job")
		change(w, job, every(2))
		if !testenv.Within(20*time.Second, func() bool { return w.dli.Requests("job") >= asked+4 }) {
			t.Errorf("the job was polled %d times in 20 s, at an interval of 2 s", w.dli.Requests("job")-asked)
		}
	})
	t.Run("a connection that waits because of Retry-After", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, dlitest.WithRequestLog())
		throttled := dlitest.GatewayError(429, "APIGW.0308", "The throttling threshold has been reached", "r1")
		throttled.Header.Set("Retry-After", "30")
		w.dli.SetResponse("job", throttled)
		job := w.watch("job")
		w.start()
		w.awaitReason(job, v1alpha1.ReasonRateLimited)
		w.runs("job")
		w.dli.SetResponse("job", nil)
		change(w, w.connection("default", ""), func(c *v1alpha1.DLIConnection) { c.Spec.RateLimit.Burst = 7 })
		w.awaitRequests("job", 2)
		log := w.dli.Log("job")
		if waited := log[1].Sub(log[0]); waited < 29*time.Second {
			t.Errorf("the job was polled again after %v, despite Retry-After: 30", waited)
		}
	})
}
