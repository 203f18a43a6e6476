// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// An operator stops soon after SIGTERM and loses nothing, and the standby takes over
// immediately.
func TestShutdown(t *testing.T) {
	w := newCluster(t)
	leading := w.start("--leader-elect", "--leader-election-namespace="+w.Namespace)
	if !testenv.Within(time.Minute, func() bool { return w.holder() != "" }) {
		t.Fatal("there is no leader")
	}
	leader := w.holder()
	if !testenv.Within(time.Minute, func() bool {
		told := &corev1.EventList{}
		err := w.List(t.Context(), told, client.InNamespace(w.Namespace))
		return err == nil && slices.ContainsFunc(told.Items, func(e corev1.Event) bool { return e.Reason == "LeaderElection" })
	}) {
		t.Error("there is no Event about the leader")
	}
	w.start("--leader-elect", "--leader-election-namespace="+w.Namespace)
	var jobs []*v1alpha1.DLIJob
	for i := range 20 {
		id := fmt.Sprintf("job-%02d", i)
		w.DLI.SetJob(dlitest.Query(id).Running(time.Hour))
		jobs = append(jobs, w.WatchJob(id, everySecond))
	}
	for _, job := range jobs {
		w.AwaitReason(job, v1alpha1.ReasonJobRunning)
	}
	// A request without a response must not delay the shutdown. It uses its own
	// credentials, because new credentials are tried with one request at a time.
	w.DLI.SetResponse("hangs", &dlitest.Response{Hang: true})
	w.MustCreate(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "token"},
		StringData: map[string]string{"token": dlitest.SampleUser().Token},
	})
	w.MustCreate(w.Connection("slow", func(spec *v1alpha1.DLIConnectionSpec) { spec.Credentials.SecretRef.Name = "token" }))
	w.WatchJob("hangs", func(job *v1alpha1.DLIJob) {
		job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: "slow"}
	})
	testenv.Within(time.Minute, func() bool { return w.DLI.Requests("hangs") > 0 })

	// Half of the jobs end, and their outcomes are being written.
	leading.proxy.Delay(time.Second, "dlijobs/status")
	leading.proxy.Reset()
	ending := jobs[:10]
	for _, job := range ending {
		w.DLI.SetJob(dlitest.Query(job.Name).Finishes(4))
	}
	ended := time.Now()
	if !testenv.Within(30*time.Second, func() bool {
		for _, job := range ending {
			if log := w.DLI.Log(job.Name); !log[len(log)-1].After(ended) {
				return false
			}
		}
		return true
	}) {
		t.Fatal("the jobs that ended were not polled")
	}
	began := time.Now()
	took := leading.terminate(t)
	released := w.holder() != leader
	lost := leading.proxy.Count(func(w testenv.Write) bool { return w.Resource == "dlijobs/status" && w.Status != http.StatusOK })
	stored := leading.proxy.Count(func(w testenv.Write) bool { return w.Resource == "dlijobs/status" && w.Status == http.StatusOK })
	var first time.Time
	taken := testenv.Within(time.Minute, func() bool {
		for _, job := range jobs[10:] {
			for _, at := range w.DLI.Log(job.Name) {
				if at.After(began.Add(took)) && (first.IsZero() || at.Before(first)) {
					first = at
				}
			}
		}
		return !first.IsZero()
	})
	t.Logf("stopped after %v, %d writes of 1 s each were stored and %d lost; the standby polled %v after the signal", took.Round(time.Millisecond), stored, lost, first.Sub(began).Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("the operator stopped after %v, want at most 5 s", took)
	}
	if !released {
		t.Error("the lease was not released")
	}
	if lost > 0 || stored == 0 {
		t.Errorf("%d writes in flight were lost, and %d stored", lost, stored)
	}
	if !taken || first.Sub(began) > 5*time.Second {
		t.Errorf("the standby polled %v after the signal, want at most 5 s", first.Sub(began))
	}
	for _, job := range ending {
		w.Await(job, world.Patience, "finished", (*v1alpha1.DLIJob).IsCompleted)
	}
}
