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
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// DLI's clock differs from the operator's, but by less than signatures tolerate.
func TestDLIsClockDiffers(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"ahead": 10 * time.Minute, "behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, dlitest.WithClock(func() time.Time { return time.Now().Add(by) }))
			w.options.Schedule.PollIntervalMin = time.Second
			seen := w.record()
			w.start()
			began := time.Now()
			w.runs("job")
			job := w.watch("job", func(job *v1alpha1.DLIJob) { job.Spec.ActiveDeadlineSeconds = new(int64(20)) })
			exceeded := w.await(job, wait, "past its deadline", func(job *v1alpha1.DLIJob) bool {
				return condition(job.Status.Conditions, v1alpha1.ReadyCondition).Reason == v1alpha1.ReasonDeadlineExceeded
			})
			if took := time.Since(began); took < 15*time.Second || took > 30*time.Second {
				t.Errorf("the deadline of 20 s was exceeded after %v", took)
			}
			simulated, _ := w.dli.Job("job")
			want := simulated.Start.Truncate(time.Second)
			if got := exceeded.Status.StartTime; got == nil || !got.Time.Equal(want) {
				t.Errorf("startTime is %v, want %v", got, want)
			}
			states := seen.of("job")
			for _, s := range states {
				if start := s.job.Status.StartTime; start != nil && !start.Time.Equal(want) {
					t.Errorf("startTime was %v", start)
				}
			}
			if len(states) > 8 {
				t.Errorf("the DLIJob was written %d times in %d polls", len(states)-1, w.dli.Requests("job"))
			}
		})
	}
}

// A clock that is too far off for signatures is not reported as wrong credentials, and
// the times in the message do not cause repeated writes.
func TestAWrongClock(t *testing.T) {
	t.Parallel()
	var drift atomic.Int64
	now := func() time.Time { return time.Now().Add(20*time.Minute + time.Duration(drift.Load())*time.Second) }
	w := newWorld(t, dlitest.WithClock(now))
	w.options.Connections.ProbeInterval = 2 * time.Second
	// The response contains the current time, so each one differs.
	gateway := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		drift.Add(2)
		answer.Header().Set("Date", now().UTC().Format(http.TimeFormat))
		w.dli.ServeHTTP(answer, r)
	}))
	t.Cleanup(gateway.Close)
	w.create(w.connection("clocked", gateway.URL))
	w.runs("job")
	seen := w.record()
	w.start()
	job := w.watch("job", of("clocked"))
	clock, amount := regexp.MustCompile(`(?i)clock`), regexp.MustCompile(`\b(20|21) ?m`)
	told := w.await(job, wait, "failed because of the clock", func(job *v1alpha1.DLIJob) bool {
		message := condition(job.Status.Conditions, v1alpha1.SyncedCondition).Message
		return clock.MatchString(message) && amount.MatchString(message)
	})
	synced := condition(told.Status.Conditions, v1alpha1.SyncedCondition)
	if matched := regexp.MustCompile(`(?i)put valid`).MatchString(synced.Message); matched {
		t.Errorf("it is reported as wrong credentials: %s", synced.Message)
	}
	if !testenv.Within(wait, func() bool {
		message := w.ready("clocked").Message
		return clock.MatchString(message) && amount.MatchString(message)
	}) {
		t.Errorf("the DLIConnection does not report it: %+v", w.ready("clocked"))
	}
	asked, written, before := w.dli.Requests("job"), seen.len(), w.ready("clocked")
	throughout(20*time.Second, time.Second, func() {})
	t.Logf("%d probes in 20 s", w.dli.Requests("job")-asked)
	if n := seen.len() - written; n > 1 {
		t.Errorf("the DLIJob was written %d more times", n)
	}
	if after := w.ready("clocked"); after != before {
		t.Errorf("the DLIConnection changed to %+v\nfrom %+v", after, before)
	}
}
