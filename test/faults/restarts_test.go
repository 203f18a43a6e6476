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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// Timeouts elapse no matter how often the operator restarts.
func TestTimeoutsSurviveRestarts(t *testing.T) {
	t.Parallel()
	t.Run("a job that does not exist", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		often(w)
		w.options.Schedule.NotFoundAfter = 12 * time.Second
		job := w.watch("missing")
		// Long enough for three polls, but shorter than the twelve seconds.
		if !w.restarting(10*time.Second, 80*time.Second, func() bool { return w.reload(job).Status.Outcome == v1alpha1.OutcomeNotFound }) {
			t.Errorf("after %d responses that it does not exist: %s", w.dli.Requests("missing"), says(w.reload(job)))
		}
	})
	t.Run("a connection that does not exist", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.options.Schedule.StallAfter = 10 * time.Second
		job := w.watch("job", of("missing"))
		if !w.restarting(4*time.Second, time.Minute, func() bool {
			return condition(w.reload(job).Status.Conditions, v1alpha1.StalledCondition).Status == metav1.ConditionTrue
		}) {
			t.Errorf("not stalled: %s", says(w.reload(job)))
		}
	})
}

// Six rejected signatures in a row lock a key for everyone; the operator tries at most
// five times in five minutes.
func TestLockoutSurvivesRestarts(t *testing.T) {
	t.Parallel()
	watched := 100 * time.Second
	if testing.Short() {
		watched = 45 * time.Second
	}
	rejected := func(w *world) int { return int(w.dli.Stats().ByCode[401]) }
	newWorld := func(t *testing.T) *world {
		t.Helper()
		w := newWorld(t)
		wrong := dlitest.SampleUser()
		wrong.SecretAccessKey = "wrong"
		secret := w.secret("credentials", wrong)
		if err := w.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		return w
	}
	t.Run("one operator", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.runs("job")
		job := w.watch("job")
		if w.restarting(6*time.Second, watched, func() bool { return rejected(w) > 5 }) {
			t.Errorf("%d requests with a wrong key", rejected(w))
		}
		if rejected(w) == 0 {
			t.Fatal("DLI received no request")
		}
		w.start()
		right := w.secret("credentials", dlitest.SampleUser())
		if err := w.Update(t.Context(), right); err != nil {
			t.Fatal(err)
		}
		w.awaitReason(job, v1alpha1.ReasonJobRunning)
	})
	t.Run("two operators that share the jobs", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		var shards []*world
		for _, name := range []string{"a", "b"} {
			id := "job-" + name
			w.runs(id)
			w.watch(id, func(job *v1alpha1.DLIJob) { metav1.SetMetaDataLabel(&job.ObjectMeta, "shard", name) })
			shard := *w
			shard.selector = labels.SelectorFromSet(labels.Set{"shard": name})
			shard.options.ReportConnections = name == "a"
			shards = append(shards, &shard)
		}
		for began := time.Now(); time.Since(began) < watched && rejected(w) <= 5; {
			a, b := shards[0].start(), shards[1].start()
			testenv.Within(10*time.Second, func() bool { return rejected(w) > 5 })
			a.stop()
			b.stop()
		}
		if n := rejected(w); n > 5 || n == 0 {
			t.Errorf("%d requests with a wrong key: %s", n, fmt.Sprint(w.dli.Stats().AuthFailures))
		}
	})
}
