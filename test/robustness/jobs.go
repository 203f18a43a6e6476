// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// kindLabel is the label of a DLIJob with the kind of its job.
const kindLabel = "kind"

// jobStream creates DLIJobs of all kinds, requests polls of some completed ones, and deletes
// old ones.
type jobStream struct {
	client     client.Client
	sim        *dlitest.Server
	watcher    *watcher
	namespaces []string
	random     *rand.Rand
	// active is how many jobs run at a time.
	active int

	mu     sync.Mutex
	number int
	ends   map[string]time.Time // when DLI reports the final end
	done   chan struct{}
	cancel context.CancelFunc
}

func (s *jobStream) start(ctx context.Context) {
	ctx, s.cancel = context.WithCancel(ctx)
	s.done, s.ends = make(chan struct{}), map[string]time.Time{}
	go func() {
		defer close(s.done)
		for wait(ctx, 150*time.Millisecond) == nil {
			s.step(ctx)
		}
	}()
}

func (s *jobStream) stop() {
	s.cancel()
	<-s.done
}

// The ages after which DLIJobs are deleted: completed ones, and any.
const (
	oldAge     = 40 * time.Second
	longestAge = 3 * time.Minute
)

// step does the next thing that is due.
func (s *jobStream) step(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	active, now := 0, time.Now()
	var pollable, old []*v1alpha1.DLIJob
	for _, job := range s.watcher.jobs() {
		switch {
		case now.Sub(job.CreationTimestamp.Time) > longestAge,
			job.Labels[kindLabel] == panicking && now.Sub(job.CreationTimestamp.Time) > oldAge,
			job.Status.CompletionTime != nil && now.Sub(job.Status.CompletionTime.Time) > oldAge:
			old = append(old, job)
		case !job.IsCompleted():
			active++
		case job.Annotations[v1alpha1.PollRequestedAtAnnotation] == "" && job.Status.Outcome != v1alpha1.OutcomeNotFound && job.Labels[kindLabel] != missing:
			pollable = append(pollable, job)
		}
	}
	switch {
	case active < s.active:
		s.createAny(ctx)
	case len(pollable) > 0 && s.random.IntN(8) == 0:
		s.pollAgain(ctx, pollable[s.random.IntN(len(pollable))])
	}
	if len(old) > 0 {
		_ = s.client.Delete(ctx, old[s.random.IntN(len(old))])
	}
}

// The kinds of jobs of which the checks know.
const (
	// missing: DLI does not have it.
	missing = "missing"
	// bad: DLI's responses for it are wrong for a while.
	bad = "bad"
	// back: DLI says for a while that it has ended, and then that it runs and ends otherwise.
	back = "back"
	// panicking: its responses make the operator panic.
	panicking = "panicking"
	// burst: a fault created it.
	burst = "burst"
)

// createAny creates a job of a random kind.
func (s *jobStream) createAny(ctx context.Context) {
	kinds := []string{"short", "short", "long", "long", "long", "failing", "cancelled", missing, "late", "interrupted", bad, back, panicking}
	s.number++
	kind := kinds[s.random.IntN(len(kinds))]
	job := anyType(s.random, fmt.Sprintf("%s-%05d", kind, s.number))
	job = s.job(kind, job.Launching(s.seconds(0, 2)))
	if kind == missing {
		s.create(ctx, job, kind, time.Now().Add(notFoundAfter))
		return
	}
	s.sim.SetJob(job)
	s.create(ctx, job, kind, lastEnd(job))
}

// anyType returns a job without a timeline yet. A third are Spark jobs.
func anyType(random *rand.Rand, id string) dlitest.Job {
	if random.IntN(3) == 0 {
		return dlitest.Batch(id)
	}
	return dlitest.Query(id)
}

func (s *jobStream) seconds(from, to float64) time.Duration {
	return seconds(from + s.random.Float64()*(to-from))
}

