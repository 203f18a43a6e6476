// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// statement is of typical length.
var statement = "insert overwrite table sales.daily select " + strings.Repeat("sum(case when region = 'north' then amount else 0 end), ", 5) + "d from sales.raw group by d"

func nameOf(i int) string { return fmt.Sprintf("bench-%07d", i) }

func (w *world) namespaceOf(i int) string { return fmt.Sprintf("bench-%d", i%w.connections) }

// createConnections creates a namespace, a Secret and a DLIConnection named
// default for each connection.
func (w *world) createConnections(ctx context.Context) error {
	user := dlitest.SampleUser()
	var bundle []byte
	if w.caFile != "" {
		var err error
		if bundle, err = os.ReadFile(w.caFile); err != nil {
			return err
		}
	}
	for i := range w.connections {
		namespace := w.namespaceOf(i)
		for _, object := range []client.Object{
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
			&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "dli"},
				StringData: map[string]string{"accessKeyID": user.AccessKeyID, "secretAccessKey": user.SecretAccessKey},
			},
			&v1alpha1.DLIConnection{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: v1alpha1.DefaultConnectionName},
				Spec: v1alpha1.DLIConnectionSpec{
					Endpoint: w.endpoint, ProjectID: user.ProjectID,
					Credentials: v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "dli"}},
					CABundle:    string(bundle),
					RateLimit:   v1alpha1.RateLimit{RequestsPerSecond: int32(w.rate), Burst: int32(w.rate)},
				},
			},
		} {
			if err := w.client.Create(ctx, object); err != nil {
				return err
			}
		}
	}
	return nil
}

// grow creates long-running jobs until there are n, spread evenly over at least the
// given time, so that their polls are spread too.
func (w *world) grow(ctx context.Context, n int, least time.Duration) error {
	first, now := w.jobs.len(), time.Now()
	if err := w.tellMany(ctx, first, n, func(i int) dlitest.Job {
		return w.job(i, w.jobs.add(now.Add(-w.ages.any()), false).start).Running(0)
	}); err != nil {
		return err
	}
	began := time.Now()
	pause := least / time.Duration(n-first)
	return inParallel(16, first, n, func(i int) error {
		if err := wait(ctx, time.Until(began.Add(time.Duration(i-first)*pause))); err != nil {
			return err
		}
		return w.create(ctx, i)
	})
}

// growEnded creates n jobs that ended before they are watched.
func (w *world) growEnded(ctx context.Context, n int) error {
	first, start := w.jobs.len(), time.Now().Add(-time.Hour)
	const took = 30 * time.Minute
	if err := w.tellMany(ctx, first, first+n, func(i int) dlitest.Job {
		w.jobs.add(start, false)
		w.jobs.willChange(i, start.Add(took))
		return w.job(i, start).Running(took).Finishes(4)
	}); err != nil {
		return err
	}
	return inParallel(16, first, first+n, func(i int) error { return w.create(ctx, i) })
}

// addOthers adds active jobs to the project that have no DLIJob.
func (w *world) addOthers(ctx context.Context, n int) error {
	start := time.Now().Add(-time.Hour)
	return w.tellMany(ctx, 0, n, func(i int) dlitest.Job { return query(fmt.Sprintf("other-%d", i), start).Running(0) })
}

// tellMany adds the jobs from first to last-1 to the simulator.
func (w *world) tellMany(ctx context.Context, first, last int, job func(i int) dlitest.Job) error {
	const batch = 1000
	for ; first < last; first += batch {
		scripts := make([]dlitest.Job, 0, batch)
		for i := first; i < min(first+batch, last); i++ {
			scripts = append(scripts, job(i))
		}
		if err := w.tell(ctx, scripts); err != nil {
			return err
		}
	}
	return nil
}

// isSpark reports whether a job is a Spark job. They are spread evenly, over the connections
// too.
func (l load) isSpark(i int) bool {
	sparkJobs := func(connections int) int { return int(l.spark * float64(connections)) }
	return sparkJobs(i/l.connections+1) > sparkJobs(i/l.connections)
}

// job returns a job in the simulator that has started, without a timeline yet.
func (w *world) job(i int, start time.Time) dlitest.Job {
	if w.isSpark(i) {
		job := dlitest.Batch(nameOf(i))
		job.Start = start
		return job
	}
	return query(nameOf(i), start)
}

func query(id string, start time.Time) dlitest.Job {
	job := dlitest.Query(id)
	job.Start, job.Statement = start, statement
	return job
}

func (w *world) create(ctx context.Context, i int) error {
	w.jobs.created(i, time.Now())
	jobType := v1alpha1.JobTypeSQL
	if w.isSpark(i) {
		jobType = v1alpha1.JobTypeSpark
	}
	return w.client.Create(ctx, &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespaceOf(i), Name: nameOf(i)},
		Spec:       v1alpha1.DLIJobSpec{JobID: nameOf(i), Type: jobType},
	})
}

// endSome ends n running jobs, each at a random time before the given one.
func (w *world) endSome(ctx context.Context, n int, until time.Time) error {
	scripts := make([]dlitest.Job, 0, n)
	begin := time.Now().Add(time.Second)
	for _, i := range w.jobs.running(n) {
		end := begin.Add(rand.N(max(time.Second, until.Sub(begin))))
		start := w.jobs.willChange(i, end)
		scripts = append(scripts, w.job(i, start).Running(end.Sub(start)).Finishes(4))
	}
	return w.tell(ctx, scripts)
}

// shortJobs creates n jobs that launch, run and end within 20 seconds, spread evenly
// until the given time.
func (w *world) shortJobs(ctx context.Context, n int, until time.Time) error {
	pause := max(0, time.Until(until)) / time.Duration(n)
	for range n {
		launching := 3*time.Second + rand.N(time.Second)
		running := 6*time.Second + rand.N(9*time.Second)
		now := time.Now()
		job := w.jobs.add(now, true)
		script := w.job(job.index, now).Launching(launching).Running(running).Finishes(4)
		if err := w.tell(ctx, []dlitest.Job{script}); err != nil {
			return err
		}
		if err := w.create(ctx, job.index); err != nil {
			return err
		}
		w.jobs.willBecome(job.index, now.Add(launching))
		w.jobs.willChange(job.index, now.Add(launching+running))
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// inParallel calls do for each number from first to last-1 and returns the
// first error.
func inParallel(workers, first, last int, do func(int) error) error {
	numbers, failed := make(chan int), make(chan error, workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range numbers {
				if err := do(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
	for i := first; i < last && err == nil; i++ {
		select {
		case numbers <- i:
		case err = <-failed:
		}
	}
	close(numbers)
	group.Wait()
	if err == nil && len(failed) > 0 {
		err = <-failed
	}
	return err
}
