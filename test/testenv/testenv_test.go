// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestControlPlane(t *testing.T) {
	ctrl.SetLogger(logr.Discard())
	plane := Run(t, "../../config/crd/bases")
	admin := Client(t, plane.Config())
	proxy, err := NewProxy(plane.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Stop() })
	behind := Client(t, proxy.Config())

	t.Run("keeps its data and ports when restarted", func(t *testing.T) {
		// Watches delay the shutdown.
		watcher, err := admin.Watch(t.Context(), &corev1.ConfigMapList{})
		if err != nil {
			t.Fatal(err)
		}
		defer watcher.Stop()
		create(t, admin, "kept")
		if err := plane.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := plane.Start(); err != nil {
			t.Fatal(err)
		}
		get(t, admin, "kept")
	})
	t.Run("is restored to a snapshot, with its resource versions", func(t *testing.T) {
		snapshot, err := plane.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		create(t, admin, "lost")
		// The API server writes its own objects when it starts, which increments the
		// version.
		for i := range 100 {
			create(t, admin, fmt.Sprint("lost-", i))
		}
		before := version(t, get(t, admin, "lost-99").ResourceVersion)
		if err := plane.Restore(snapshot); err != nil {
			t.Fatal(err)
		}
		if err := admin.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "lost"}, &corev1.ConfigMap{}); !apierrors.IsNotFound(err) {
			t.Errorf("an object created after the snapshot: %v", err)
		}
		list := &corev1.ConfigMapList{}
		if err := admin.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		if after := version(t, list.ResourceVersion); after >= before {
			t.Errorf("the resource version is %d, and was %d before the restore", after, before)
		}
		get(t, admin, "kept")
	})
	t.Run("cannot be watched while the proxy rejects watches", func(t *testing.T) {
		proxy.RefuseWatches(http.StatusGone)
		defer proxy.RefuseWatches(0)
		if _, err := behind.Watch(t.Context(), &corev1.ConfigMapList{}); !apierrors.IsGone(err) {
			t.Errorf("error is %v", err)
		}
		get(t, behind, "kept")
	})
	t.Run("is slow while the proxy delays writes", func(t *testing.T) {
		proxy.Delay(500*time.Millisecond, "configmaps")
		defer proxy.Delay(0, "configmaps")
		began := time.Now()
		create(t, behind, "slow")
		if took := time.Since(began); took < 500*time.Millisecond {
			t.Errorf("a write took %v", took)
		}
	})
	t.Run("does not receive rejected writes, which are counted", func(t *testing.T) {
		proxy.Reset()
		proxy.Refuse(http.StatusInternalServerError)
		object := get(t, behind, "kept")
		if err := behind.Update(t.Context(), object); !apierrors.IsInternalError(err) {
			t.Errorf("error is %v", err)
		}
		proxy.Refuse(0)
		object.ResourceVersion = "1"
		if err := behind.Update(t.Context(), object); !apierrors.IsConflict(err) {
			t.Errorf("error is %v", err)
		}
		want := map[int]int{http.StatusInternalServerError: 1, http.StatusConflict: 1}
		for write, n := range proxy.Writes() {
			if write.Method != http.MethodPut || write.Resource != "configmaps" || n != want[write.Status] {
				t.Errorf("%+v was counted %d times", write, n)
			}
		}
		if n := proxy.Count(func(w Write) bool { return w.Status == http.StatusConflict }); n != 1 {
			t.Errorf("%d conflicts were counted", n)
		}
	})
	t.Run("is unavailable while the proxy is stopped", func(t *testing.T) {
		if err := proxy.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := behind.List(t.Context(), &corev1.ConfigMapList{}); err == nil {
			t.Error("it still responds")
		}
		if err := proxy.Resume(); err != nil {
			t.Fatal(err)
		}
		get(t, behind, "kept")
	})
	t.Run("receives the token of a request", func(t *testing.T) {
		config := proxy.Config()
		config.BearerToken = "unknown"
		err := Client(t, config).List(t.Context(), &corev1.ConfigMapList{})
		if !apierrors.IsUnauthorized(err) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestResourceOfAPath(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/namespaces/a":                                                       "namespaces",
		"/api/v1/namespaces/a/configmaps":                                            "configmaps",
		"/api/v1/nodes/a/status":                                                     "nodes/status",
		"/api/v1/namespaces/a/status":                                                "namespaces/status",
		"/apis/dli.huaweicloud.com/v1alpha1/namespaces/a/dlijobs/b/status":           "dlijobs/status",
		"/apis/dli.huaweicloud.com/v1alpha1/dlijobs":                                 "dlijobs",
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/dlijobs.dli/status": "customresourcedefinitions/status",
		"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/a":               "leases",
		"/apis/events.k8s.io/v1/namespaces/a/events/b":                               "events",
		"/version": "/version",
	} {
		if got := resource(path); got != want {
			t.Errorf("the resource of %s is %q, want %q", path, got, want)
		}
	}
}

func create(t *testing.T, c client.Client, name string) {
	t.Helper()
	if err := c.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c client.Client, name string) *corev1.ConfigMap {
	t.Helper()
	object := &corev1.ConfigMap{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object
}

func version(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