// job returns a job of a kind.
func (s *jobStream) job(kind string, job dlitest.Job) dlitest.Job {
	switch kind {
	case "short":
		return job.Running(s.seconds(0.5, 4)).Finishes(4)
	case "long":
		return job.Running(s.seconds(20, 90)).Inserts(1<<53+1, 2)
	case "failing":
		return job.Running(s.seconds(1, 20)).Fails("DLI.0002: FileNotFoundException on obs://bucket/table")
	case "cancelled":
		return job.Running(s.seconds(1, 20)).Cancelled("Execution Timeout")
	case "interrupted":
		interrupted := "SCALING"
		if job.Batch {
			interrupted = "RECOVERING"
		}
		return job.Running(s.seconds(1, 10)).Being(interrupted, s.seconds(1, 10)).Running(s.seconds(1, 10)).Finishes(5)
	case "late":
		// DLI does not have it at first.
		job = job.Running(s.seconds(4, 10)).Finishes(3)
		job.Start = time.Now().Add(s.seconds(2, 7))
		return job
	case bad:
		response := &dlitest.Response{Body: "<html>"}
		if s.random.IntN(2) == 0 {
			response = dlitest.DLIError(500, "DLI.0999", "internal error")
		}
		job = job.Running(time.Second)
		job.Timeline = append(job.Timeline, dlitest.Phase{After: s.seconds(3, 4), Response: response},
			dlitest.Phase{After: s.seconds(14, 20), Status: "FINISHED", Rows: new(int64(7))})
		return job
	case back:
		// Reports after the end must be ignored.
		job = job.Running(s.seconds(1, 8)).Finishes(2)
		end := job.Timeline[len(job.Timeline)-1].After
		job.Timeline = append(job.Timeline, dlitest.Phase{After: end + s.seconds(3, 6), Status: "RUNNING"},
			dlitest.Phase{After: end + s.seconds(12, 18), Status: "FAILED", Message: "DLI.0004: changed its mind"})
		return job
	}
	return job.Running(time.Hour)
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

// create creates the DLIJob of a job.
func (s *jobStream) create(ctx context.Context, job dlitest.Job, kind string, ends time.Time) {
	s.mu.Lock()
	s.ends[job.ID] = ends
	s.mu.Unlock()
	_ = s.client.Create(ctx, newDLIJob(s.namespaces[s.number%len(s.namespaces)], job, kind))
}

// newDLIJob returns the DLIJob of a job, with its name.
func newDLIJob(namespace string, job dlitest.Job, kind string) *v1alpha1.DLIJob {
	jobType := v1alpha1.JobTypeSQL
	if job.Batch {
		jobType = v1alpha1.JobTypeSpark
	}
	return &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: job.ID, Labels: map[string]string{kindLabel: kind}},
		Spec:       v1alpha1.DLIJobSpec{JobID: job.ID, Type: jobType},
	}
}

// endOf returns when DLI reports the final end of a job; zero if it is not known.
func (s *jobStream) endOf(id string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends[id]
}

// pollAgain requests a poll of a job whose outcome is recorded, while DLI reports something
// else.
func (s *jobStream) pollAgain(ctx context.Context, job *v1alpha1.DLIJob) {
	other := dlitest.Query(job.Spec.JobID)
	if job.Spec.Type == v1alpha1.JobTypeSpark {
		other = dlitest.Batch(job.Spec.JobID)
	}
	switch s.random.IntN(4) {
	case 0:
		// If a restore of etcd loses the outcome, the job is running again.
		s.mu.Lock()
		s.ends[job.Spec.JobID] = time.Now().Add(time.Hour)
		s.mu.Unlock()
		other = other.Running(time.Hour)
	case 1:
		other = other.Fails("DLI.0005: another end")
	case 2:
		other = other.Finishes(int64(s.random.IntN(100)))
	case 3:
		other = other.Cancelled("also cancelled")
	}
	s.sim.SetJob(other)
	changed := job.DeepCopy()
	metav1.SetMetaDataAnnotation(&changed.ObjectMeta, v1alpha1.PollRequestedAtAnnotation, time.Now().Format(time.RFC3339Nano))
	_ = s.client.Patch(ctx, changed, client.MergeFrom(job))
}

// canary is a job that ends immediately, and its DLIJob once that is created.
type canary struct {
	namespace string
	job       func(id string) dlitest.Job
	created   *v1alpha1.DLIJob
	isShown   bool
}

// canaries prepares jobs that end immediately, one of each type for each namespace: the
// operator has recovered when it shows their end. The returned function creates them if
// necessary, and returns which ones are missing.
func (s *jobStream) canaries() func(ctx context.Context) []string {
	var canaries []*canary
	for _, namespace := range s.namespaces {
		canaries = append(canaries, &canary{namespace: namespace, job: dlitest.Query}, &canary{namespace: namespace, job: dlitest.Batch})
	}
	return func(ctx context.Context) (waiting []string) {
		for _, c := range canaries {
			if c.created == nil {
				job := c.job(fmt.Sprintf("canary-%d", time.Now().UnixNano())).Finishes(1)
				s.sim.SetJob(job)
				if created := newDLIJob(c.namespace, job, "canary"); s.client.Create(ctx, created) == nil {
					c.created = created
				}
			}
			// It may have been deleted in the meantime.
			if c.created != nil && !c.isShown {
				now := s.watcher.job(c.created)
				c.isShown = now != nil && now.IsCompleted()
			}
			if !c.isShown {
				waiting = append(waiting, fmt.Sprintf("a job in %s that ended immediately does not show it", c.namespace))
			}
		}
		return waiting
	}
}

// deleteAll deletes every DLIJob.
func (s *jobStream) deleteAll(ctx context.Context) {
	for _, job := range s.watcher.jobs() {
		_ = s.client.Delete(ctx, job)
	}
}
