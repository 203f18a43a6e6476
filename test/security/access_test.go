// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// Eight Secrets have wrong secrets of one access key, for eight connections to two endpoints. A
// sixth wrong signature would lock the key for everybody.
func TestOneAccessKey(t *testing.T) {
	window := sized(8*time.Second, 2*time.Minute)
	t.Run("while the operator is killed", func(t *testing.T) {
		a := useWrongSecrets(t)
		o := a.start(limit())
		a.await("a wrong signature is sent", func() bool { return a.failures() > 0 })
		o.attack(t, rand.N(3*time.Second), limit())
		first := a.failures()
		o.Kill()
		a.start(limit())
		testenv.Within(window, func() bool { return a.failures() > 5 })
		if !testing.Short() {
			a.changeSecrets()
			testenv.Within(time.Minute/2, func() bool { return a.failures() > 5 })
		}
		t.Logf("%d wrong signatures, and %d more after the operator was killed", first, a.failures()-first)
		a.check(1, 1)
	})
	t.Run("by two operators", func(t *testing.T) {
		a := useWrongSecrets(t)
		a.start(limit())
		a.start(limit())
		a.await("a wrong signature is sent", func() bool { return a.failures() > 0 })
		testenv.Within(window, func() bool { return a.failures() > 8 })
		t.Logf("%d wrong signatures by two operators", a.failures())
		a.check(2, 0)
	})
}

// wrongSecrets is a cluster with eight wrong Secrets of one access key.
type wrongSecrets struct {
	*cluster
	tenant   string
	failures func() int64
	began    time.Time
}

func useWrongSecrets(t *testing.T) *wrongSecrets {
	t.Helper()
	a := &wrongSecrets{cluster: newCluster(t), began: time.Now()}
	other := testenv.DLI(t)
	a.tenant = a.cluster.tenant(nil)
	for i := range 8 {
		a.MustCreate(a.secretOf(i, 0))
		name := fmt.Sprintf("wrong-%d", i)
		a.connect(a.tenant, name, []string{a.DLI.URL(), other.URL()}[i%2], func(spec *v1alpha1.DLIConnectionSpec) {
			spec.Credentials.SecretRef.Name = name
		})
	}
	a.createJobs(a.tenant, 32, func(job *v1alpha1.DLIJob, i int) {
		every(1)(job)
		refTo(a.tenant, fmt.Sprintf("wrong-%d", i%8))(job)
	})
	key := user().AccessKeyID
	a.failures = func() int64 { return a.DLI.Stats().AuthFailures[key] + other.Stats().AuthFailures[key] }
	return a
}

func (a *wrongSecrets) secretOf(i, attempt int) *corev1.Secret {
	wrong := user()
	wrong.SecretAccessKey = fmt.Sprintf("wrong-%d-%d", i, attempt)
	secret := a.Secret(fmt.Sprintf("wrong-%d", i), wrong)
	secret.Namespace = a.tenant
	return secret
}

func (a *wrongSecrets) changeSecrets() {
	a.Helper()
	for i := range 8 {
		if err := a.Patch(a.Context(), a.secretOf(i, 1), client.Merge); err != nil {
			a.Fatal(err)
		}
	}
}

// check compares the wrong signatures so far with what the operators may send: each two at
// once, and one more per 100 s; and one more after each kill.
func (a *wrongSecrets) check(operators, kills int64) {
	a.Helper()
	most := operators*(2+int64(time.Since(a.began)/(100*time.Second))) + kills
	if n := a.failures(); n > most {
		a.Errorf("%d wrong signatures with one access key ID in %v, want %d at most", n, time.Since(a.began).Round(time.Second), most)
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
			// The job may come first, by a second.
			c.MustCreate(job)
			testenv.Within(time.Duration(i%4)*time.Second/2, func() bool { return len(c.warnings(job.Namespace)) > 0 })
			c.connect(job.Namespace, "default", c.DLI.URL())
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

// A Namespace, a grant to it and its first job are created together, and the operator's cache
// does not get the Namespace.
func TestNamespaceThatArrivesLate(t *testing.T) {
	c := newCluster(t)
	changeConnection(c, c.Connection("default"), granted)
	server, err := testenv.NewProxy(plane.Config())
	if err != nil {
		t.Fatal(err)
	}
	isLate, arrive := atomic.Bool{}, make(chan struct{})
	arriveNow := sync.OnceFunc(func() { close(arrive) })
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/namespaces" {
			w = lateWriter{w, func() {
				if isLate.Load() {
					<-arrive
				}
			}}
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		arriveNow()
		slow.CloseClientConnections()
		slow.Close()
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	c.api = &rest.Config{Host: slow.URL}
	o := c.start(limit())
	own := c.WatchJob("own")
	c.Runs("own")
	c.AwaitReason(own, v1alpha1.ReasonJobRunning)
	isLate.Store(true)
	job := &v1alpha1.DLIJob{Spec: v1alpha1.DLIJobSpec{JobID: "late"}}
	job.Name, job.Namespace = "late", c.NewNamespace(map[string]string{"granted": "yes"})
	c.clear(job.Namespace)
	c.Runs("late")
	refTo(c.Namespace, "default")(job)
	c.MustCreate(job)
	c.AwaitReason(job, v1alpha1.ReasonJobRunning)
	arriveNow()
	if found := c.warnings(job.Namespace); len(found) > 0 {
		t.Errorf("Warnings %q", found)
	}
	o.check(t, limit())
}

// lateWriter waits before it writes.
type lateWriter struct {
	http.ResponseWriter
	wait func()
}

func (w lateWriter) Write(body []byte) (int, error) {
	w.wait()
	return w.ResponseWriter.Write(body)
}

func (w lateWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
