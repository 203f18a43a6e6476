// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// feed has every version of every object of a kind, directly from the API server.
type feed struct {
	client client.WithWatch
	kind   schema.GroupVersionKind
	// take receives each version once, and the last one of a deleted object. It is not
	// called concurrently.
	take func(object *unstructured.Unstructured, deleted bool)

	mu      sync.Mutex
	current map[types.UID]*unstructured.Unstructured
	// cancel ends the session; no session is started while paused.
	cancel  context.CancelFunc
	paused  bool
	version string
}

// run feeds until ctx is done.
func (f *feed) run(ctx context.Context) {
	f.current = map[types.UID]*unstructured.Unstructured{}
	for ctx.Err() == nil {
		f.session(ctx)
		_ = wait(ctx, 50*time.Millisecond)
	}
}

// pause ends the session; none is started until resume, which lists again. It is called
// before the API server is restored to an earlier state.
func (f *feed) pause() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused, f.version = true, ""
	if f.cancel != nil {
		f.cancel()
	}
}

func (f *feed) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused = false
}

func (f *feed) list(version string) (*unstructured.UnstructuredList, *client.ListOptions) {
	l := &unstructured.UnstructuredList{}
	l.SetGroupVersionKind(f.kind.GroupVersion().WithKind(f.kind.Kind + "List"))
	return l, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}}
}

// session continues the watch from where the last one ended, until something ends it.
func (f *feed) session(ctx context.Context) {
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
		items, options := f.list("")
		bounded, done := context.WithTimeout(ctx, 5*time.Second)
		err := f.client.List(bounded, items, options)
		done()
		if err != nil || !f.replace(items) {
			return
		}
		version = items.GetResourceVersion()
	}
	items, options := f.list(version)
	events, err := f.client.Watch(ctx, items, options)
	if err != nil {
		f.listAgain() // perhaps the version is too old
		return
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		object, ok := e.Object.(*unstructured.Unstructured)
		if !ok || e.Type == kwatch.Error {
			f.listAgain()
			return
		}
		if !f.accept(object, e.Type == kwatch.Deleted) {
			return
		}
	}
}

func (f *feed) listAgain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version = ""
}

// replace handles a list; false if it is outdated.
func (f *feed) replace(items *unstructured.UnstructuredList) bool {
	listed := map[types.UID]bool{}
	for i := range items.Items {
		listed[items.Items[i].GetUID()] = true
	}
	for uid, object := range f.current {
		if !listed[uid] && !f.accept(object, true) {
			return false
		}
	}
	for i := range items.Items {
		if !f.accept(&items.Items[i], false) {
			return false
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version = items.GetResourceVersion()
	return !f.paused
}

// accept takes one version. It holds the lock, so that nothing from before a restore is
// taken after it.
func (f *feed) accept(object *unstructured.Unstructured, deleted bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paused {
		return false
	}
	f.version = object.GetResourceVersion()
	if was := f.current[object.GetUID()]; was != nil && !deleted && was.GetResourceVersion() == object.GetResourceVersion() {
		return true
	}
	f.current[object.GetUID()] = object
	if deleted {
		delete(f.current, object.GetUID())
	}
	f.take(object, deleted)
	return true
}
