// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// config/default grants the operator exactly the permissions that it needs: kubectl
// applies it to a real API server, and the operator then runs as its ServiceAccount
// with the arguments of its Deployment.
func TestInstalledAsDocumented(t *testing.T) {
	c := newCluster(t, "default")
	pod := c.deployed()[manager]
	c.startPod(pod)

	dli := testenv.DLI(t)
	const id = "208b08d4-0dc2-4dd7-8879-ddd4c020d7aa"
	dli.SetJob(dlitest.Query(id).Finishes(4))
	c.Connect("default", dli)
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "report"},
		Spec:       v1alpha1.DLIJobSpec{JobID: id, TTLSecondsAfterFinished: new(int32(1))},
	}
	c.MustCreate(job)
	c.Eventually("the DLIJob is deleted after its TTL", func() bool {
		return apierrors.IsNotFound(c.Get(t.Context(), client.ObjectKeyFromObject(job), job))
	})
	if events := c.Kubectl("", "get", "events.events.k8s.io", "-n", "default"); !strings.Contains(events, "JobFinished") {
		t.Errorf("there is no Event about the end:\n%s", events)
	}
	if leases := c.leases(); !slices.Contains(leases, "dli-operator") {
		t.Errorf("the operator does not hold the lease: %v", leases)
	}

	t.Run("config/sharded adds two more operators", func(t *testing.T) {
		c := *c
		c.T = t
		c.Kubectl("", "apply", "-k", config+"/sharded", "--server-side", "--force-conflicts")
		selectors := map[string]bool{}
		for name, pod := range c.deployed() {
			args := pod.Containers[0].Args
			for _, arg := range args {
				if selector, ok := strings.CutPrefix(arg, "--watch-label-selector="); ok {
					selectors[selector] = true
				}
			}
			if reports := !slices.Contains(args, "--report-connections=false"); reports != (name == manager) {
				t.Errorf("%s reports connections: %v", name, reports)
			}
			c.startPod(pod)
		}
		if len(selectors) != 3 {
			t.Errorf("want three operators with a selector each, got %v", selectors)
		}
		c.Eventually("each of the three new operators holds a lease", func() bool { return len(c.leases()) == 4 })
	})

	t.Run("the ServiceAccount has no other permissions", func(t *testing.T) {
		for _, forbidden := range [][]string{
			{"list", "secrets"}, {"watch", "secrets"}, {"create", "secrets"}, {"delete", "secrets"}, {"update", "secrets"},
			{"create", "dlijobs"}, {"update", "dlijobs"}, {"patch", "dlijobs"}, {"patch", "dliconnections"}, {"delete", "dliconnections"},
			{"get", "pods"}, {"list", "configmaps"}, {"delete", "namespaces"}, {"get", "nodes"},
		} {
			if answer := c.canI(forbidden[0], forbidden[1], "-n", "default", "--as="+userOf(pod)); answer != "no" {
				t.Errorf("may %s %s: %s", forbidden[0], forbidden[1], answer)
			}
		}
	})
}
