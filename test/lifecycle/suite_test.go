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

// Package lifecycle tests the built operator as a process: how it stops, how another
// replica takes over, and how it handles CRDs that are older or newer than itself.
package lifecycle

import (
	"context"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// binary is the path of the operator.
var binary string

func TestMain(m *testing.M) {
	os.Exit(testenv.RunWithOperator(m, &binary))
}

// world is a control plane and a DLI for one test.
type world struct {
	*testing.T
	client.Client
	plane *testenv.ControlPlane
	dli   *dlitest.Server
}

const namespace = "default"

func newWorld(t *testing.T, crds string) *world {
	t.Helper()
	plane := testenv.Run(t, crds)
	w := &world{T: t, Client: testenv.Client(t, plane.Config()), plane: plane, dli: testenv.DLI(t, dlitest.WithRequestLog())}
	user := dlitest.SampleUser()
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "credentials"},
		StringData: map[string]string{"accessKeyID": user.AccessKeyID, "secretAccessKey": user.SecretAccessKey},
	})
	w.connect("default", "credentials")
	return w
}

// connect creates a connection with the credentials of a Secret.
func (w *world) connect(name, secret string) {
	w.Helper()
	w.create(&v1alpha1.DLIConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.DLIConnectionSpec{
			Endpoint: w.dli.URL(), ProjectID: dlitest.SampleUser().ProjectID,
			Credentials: v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: secret}},
		},
	})
}

func (w *world) create(object client.Object) {
	w.Helper()
	if err := w.Create(w.Context(), object); err != nil {
		w.Fatal(err)
	}
}

// watch creates a DLIJob for a job, with the same name, that is polled every second.
func (w *world) watch(id string, changes ...func(*v1alpha1.DLIJob)) *v1alpha1.DLIJob {
	w.Helper()
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: id},
		Spec:       v1alpha1.DLIJobSpec{JobID: id, PollIntervalSeconds: new(int32(1))},
	}
	for _, change := range changes {
		change(job)
	}
	w.create(job)
	return job
}

func (w *world) reload(job *v1alpha1.DLIJob) *v1alpha1.DLIJob {
	w.Helper()
	current := &v1alpha1.DLIJob{}
	if err := w.Get(w.Context(), client.ObjectKeyFromObject(job), current); err != nil {
		w.Fatal(err)
	}
	return current
}

// await waits until a DLIJob meets a condition, and returns it.
func (w *world) await(job *v1alpha1.DLIJob, what string, is func(*v1alpha1.DLIJob) bool) *v1alpha1.DLIJob {
	w.Helper()
	var current *v1alpha1.DLIJob
	if !testenv.Within(time.Minute, func() bool { current = w.reload(job); return is(current) }) {
		w.Fatalf("DLIJob %s is not %s: %+v", job.Name, what, current.Status)
	}
	return current
}

func isRunning(job *v1alpha1.DLIJob) bool {
	c := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ReadyCondition)
	return c != nil && c.Reason == v1alpha1.ReasonJobRunning
}

// operator is a running operator, which reaches the API server through a proxy.
type operator struct {
	*testenv.Process
	proxy *testenv.Proxy
}

// start starts an operator that runs until the test ends.
func (w *world) start(args ...string) *operator {
	w.Helper()
	proxy, err := testenv.NewProxy(w.plane.Config())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = proxy.Stop() })
	return &operator{proxy: proxy, Process: testenv.Start(w.T, testenv.KubeConfig(w.T, proxy.Config(), ""), binary, append([]string{
		"--allow-insecure-endpoints", "--metrics-bind-address=0", "--health-probe-bind-address=0",
	}, args...)...)}
}

// terminate stops the operator, and returns how long that took.
func (o *operator) terminate(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	o.Stop(time.Minute)
	took := time.Since(began)
	if code := o.ExitCode(); code != 0 {
		t.Errorf("the operator exited with code %d", code)
	}
	return took
}

func withTimeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
