// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// objectFaults are changes by users to the objects that the operator uses.
func objectFaults() []fault {
	return []fault{
		{name: "credentials-expired", group: onObjects, from: seconds(3), to: seconds(12), inject: expired},
		{name: "key-wrong", group: onObjects, from: seconds(32), to: seconds(45), inject: wrongKey},
		{name: "secret-recreated", group: onObjects, from: seconds(1), to: seconds(12), inject: func(ctx context.Context, i injection) error {
			t := i.team()
			return i.recreate(ctx, i.lasts, func() client.Object { return t.secret(t.user) })
		}},
		{name: "connection-recreated", group: onObjects, from: seconds(1), to: seconds(12), inject: func(ctx context.Context, i injection) error {
			t := i.team()
			i.history.Recreated(t.user.ProjectID)
			return i.recreate(ctx, i.lasts, func() client.Object { return i.connection(t) })
		}},
		{name: "job-burst", group: onObjects, from: seconds(1), to: seconds(4), inject: createBurst},
		{name: "other-hand", group: onObjects, from: seconds(6), to: seconds(10), inject: otherHand},
		{name: "crd-recreated", group: onObjects, from: seconds(1), to: seconds(3), last: true, inject: recreateCRD},
	}
}

// expired makes a key expire, and provides the new one some time later.
func expired(ctx context.Context, i injection) error {
	t := i.team()
	t.rotate()
	i.admit()
	err := wait(ctx, i.lasts)
	return errors.Join(err, i.setKey(ctx, t, t.user))
}

// wrongKey puts a wrong secret key into the Secret, for long enough to be read, also by
// another process.
func wrongKey(ctx context.Context, i injection) error {
	t := i.team()
	wrong := t.user
	wrong.SecretAccessKey = "mistyped"
	err := errors.Join(i.setKey(ctx, t, wrong), wait(ctx, i.lasts/2))
	if i.alone {
		i.proxies((*operator).kill)
	}
	return errors.Join(err, wait(ctx, i.lasts/2), i.setKey(ctx, t, t.user))
}

func (i injection) setKey(ctx context.Context, t *team, user dlitest.User) error {
	return insist(ctx, "changing credentials", func() error { return i.client.Update(ctx, t.secret(user)) })
}

// createBurst creates many DLIJobs at once; repair deletes them.
func createBurst(ctx context.Context, i injection) error {
	limit := make(chan struct{}, 8)
	for k := range 100 + i.random.IntN(100) {
		job := anyType(i.random, fmt.Sprintf("burst-%d-%03d", time.Now().UnixNano(), k)).Running(time.Hour)
		i.dli.sim.SetJob(job)
		limit <- struct{}{}
		go func() {
			defer func() { <-limit }()
			_ = i.client.Create(ctx, newDLIJob(i.teams[k%len(i.teams)].namespace, job, burst))
		}()
	}
	for range cap(limit) {
		limit <- struct{}{}
	}
	return wait(ctx, i.lasts)
}

// otherHand changes the status of some jobs: it clears that of completed ones and forges
// figures of others. Without other faults it also forges outcomes, which only a process
// that saw the change can detect.
func otherHand(ctx context.Context, i injection) error {
	end := time.Now().Add(i.lasts)
	for time.Now().Before(end) {
		if jobs := i.watcher.jobs(); len(jobs) > 0 {
			job := jobs[i.random.IntN(len(jobs))].DeepCopy()
			i.forge(job)
			i.history.ByOtherHand(job.UID, job.Status)
			_ = i.client.Status().Update(ctx, job, client.FieldOwner("kubectl"))
		}
		if err := wait(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (i injection) forge(job *v1alpha1.DLIJob) {
	switch {
	case job.IsCompleted():
		job.Status = v1alpha1.DLIJobStatus{ObservedGeneration: -1}
	case i.alone && i.random.IntN(2) == 0:
		job.Status.Outcome = v1alpha1.OutcomeSucceeded
		job.Status.JobStatus = "FINISHED"
	default:
		job.Status.ResultCount = new(i.random.Int64N(1 << 40))
		job.Status.JobStatus = "FORGED"
	}
}

// recreateCRD deletes the CRD of DLIJobs, and so all of them.
func recreateCRD(ctx context.Context, i injection) error {
	current := func() (*unstructured.Unstructured, error) {
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		return crd, i.client.Get(ctx, client.ObjectKey{Name: "dlijobs." + v1alpha1.GroupVersion.Group}, crd)
	}
	crd, err := current()
	if err != nil {
		return err
	}
	if err := i.client.Delete(ctx, crd); err != nil {
		return err
	}
	if !until(ctx, time.Minute, func() bool { _, err := current(); return apierrors.IsNotFound(err) }) {
		return errors.New("the CRD is not deleted")
	}
	if err := wait(ctx, i.lasts); err != nil {
		return err
	}
	crd.SetResourceVersion("")
	crd.SetUID("")
	unstructured.RemoveNestedField(crd.Object, "status")
	return insist(ctx, "creating the CRD", func() error { return i.client.Create(ctx, crd.DeepCopy()) })
}
