// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/robustness/check"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// leaseNamespace is the namespace of the lease.
const leaseNamespace = "default"

// watcher records every version of the DLIJobs, the DLIConnections and the lease.
type watcher struct {
	history *check.History
	feeds   []*feed
	stop    func()

	mu      sync.Mutex
	current map[types.NamespacedName]*v1alpha1.DLIJob
}

func watch(ctx context.Context, history *check.History, config *rest.Config) (*watcher, error) {
	// Without a timeout, because watches are long-lived.
	c, err := client.NewWithWatch(config, client.Options{Scheme: testenv.Scheme()})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	w := &watcher{history: history, stop: stop, current: map[types.NamespacedName]*v1alpha1.DLIJob{}}
	w.feeds = []*feed{
		{client: c, kind: v1alpha1.GroupVersion.WithKind("DLIJob"), take: w.takeJob},
		{client: c, kind: v1alpha1.GroupVersion.WithKind("DLIConnection"), take: w.takeConnection},
		{client: c, kind: coordinationv1.SchemeGroupVersion.WithKind("Lease"), take: w.takeLease},
	}
	for _, f := range w.feeds {
		go f.run(ctx)
	}
	return w, nil
}

// pause ignores all versions until resume.
func (w *watcher) pause() {
	for _, f := range w.feeds {
		f.pause()
	}
}

func (w *watcher) resume() {
	for _, f := range w.feeds {
		f.resume()
	}
}

func (w *watcher) takeJob(object *unstructured.Unstructured, deleted bool) {
	job := &v1alpha1.DLIJob{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, job); err != nil {
		return
	}
	kstatus := "unreadable"
	if result, err := status.Compute(object); err == nil {
		kstatus = result.Status.String()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key := client.ObjectKeyFromObject(job)
	if deleted {
		if now := w.current[key]; now != nil && now.UID == job.UID {
			delete(w.current, key)
		}
		w.history.Gone(job.UID)
		return
	}
	w.current[key] = job
	w.history.Saw(time.Now(), job, kstatus)
}

func (w *watcher) takeConnection(object *unstructured.Unstructured, deleted bool) {
	connection := &v1alpha1.DLIConnection{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, connection); err == nil && !deleted {
		w.history.SawConnection(time.Now(), connection)
	}
}

// takeLease records who holds the lease: its identity is made of the host's name, the pod's
// UID and a random part.
func (w *watcher) takeLease(object *unstructured.Unstructured, deleted bool) {
	l := &coordinationv1.Lease{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, l); err != nil || deleted ||
		l.Namespace != leaseNamespace || l.Spec.HolderIdentity == nil || l.Spec.RenewTime == nil {
		return
	}
	replica := ""
	if parts := strings.Split(*l.Spec.HolderIdentity, "_"); len(parts) > 2 {
		replica = parts[len(parts)-2]
	}
	w.history.Leased(replica, l.Spec.RenewTime.Time)
}

// job returns the latest version of a DLIJob; nil if there is none.
func (w *watcher) job(job *v1alpha1.DLIJob) *v1alpha1.DLIJob {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current[client.ObjectKeyFromObject(job)]
}

// jobs returns the latest versions of all DLIJobs.
func (w *watcher) jobs() []*v1alpha1.DLIJob {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.current))
}
