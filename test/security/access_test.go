// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// Four Secrets have wrong secrets of one access key, for eight connections to two endpoints;
// the operator is killed and starts again; and in the long run the Secrets change. A sixth
// wrong signature would lock the key for everybody.
func TestOneAccessKey(t *testing.T) {
	window := sized(8*time.Second, 2*time.Minute)
	c := newCluster(t)
	other := testenv.DLI(t)
	tenant := c.tenant(nil)
	wrong := user()
	secretOf := func(i, attempt int) *corev1.Secret {
		wrong.SecretAccessKey = fmt.Sprintf("wrong-%d-%d", i, attempt)
		secret := c.Secret(fmt.Sprintf("wrong-%d", i), wrong)
		secret.Namespace = tenant
		return secret
	}
	for i := range 8 {
		if i < 4 {
			c.MustCreate(secretOf(i, 0))
		}
		c.connect(tenant, fmt.Sprintf("wrong-%d", i), []string{c.DLI.URL(), other.URL()}[i%2], func(spec *v1alpha1.DLIConnectionSpec) {
			spec.Credentials.SecretRef.Name = fmt.Sprintf("wrong-%d", i%4)
		})
	}
	c.createJobs(tenant, 32, func(job *v1alpha1.DLIJob, i int) {
		every(1)(job)
		refTo(tenant, fmt.Sprintf("wrong-%d", i%8))(job)
		job.Labels = map[string]string{"half": fmt.Sprint(i % 2)}
	})
	failures := func() int64 {
		return c.DLI.Stats().AuthFailures[wrong.AccessKeyID] + other.Stats().AuthFailures[wrong.AccessKeyID]
	}
	o := c.start(limit())
	c.await("a wrong signature is sent", func() bool { return failures() > 0 })
	o.attack(t, window, limit())
	first := failures()
	o.Kill()
	c.start(limit())
	testenv.Within(window, func() bool { return failures() > 5 })
	t.Logf("%d wrong signatures, and %d more after a restart", first, failures()-first)
	if !testing.Short() {
		for i := range 4 {
			secret := secretOf(i, 1)
			if err := c.Patch(t.Context(), secret, client.Merge); err != nil {
				t.Fatal(err)
			}
		}
		testenv.Within(time.Minute/2, func() bool { return failures() > 5 })
	}
	if first > 5 {
		t.Errorf("%d wrong signatures with one access key ID within five minutes, the sixth locks it", first)
	}
	// A killed process may not have written yet what it knew.
	if n := failures(); n > 7 {
		t.Errorf("%d wrong signatures with one access key ID, also after a restart", n)
	}
}

// A Secret's name is a path. The schema refuses it; an object may be older than that.
func TestSecretNamedLikeAPath(t *testing.T) {
	c := newCluster(t)
	named := func(namespace, name string) *v1alpha1.DLIConnection {
		return c.connection(namespace, name, c.DLI.URL(), func(spec *v1alpha1.DLIConnectionSpec) { spec.Credentials.SecretRef.Name = "../x" })
	}
	tenant := c.tenant(nil)
	if err := c.Create(t.Context(), named(tenant, "default")); !isInvalid(err) {
		t.Fatalf("the API server says %v", err)
	}
	c.withoutPattern(func() {
		c.await("the API server takes it", func() bool { return c.Create(t.Context(), named(tenant, "default")) == nil })
	})
	o := c.sideBySide()
	job := &v1alpha1.DLIJob{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "job"}, Spec: v1alpha1.DLIJobSpec{JobID: "job"}}
	c.MustCreate(job)
	c.Await(job, world.Patience, "told why", func(job *v1alpha1.DLIJob) bool {
		return world.Condition(job.Status.Conditions, v1alpha1.SyncedCondition).Reason == v1alpha1.ReasonSecretInvalid
	})
	testenv.Within(8*time.Second, func() bool { return o.Alive() != nil })
	log, err := os.ReadFile(o.Log)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(log), tenant); lines > 5 || strings.Contains(string(log), "stacktrace") {
		t.Errorf("%d lines of log about it:\n%s", lines, o.Said())
	}
}

// withoutPattern calls do while the CRD of DLIConnections does not check names of Secrets.
func (c *cluster) withoutPattern(do func()) {
	c.Helper()
	set := func(pattern string) {
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		crd.SetName("dliconnections.dli.huaweicloud.com")
		patch := `[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/credentials/properties/secretRef/properties/name/pattern","value":"` + pattern + `"}]`
		if err := c.Patch(c.Context(), crd, client.RawPatch("application/json-patch+json", []byte(patch))); err != nil {
			c.Fatal(err)
		}
	}
	set("")
	defer set("^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
	do()
}

// A connection and its first job, and a Namespace, a grant to it and its first job, are
// created together.
func TestCreatedTogether(t *testing.T) {
	c := newCluster(t)
	c.sideBySide()
	changeConnection(c, c.Connection("default"), granted)
	c.await("the grant is known", func() bool {
		connection := c.Connection("default")
		return c.Get(t.Context(), client.ObjectKeyFromObject(connection), connection) == nil && connection.Status.ObservedGeneration == connection.Generation
	})
	var namespaces []string
	var jobs []*v1alpha1.DLIJob
	for i := range 14 {
		id := fmt.Sprintf("together-%d", i)
		c.Runs(id)
		job := &v1alpha1.DLIJob{Spec: v1alpha1.DLIJobSpec{JobID: id}}
		job.Name = id
		if i%2 == 0 {
			job.Namespace = c.tenant(nil)
			// The job may come first.
			group := make(chan error, 1)
			go func() { group <- c.Create(t.Context(), c.connection(job.Namespace, "default", c.DLI.URL())) }()
			c.MustCreate(job)
			if err := <-group; err != nil {
				t.Fatal(err)
			}
		} else {
			job.Namespace = c.NewNamespace(map[string]string{"granted": "yes"})
			c.clear(job.Namespace)
			refTo(c.Namespace, "default")(job)
			c.MustCreate(job)
		}
		namespaces, jobs = append(namespaces, job.Namespace), append(jobs, job)
	}
	for _, job := range jobs {
		c.AwaitReason(job, v1alpha1.ReasonJobRunning)
	}
	for _, namespace := range namespaces {
		if found := c.warnings(namespace); len(found) > 0 {
			t.Errorf("Warnings %q", found)
		}
	}
}
