// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/world"
)

// DLI is asked in the language of the connection, which is English unless it says otherwise.
func TestLanguageOfMessages(t *testing.T) {
	t.Parallel()
	w := world.New(t, controlPlane)
	w.Start()
	for set, want := range map[v1alpha1.Language]v1alpha1.Language{"": v1alpha1.LanguageEnglish, v1alpha1.LanguageChinese: v1alpha1.LanguageChinese} {
		var asked atomic.Value
		front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked.Store(v1alpha1.Language(r.Header.Get("X-Language")))
			w.DLI.ServeHTTP(rw, r)
		}))
		t.Cleanup(front.Close)
		connection := "of-" + string(want)
		w.MustCreate(w.Connection(connection, func(spec *v1alpha1.DLIConnectionSpec) {
			spec.Endpoint, spec.Language = front.URL, set
		}))
		w.DLI.SetJob(dlitest.Query(connection).Finishes(1))
		job := w.WatchJob(connection, func(job *v1alpha1.DLIJob) {
			job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: connection}
		})
		w.AwaitReason(job, v1alpha1.ReasonJobFinished)
		if got := asked.Load(); got != want {
			t.Errorf("a connection with language %q asks in %v, want %s", set, got, want)
		}
	}
}
