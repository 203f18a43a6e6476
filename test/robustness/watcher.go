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
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// watcher observes every version of every DLIJob, directly from the API server.
type watcher struct {
	world  *world
	client client.WithWatch
	stop   func()

	mu      sync.Mutex
	current map[types.NamespacedName]*v1alpha1.DLIJob
	// cancel ends the session; no session is started while paused.
	cancel  context.CancelFunc
	paused  bool
	version string
}

func watch(ctx context.Context, w *world, config *rest.Config) (*watcher, error) {
	// Without a timeout, because watches are long-lived.
	c, err := client.NewWithWatch(config, client.Options{Scheme: testenv.Scheme()})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	f := &watcher{world: w, client: c, stop: stop, current: map[types.NamespacedName]*v1alpha1.DLIJob{}}
	go func() {
		for ctx.Err() == nil {
			f.session(ctx)
			_ = wait(ctx, 50*time.Millisecond)
		}
	}()
	return f, nil
}

// pause ends the session; none is started until resume, which lists again. It is called
// before the API server is restored to an earlier state.
func (f *watcher) pause() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused, f.version = true, ""
	if f.cancel != nil {
		f.cancel()
	}
}

func (f *watcher) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused = false
}

func list(version string) (*unstructured.UnstructuredList, *client.ListOptions) {
	l := &unstructured.UnstructuredList{}
	l.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("DLIJobList"))
	return l, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}}
}

// session continues the watch from where the last one ended, until something ends it.
func (f *watcher) session(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.mu.Lock()
	f.cancel = cancel
	version, paused := f.version, f.paused
	f.mu.Unlock()
	if paused {
		return
	}
	if version == "" {
		items, options := list("")
		bounded, done := context.WithTimeout(ctx, 5*time.Second)
		err := f.client.List(bounded, items, options)
		done()
		if err != nil || !f.replace(items) {
			return
		}
		version = items.GetResourceVersion()
	}
	items, options := list(version)
	events, err := f.client.Watch(ctx, items, options)
	if err != nil {
		f.goOn("") // perhaps the version is too old
		return
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		object, ok := e.Object.(*unstructured.Unstructured)
		if !ok || e.Type == kwatch.Error {
			f.goOn("")
			return
		}
		if !f.take(object, e.Type == kwatch.Deleted) {
			return
		}
	}
}

func (f *watcher) goOn(version string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.paused {
		f.version = version
	}
}

// replace handles a list; false if it is outdated.
func (f *watcher) replace(items *unstructured.UnstructuredList) bool {
	listed := map[types.NamespacedName]bool{}
	for i := range items.Items {
		listed[client.ObjectKeyFromObject(&items.Items[i])] = true
		if !f.take(&items.Items[i], false) {
			return false
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, job := range f.current {
		if !listed[key] {
			delete(f.current, key)
			f.world.gone(job.UID)
		}
	}
	f.version = items.GetResourceVersion()
	return !f.paused
}

// take checks one version. It holds the lock, so that nothing from before a restore is
// checked after it.
func (f *watcher) take(object *unstructured.Unstructured, deleted bool) bool {
	job := &v1alpha1.DLIJob{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, job); err != nil {
		return true
	}
	word := "unreadable"
	if result, err := status.Compute(object); err == nil {
		word = result.Status.String()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paused {
		return false
	}
	key := client.ObjectKeyFromObject(job)
	f.version = job.ResourceVersion
	if deleted {
		delete(f.current, key)
		f.world.gone(job.UID)
		return true
	}
	if was := f.current[key]; was != nil && was.UID != job.UID {
		f.world.gone(was.UID)
	}
	f.current[key] = job
	f.world.saw(time.Now(), job, word)
	return true
}

// job returns the latest version of a DLIJob; nil if there is none.
func (f *watcher) job(job *v1alpha1.DLIJob) *v1alpha1.DLIJob {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current[client.ObjectKeyFromObject(job)]
}

// jobs returns the latest versions of all DLIJobs.
func (f *watcher) jobs() []*v1alpha1.DLIJob {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.current))
}
