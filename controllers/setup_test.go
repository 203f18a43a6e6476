// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/metrics"
	"github.com/dli-operator/dli-operator/internal/poller"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// Plane is the control plane of all tests of this folder; TestMain starts it.
var Plane = &testenv.ControlPlane{CRDs: "../config/crd/bases"}

// Whatever the API server refuses as invalid, the outcome and the conditions are stored.
func TestARefusedStatus(t *testing.T) {
	w := testenv.Client(t, Plane.Config())
	stored := newJob()
	stored.Namespace = "default"
	if err := w.Create(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	recorder := metrics.NewRecorder(prometheus.NewRegistry(), "")
	r := &StatusReconciler{slots: newWriteSlots(1), statusWriter: statusWriter{
		Client: w, Clock: clock.RealClock{}, Metrics: recorder,
		Connections: connection.NewRegistry(w, w, connection.Options{}, recorder),
	}}
	refused := stored.DeepCopy()
	recordStatus(refused, &dli.JobStatus{Status: "FINISHED", State: dli.StateFinished, JobType: strings.Repeat("x", 1000)}, time.Now())
	deriveConditions(refused, poller.Snapshot{}, time.Now(), stallAfter)
	if written, err := r.write(t.Context(), stored, refused); err != nil || !written {
		t.Fatalf("written: %v, %v", written, err)
	}
	got := &v1alpha1.DLIJob{}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(stored), got); err != nil {
		t.Fatal(err)
	}
	if got.Status.Outcome != "Succeeded" || !strings.HasPrefix(row(got), "Ready=True/JobFinished") || got.Status.JobType != "" {
		t.Errorf("the status is %+v", got.Status)
	}
	if err := r.patch(t.Context(), stored); !apierrors.IsConflict(err) {
		t.Errorf("a status of an older version is written: %v", err)
	}
}

// What a client decodes into, or the cache holds, is shared with nothing.
func TestStatusSharesNoMemory(t *testing.T) {
	percent, rows, cpu := int32(40), int64(4), int64(7)
	job := newJob()
	latest := poller.Snapshot{Progress: &percent, Cost: &dli.Cost{CPUCost: &cpu}, Result: &poller.Result{ArrivedAt: noon, Status: answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = &rows })}}
	recordSnapshot(job, latest, noon, time.Minute)
	// A client decodes the response into the object that it has sent.
	*job.Status.Progress, *job.Status.ResultCount, *job.Status.Cost.CPUCost = 0, 0, 0
	if percent != 40 || rows != 4 || cpu != 7 {
		t.Error("what was decoded has changed the poller's memory")
	}
	job.Status.Progress = &percent
	known := knownOf(job, noon)
	*job.Status.Progress = 0
	if *known.Progress != 40 {
		t.Error("the poller knows what was decoded")
	}
}

// Ends, failures and first statuses are written before figures.
func TestRefreshesWait(t *testing.T) {
	queue := priorityqueue.New[reconcile.Request](t.Name())
	defer queue.ShutDown()
	results := &trigger{}
	if err := results.start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: "a", Name: name} }
	results.deliver(key("first refresh"), true)
	results.deliver(key("ended"), true)
	results.deliver(key("last refresh"), true)
	results.deliver(key("ended"), false)
	results.deliver(key("failed"), false)
	var order []string
	for range 4 {
		request, _ := queue.Get()
		order = append(order, request.Name)
	}
	if want := []string{"ended", "failed", "first refresh", "last refresh"}; !slices.Equal(order, want) {
		t.Errorf("written in the order %q, want %q", order, want)
	}
}

// Every key costs memory for each job.
func TestConnectionIndex(t *testing.T) {
	named := newJob(func(job *v1alpha1.DLIJob) {
		job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: "main", Namespace: "shared"}
	})
	for name, test := range map[string]struct {
		job        *v1alpha1.DLIJob
		hasDefault bool
		want       []string
	}{
		"a job that names its connection":                      {named, true, []string{"shared/main"}},
		"a job that may use the operator's default connection": {newJob(), true, []string{"team-a/default", anyDefault}},
		"a job of an operator without one":                     {newJob(), false, []string{"team-a/default"}},
	} {
		if got := indexConnection(test.hasDefault)(test.job); !slices.Equal(got, test.want) {
			t.Errorf("%s is found by %q, want %q", name, got, test.want)
		}
	}
}

// storedAt is an API server, or a cache, that has every object in one version.
type storedAt struct {
	client.Client
	version string
}

func (s storedAt) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	into.SetResourceVersion(s.version)
	return nil
}

// An object that is older than before shows that etcd was restored: the process must end, and
// write no more.
func TestAnOlderObjectEndsTheOperator(t *testing.T) {
	for live, want := range map[string]bool{"9": true, "10": false, "11": false} {
		isRestored := false
		r := &StatusReconciler{Live: storedAt{version: live}, statusWriter: statusWriter{
			Client: storedAt{version: "10"}, Clock: clock.RealClock{},
			Options: Options{Restored: func() { isRestored = true }},
		}}
		if _, err := r.read(t.Context(), client.ObjectKey{}, true); isRestored != want || r.ending.Load() != want || (err != nil) != want {
			t.Errorf("version %s after 10: ends: %v, error %v", live, isRestored, err)
		}
	}
}

// A process that does not lead writes nothing, and looks again soon.
func TestOnlyTheLeaderWrites(t *testing.T) {
	follower := func() statusWriter {
		return statusWriter{
			Client: storedAt{version: "10"}, Clock: clock.RealClock{},
			Options: Options{Leads: func(time.Time) bool { return false }},
		}
	}
	for name, reconciler := range map[string]reconcile.Reconciler{
		"DLIJob": &StatusReconciler{statusWriter: follower()}, "DLIConnection": &ConnectionReconciler{statusWriter: follower()},
	} {
		if result, err := reconciler.Reconcile(t.Context(), reconcile.Request{}); err != nil || result.RequeueAfter != leaseCheckInterval {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
	}
}
