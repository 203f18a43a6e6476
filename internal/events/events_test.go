// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"io"
	"net/http"
	"net/http/httptest"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// A thousand Events are sent at once while the API server hangs, and more are dropped, so
// nothing waits for it. None is remembered once it was sent.
func TestEventsAreBoundedAndForgotten(t *testing.T) {
	var received atomic.Int64
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received.Add(1)
		<-release
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.Copy(w, r.Body)
	}))
	defer server.Close()
	releaseAll := sync.OnceFunc(func() { close(release) })
	defer releaseAll()
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(eventsv1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	config := &rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	c, err := client.New(config, client.Options{Scheme: testenv.Scheme(), Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecorder(c, "dli-operator", logr.Discard())
	job := &v1alpha1.DLIJob{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}}
	send := func(n int) {
		for range n {
			r.Eventf(job, nil, corev1.EventTypeNormal, "JobRunning", "Poll", "%s", "the job is running")
		}
	}
	within := func(is func() bool) {
		t.Helper()
		if !testenv.Within(time.Minute, is) {
			t.Fatalf("%d Events were received, %d are in flight", received.Load(), len(r.inFlight))
		}
	}
	send(maxInFlight + 500)
	within(func() bool { return received.Load() == maxInFlight })
	releaseAll()
	within(func() bool { return len(r.inFlight) == 0 })

	live := func() uint64 {
		var m goruntime.MemStats
		goruntime.GC()
		goruntime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	for range 3 {
		send(maxInFlight)
		within(func() bool { return len(r.inFlight) == 0 })
	}
	if grown := int64(live()) - int64(before); grown > 1<<20 {
		t.Errorf("3,000 Events cost %d bytes after they were sent", grown)
	}
}
