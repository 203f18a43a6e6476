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

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// stream creates DLIJobs of all kinds, requests polls of some completed ones, and deletes
// old ones.
type stream struct {
	world  *world
	random *rand.Rand

	mu     sync.Mutex
	number int
	lives  map[string]life
	done   chan struct{}
	cancel context.CancelFunc
}

// life is what is known about a job in advance.
type life struct {
	kind string
	// ends is when DLI reports the final end.
	ends time.Time
	// bad is set if DLI's responses for it are wrong.
	bad bool
}

func newStream(w *world) *stream {
	return &stream{world: w, random: rand.New(rand.NewPCG(w.seed, 1)), lives: map[string]life{}}
}

func (s *stream) start(ctx context.Context) {
	ctx, s.cancel = context.WithCancel(ctx)
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		for wait(ctx, 150*time.Millisecond) == nil {
			s.step(ctx)
		}
	}()
}

func (s *stream) stop() {
	s.cancel()
	<-s.done
}

// step does the next thing that is due.
func (s *stream) step(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	jobs := s.world.watcher.jobs()
	active, now := 0, time.Now()
	var again, old []*v1alpha1.DLIJob
	for _, job := range jobs {
		switch {
		case !job.IsCompleted():
			active++
		case job.Status.CompletionTime != nil && now.Sub(job.Status.CompletionTime.Time) > 40*time.Second:
			old = append(old, job)
		case job.Annotations[v1alpha1.PollRequestedAtAnnotation] == "" && job.Status.Outcome != v1alpha1.OutcomeNotFound:
			again = append(again, job)
		}
	}
	switch {
	case active < s.world.active:
		job, l := s.any()
		s.create(ctx, job, l)
	case len(again) > 0 && s.random.IntN(8) == 0:
		s.askAgain(ctx, again[s.random.IntN(len(again))])
	}
	if len(old) > 0 {
		_ = s.world.client.Delete(ctx, old[s.random.IntN(len(old))])
	}
}

// any returns a job of a random kind, and its future.
func (s *stream) any() (dlitest.Job, life) {
	s.mu.Lock()
	s.number++
	id := fmt.Sprintf("job-%05d", s.number)
	s.mu.Unlock()
	seconds := func(from, to float64) time.Duration {
		return time.Duration((from + s.random.Float64()*(to-from)) * float64(time.Second))
	}
	job := dlitest.Query(id).Launching(seconds(0, 2))
	bad := false
	kinds := []string{"short", "short", "long", "long", "failing", "cancelled", "missing", "late", "bad", "back"}
	kind := kinds[s.random.IntN(len(kinds))]
	switch kind {
	case "short":
		job = job.Running(seconds(0.5, 4)).Finishes(4)
	case "long":
		job = job.Running(seconds(20, 90)).Inserts(1<<53+1, 2)
	case "failing":
		job = job.Running(seconds(1, 20)).Fails("DLI.0002: FileNotFoundException on obs://bucket/table")
	case "cancelled":
		job = job.Running(seconds(1, 20)).Cancelled("Execution Timeout")
	case "missing":
		return dlitest.Job{ID: id}, life{kind: kind, ends: time.Now().Add(notFoundAfter)}
	case "late":
		// DLI does not have it at first.
		delay := seconds(2, 7)
		job = job.Running(seconds(4, 10)).Finishes(3)
		job.Start = time.Now().Add(delay)
	case "bad":
		bad = true
		answer := &dlitest.Response{Body: "<html>"}
		if s.random.IntN(2) == 0 {
			answer = dlitest.DLIError(500, "DLI.0999", "internal error")
		}
		job = job.Running(time.Second)
		job.Timeline = append(job.Timeline, dlitest.Phase{After: seconds(3, 4), Response: answer})
		job = withEnd(job, seconds(14, 20))
	case "back":
		// Reports after the end must be ignored.
		job = job.Running(seconds(1, 8)).Finishes(2)
		end := job.Timeline[len(job.Timeline)-1].After
		job.Timeline = append(job.Timeline, dlitest.Phase{After: end + seconds(3, 6), Status: "RUNNING"},
			dlitest.Phase{After: end + seconds(12, 18), Status: "FAILED", Message: "DLI.0004: changed its mind"})
	}
	return job, life{kind: kind, ends: lastEnd(job), bad: bad}
}

