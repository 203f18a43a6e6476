// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

const (
	// enduring is the number of jobs that run throughout, each polled every second.
	enduring = 200
	// ending is the number of other jobs, two of which end each second while the pods
	// are replaced.
	ending = 20
)

// testReplacements replaces the pods while jobs run and end, and measures the longest
// time without a poll.
func (c *cluster) testReplacements(t *testing.T, values []string) {
	t.Helper()
	for i := range enduring {
		id := fmt.Sprintf("enduring-%03d", i)
		c.dli.SetJob(dlitest.Query(id).Running(time.Hour))
		c.watch(t, id)
	}
	within(t, time.Minute, "all jobs are running", func() bool { return c.running(t) == enduring })

	t.Run("rolling restart", func(t *testing.T) {
		c.whileJobsEnd(t, 10*time.Second, "v0.1.0", func() {
			run(t, "kubectl", "rollout", "restart", deployment, "--namespace="+namespace)
		})
	})
	t.Run("SIGKILL of the leader", func(t *testing.T) {
		// The restarted container takes the lease at once, unless the previous one had it
		// only briefly.
		within(t, time.Minute, "the leader has led for longer than its lease", func() bool {
			spec := c.lease(t).Spec
			return spec.AcquireTime != nil && spec.RenewTime.Sub(spec.AcquireTime.Time) > time.Duration(*spec.LeaseDurationSeconds)*time.Second
		})
		c.whileJobsEnd(t, 8*time.Second, "v0.1.0", func() {
			if err := syscall.Kill(manager(t, c.leader(t)), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("evictions of both pods", c.testEvictions)
	t.Run("drain of the leader's node", func(t *testing.T) {
		node := c.leader(t).Spec.NodeName
		c.drained = true
		c.whileJobsEnd(t, 10*time.Second, "v0.1.0", func() { run(t, "kubectl", "drain", node, "--timeout=2m") })
		run(t, "kubectl", "uncordon", node)
		c.drained = false
	})
	t.Run("upgrade", func(t *testing.T) {
		c.whileJobsEnd(t, 10*time.Second, "v0.1.1", func() {
			run(t, "helm", append([]string{"upgrade", "dli-operator", chart, "--set=image.tag=v0.1.1"}, values...)...)
		})
	})
	t.Run("rollback", func(t *testing.T) {
		c.whileJobsEnd(t, 10*time.Second, "v0.1.0", func() {
			run(t, "helm", "rollback", "dli-operator", "--namespace="+namespace, "--wait")
		})
	})
}

// testEvictions evicts both pods at once. One of them has to stay until the other's
// successor is ready.
func (c *cluster) testEvictions(t *testing.T) {
	c.checkPlacement(t)
	var refused int
	for _, pod := range c.pods(t) {
		eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
		err := c.SubResource("eviction").Create(t.Context(), &pod, eviction)
		switch {
		case apierrors.IsTooManyRequests(err):
			refused++
		case err != nil:
			t.Error(err)
		}
	}
	if refused != 1 {
		t.Errorf("%d evictions are refused, want one of two", refused)
	}
	rolledOut(t)
}

// whileJobsEnd fails if an end is lost, if there is no poll for longer than limit, or if
// the pods do not run the image afterwards.
func (c *cluster) whileJobsEnd(t *testing.T, limit time.Duration, image string, replace func()) {
	t.Helper()
	ids := make([]string, ending)
	for i := range ids {
		ids[i] = fmt.Sprintf("ending-%d-%02d", time.Now().Unix(), i)
		c.dli.SetJob(dlitest.Query(ids[i]).Running(time.Hour))
		c.watch(t, ids[i])
	}
	within(t, time.Minute, "all jobs are running", func() bool { return c.running(t) == enduring+ending })
	began := time.Now()
	for i, id := range ids {
		c.dli.SetJob(dlitest.Query(id).Running(time.Duration(i) * time.Second / 2).Finishes(int64(i)))
	}
	replace()
	rolledOut(t)
	for i, id := range ids {
		job := &v1alpha1.DLIJob{}
		within(t, time.Minute, id+" has ended", func() bool {
			err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: id}, job)
			return err == nil && job.IsCompleted()
		})
		if s := job.Status; s.Outcome != v1alpha1.OutcomeSucceeded || s.ResultCount == nil || *s.ResultCount != int64(i) {
			t.Errorf("%s has ended as %+v", id, s)
		}
	}
	c.checkPolls(t, began, limit)
	c.checkPlacement(t)
	for _, pod := range c.pods(t) {
		if got := pod.Spec.Containers[0].Image; got != "dli-operator:"+image {
			t.Errorf("%s runs %s, want %s", pod.Name, got, image)
		}
	}
}

// checkPolls fails if no job, or a single job, was polled for longer than limit, or if two
// pods polled one job at a time.
func (c *cluster) checkPolls(t *testing.T, began time.Time, limit time.Duration) {
	t.Helper()
	var all []poll
	var worst time.Duration
	now := time.Now()
	for i := range enduring {
		id := fmt.Sprintf("enduring-%03d", i)
		polls := c.dli.between(id, began, now)
		all, worst = append(all, polls...), max(worst, longestGap(began, now, polls))
		if pod := returningPod(polls); pod != "" {
			t.Errorf("%s is polled by %s after another pod took over: %v", id, pod, polls)
		}
	}
	slices.SortFunc(all, func(a, b poll) int { return a.at.Compare(b.at) })
	t.Logf("the longest time without a poll was %.1f s, of a single job %.1f s", longestGap(began, now, all).Seconds(), worst.Seconds())
	if worst > limit {
		t.Errorf("a job was not polled for %v, want %v at most", worst, limit)
	}
}

// checkPlacement fails unless the replicas are on both nodes, whatever was on them before,
// and the PodDisruptionBudget lets one of them go.
func (c *cluster) checkPlacement(t *testing.T) {
	t.Helper()
	nodes := map[string]bool{}
	pods := c.pods(t)
	for _, pod := range pods {
		nodes[pod.Spec.NodeName] = true
	}
	budget := &policyv1.PodDisruptionBudget{}
	key := client.ObjectKey{Namespace: namespace, Name: "dli-operator-controller-manager"}
	within(t, 30*time.Second, "the PodDisruptionBudget has counted the pods", func() bool {
		return c.Get(t.Context(), key, budget) == nil && int(budget.Status.CurrentHealthy) == len(pods)
	})
	if len(nodes) != len(pods) && !c.drained {
		t.Errorf("%d pods are on %d nodes", len(pods), len(nodes))
	}
	if s := budget.Status; s.DisruptionsAllowed != 1 {
		t.Errorf("the PodDisruptionBudget allows %d disruptions of %d pods", s.DisruptionsAllowed, s.CurrentHealthy)
	}
}

// running returns how many DLIJobs are RUNNING.
func (c *cluster) running(t *testing.T) (n int) {
	t.Helper()
	jobs := &v1alpha1.DLIJobList{}
	if err := c.List(t.Context(), jobs, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	for _, job := range jobs.Items {
		if job.Status.JobStatus == "RUNNING" {
			n++
		}
	}
	return n
}

func (c *cluster) lease(t *testing.T) *coordinationv1.Lease {
	t.Helper()
	lease := &coordinationv1.Lease{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "dli-operator"}, lease); err != nil {
		t.Fatal(err)
	}
	return lease
}

// leader returns the pod that holds the lease.
func (c *cluster) leader(t *testing.T) corev1.Pod {
	t.Helper()
	holder := ptr.Deref(c.lease(t).Spec.HolderIdentity, "")
	for _, pod := range c.pods(t) {
		if strings.HasPrefix(holder, pod.Name+"_"+string(pod.UID)+"_") {
			return pod
		}
	}
	t.Fatalf("no pod holds the lease: %q", holder)
	return corev1.Pod{}
}
