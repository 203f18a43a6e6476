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
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// wait is far longer than anything that should happen within seconds.
const wait = 60 * time.Second

// throughout keeps doing something for a time. A test for something that must not
// happen has to wait that long.
func throughout(limit, period time.Duration, do func()) {
	next := time.Now()
	testenv.Within(limit, func() bool {
		if now := time.Now(); !now.Before(next) {
			next = now.Add(period)
			do()
		}
		return false
	})
}

// change changes an object on the API server, and retries on conflict.
func change[T client.Object](w *world, object T, do func(T)) {
	w.Helper()
	w.changing(object, func() error { do(object); return w.Update(w.Context(), object) })
}

// changeStatus changes the status of an object, like kubectl edit --subresource=status.
func changeStatus[T client.Object](w *world, object T, do func(T)) {
	w.Helper()
	w.changing(object, func() error { do(object); return w.Status().Update(w.Context(), object) })
}

func (w *world) changing(object client.Object, do func() error) {
	w.Helper()
	var err error
	if !testenv.Within(wait, func() bool {
		if err = w.Get(w.Context(), client.ObjectKeyFromObject(object), object); err == nil {
			err = do()
		}
		return err == nil
	}) {
		w.Fatalf("cannot change %s: %v", object.GetName(), err)
	}
}

// pollNow requests a poll.
func pollNow(job *v1alpha1.DLIJob) {
	metav1.SetMetaDataAnnotation(&job.ObjectMeta, v1alpha1.PollRequestedAtAnnotation, time.Now().Format(time.RFC3339Nano))
}

// history records what a watch of the namespace's DLIJobs returned.
type history struct {
	mu     sync.Mutex
	states []state
}

type state struct {
	seen time.Time
	job  *v1alpha1.DLIJob
}

// record starts a watch, and continues it if the API server ends it.
func (w *world) record() *history {
	w.Helper()
	list := &v1alpha1.DLIJobList{}
	if err := w.List(w.Context(), list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	from := &toolscache.ListWatch{WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		return w.Watch(ctx, &v1alpha1.DLIJobList{}, &client.ListOptions{Namespace: w.namespace, Raw: &options})
	}}
	watcher, err := toolswatch.NewRetryWatcherWithContext(w.Context(), list.ResourceVersion, from)
	if err != nil {
		w.Fatal(err)
	}
	h := &history{}
	go func() {
		for e := range watcher.ResultChan() {
			if job, ok := e.Object.(*v1alpha1.DLIJob); ok {
				h.mu.Lock()
				h.states = append(h.states, state{time.Now(), job})
				h.mu.Unlock()
			}
		}
	}()
	return h
}

// of returns the recorded states of a DLIJob.
func (h *history) of(name string) []state {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.states), func(s state) bool { return s.job.Name != name })
}

// completed returns when a DLIJob was first seen completed; false if it was not.
func (h *history) completed(name string) (time.Time, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.states {
		if s.job.Name == name && s.job.IsCompleted() {
			return s.seen, true
		}
	}
	return time.Time{}, false
}

// len returns how many states were recorded so far.
func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.states)
}

// errorsIn returns the lines that were logged as errors.
func errorsIn(log string) (lines []string) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"level":"error"`) {
			lines = append(lines, line)
		}
	}
	return lines
}