func withEnd(job dlitest.Job, after time.Duration) dlitest.Job {
	rows := int64(7)
	job.Timeline = append(job.Timeline, dlitest.Phase{After: after, Status: "FINISHED", Rows: &rows})
	return job
}

// lastEnd returns when a job that starts now, or later, reaches its final end.
func lastEnd(job dlitest.Job) time.Time {
	start := job.Start
	if start.IsZero() {
		start = time.Now()
	}
	last := time.Duration(0)
	for _, p := range job.Timeline {
		last = max(last, p.After)
	}
	return start.Add(last)
}

// create starts a job in DLI, and creates its DLIJob.
func (s *stream) create(ctx context.Context, job dlitest.Job, l life) {
	if len(job.Timeline) > 0 {
		s.world.dli.sim.SetJob(job)
	}
	s.mu.Lock()
	s.lives[job.ID] = l
	team := s.world.teams[s.number%len(s.world.teams)]
	s.mu.Unlock()
	_ = s.world.client.Create(ctx, &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: team.namespace, Name: job.ID, Labels: map[string]string{"kind": l.kind}},
		Spec:       v1alpha1.DLIJobSpec{JobID: job.ID},
	})
}

func (s *stream) life(job string) life {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lives[job]
}

// askAgain requests a poll of a job whose outcome is recorded, while DLI reports something
// else.
func (s *stream) askAgain(ctx context.Context, job *v1alpha1.DLIJob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	other := dlitest.Query(job.Spec.JobID)
	switch s.random.IntN(4) {
	case 0:
		// If a restore of etcd loses the outcome, the job is running again.
		s.lives[job.Spec.JobID] = life{kind: "again", ends: time.Now().Add(time.Hour)}
		other = other.Running(time.Hour)
	case 1:
		other = other.Fails("DLI.0005: another end")
	case 2:
		other = other.Finishes(int64(s.random.IntN(100)))
	case 3:
		other = other.Cancelled("also cancelled")
	}
	s.world.dli.sim.SetJob(other)
	changed := job.DeepCopy()
	metav1.SetMetaDataAnnotation(&changed.ObjectMeta, v1alpha1.PollRequestedAtAnnotation, time.Now().Format(time.RFC3339Nano))
	_ = s.world.client.Patch(ctx, changed, client.MergeFrom(job))
}

// canaries prepares jobs that end immediately, one for each team: the operator has
// recovered when it shows their end. The returned function creates them if necessary,
// and returns which ones are missing.
func (s *stream) canaries() func(ctx context.Context) []string {
	created, shown := map[string]*v1alpha1.DLIJob{}, map[string]bool{}
	return func(ctx context.Context) (waiting []string) {
		for _, team := range s.world.teams {
			job := created[team.namespace]
			if job == nil {
				id := fmt.Sprintf("canary-%d", time.Now().UnixNano())
				s.world.dli.sim.SetJob(dlitest.Query(id).Finishes(1))
				job = &v1alpha1.DLIJob{
					ObjectMeta: metav1.ObjectMeta{Namespace: team.namespace, Name: id, Labels: map[string]string{"kind": "canary"}},
					Spec:       v1alpha1.DLIJobSpec{JobID: id},
				}
				if s.world.client.Create(ctx, job) == nil {
					created[team.namespace] = job
				}
			}
			// It may have been deleted in the meantime.
			if now := s.world.watcher.job(job); now != nil && now.IsCompleted() {
				shown[team.namespace] = true
			}
			if !shown[team.namespace] {
				waiting = append(waiting, fmt.Sprintf("%s/%s, which ended immediately, does not show it", job.Namespace, job.Name))
			}
		}
		return waiting
	}
}

// deleteAll deletes every DLIJob.
func (s *stream) deleteAll(ctx context.Context) error {
	for _, job := range s.world.watcher.jobs() {
		if err := s.world.client.Delete(ctx, job); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
