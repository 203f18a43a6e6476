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
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/robustness/check"
)

// objectFaults are changes by users to the objects that the operator uses.
func objectFaults() []fault {
	return []fault{
		{name: "credentials-expired", group: onObjects, from: seconds(3), to: seconds(12), inject: expired},
		{name: "key-wrong", group: onObjects, from: seconds(32), to: seconds(45), inject: wrongKey},
		{name: "secret-recreated", group: onObjects, from: seconds(1), to: seconds(12), inject: func(ctx context.Context, i injection) error {
			t := i.team()
			i.granted(t)
			return i.recreate(ctx, i.lasts, t.secret(t.user), t.secret(t.user))
		}},
		{name: "connection-recreated", group: onObjects, from: seconds(1), to: seconds(12), inject: func(ctx context.Context, i injection) error {
			t := i.team()
			defer i.granted(t)
			return i.recreate(ctx, i.lasts, i.connection(t), i.connection(t))
		}},
		{name: "job-burst", group: onObjects, from: seconds(1), to: seconds(4), inject: burst},
		{name: "other-hand", group: onObjects, from: seconds(6), to: seconds(10), inject: otherHand},
		{name: "crd-recreated", group: onObjects, from: seconds(1), to: seconds(3), last: true, inject: recreateCRD},
	}
}

// team is a random team.
func (i injection) team() *team { return i.teams[i.random.IntN(len(i.teams))] }

// expired makes a key expire, and provides the new one some time later.
func expired(ctx context.Context, i injection) error {
	t := i.team()
	t.rotate()
	i.admit()
	err := wait(ctx, i.lasts)
	return errors.Join(err, i.insist(ctx, "renewing credentials", func() error { return i.client.Update(ctx, t.secret(t.user)) }))
}

// wrongKey puts a wrong secret key into the Secret, for long enough to be read.
func wrongKey(ctx context.Context, i injection) error {
	t := i.team()
	wrong := t.user
	wrong.SecretAccessKey = "mistyped"
	err := i.insist(ctx, "changing credentials", func() error { return i.client.Update(ctx, t.secret(wrong)) })
	err = errors.Join(err, wait(ctx, i.lasts))
	return errors.Join(err, i.insist(ctx, "changing credentials", func() error { return i.client.Update(ctx, t.secret(t.user)) }))
}

// recreate deletes an object and recreates it some time later.
func (w *world) recreate(ctx context.Context, after time.Duration, old, again client.Object) error {
	err := w.insist(ctx, "deleting "+old.GetName(), func() error { return client.IgnoreNotFound(w.client.Delete(ctx, old)) })
	err = errors.Join(err, wait(ctx, after))
	return errors.Join(err, w.insist(ctx, "creating "+again.GetName(), func() error {
		err := w.client.Create(ctx, again)
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}))
}

// burst creates many DLIJobs at once and deletes them.
func burst(ctx context.Context, i injection) error {
	n := 100 + i.random.IntN(100)
	limit := make(chan struct{}, 8)
	for k := range n {
		id := fmt.Sprintf("burst-%d-%03d", time.Now().UnixNano(), k)
		i.dli.sim.SetJob(dlitest.Query(id).Running(time.Hour))
		limit <- struct{}{}
		go func() {
			defer func() { <-limit }()
			_ = i.client.Create(ctx, &v1alpha1.DLIJob{
				ObjectMeta: metav1.ObjectMeta{Namespace: i.teams[k%len(i.teams)].namespace, Name: id, Labels: map[string]string{"kind": "burst"}},
				Spec:       v1alpha1.DLIJobSpec{JobID: id},
			})
		}()
	}
	for range cap(limit) {
		limit <- struct{}{}
	}
	return errors.Join(wait(ctx, i.lasts), i.endBursts(ctx))
}

func (w *world) endBursts(ctx context.Context) error {
	for _, t := range w.teams {
		if err := w.insist(ctx, "deleting DLIJobs", func() error {
			return w.client.DeleteAllOf(ctx, &v1alpha1.DLIJob{}, client.InNamespace(t.namespace), client.MatchingLabels{"kind": "burst"})
		}); err != nil {
			return err
		}
	}
	return nil
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
			i.judge(func(h *check.History) { h.ByOtherHand(job.UID, job.Status) })
			_ = i.client.Status().Update(ctx, job)
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
	again := crd.DeepCopy()
	again.SetResourceVersion("")
	again.SetUID("")
	unstructured.RemoveNestedField(again.Object, "status")
	return i.insist(ctx, "creating the CRD", func() error { return i.client.Create(ctx, again) })
}

// repair fixes what a restore of etcd may have left behind: credentials that DLI no longer
// accepts, and deleted objects.
func (w *world) repair(ctx context.Context) error {
	for _, t := range w.teams {
		secret := &corev1.Secret{}
		err := w.insist(ctx, "looking for credentials", func() error {
			return client.IgnoreNotFound(w.client.Get(ctx, client.ObjectKeyFromObject(t.secret(t.user)), secret))
		})
		if err != nil {
			return err
		}
		switch {
		case secret.UID == "":
			err = w.recreate(ctx, 0, t.secret(t.user), t.secret(t.user))
		case string(secret.Data["accessKeyID"]) != t.user.AccessKeyID || string(secret.Data["secretAccessKey"]) != t.user.SecretAccessKey:
			err = w.insist(ctx, "changing credentials", func() error { return w.client.Update(ctx, t.secret(t.user)) })
		}
		if err != nil {
			return err
		}
		if err := w.insist(ctx, "looking for a connection", func() error {
			err := w.client.Create(ctx, w.connection(t))
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		}); err != nil {
			return err
		}
	}
	return w.endBursts(ctx)
}
