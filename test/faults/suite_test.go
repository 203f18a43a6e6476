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

// Package faults tests how the operator handles failures of everything around it: DLI,
// its gateway and its clock, the API server and etcd, other writers, and its own
// restarts. It observes from outside: the API and the requests to DLI.
//
// test/robustness injects most faults. Here are those that need a stage of their own.
package faults

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/controllers"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/internal/poller"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// All tests share one control plane; each uses its own namespace.
var (
	controlPlane = &testenv.ControlPlane{CRDs: crds}
	scheme       = testenv.Scheme()
)

const crds = "../../config/crd/bases"

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	flag.Parse()
	// The tests spend most of their time waiting.
	must(flag.Set("test.parallel", "20"))
	ctrl.SetLogger(logr.Discard())
	if err := controlPlane.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	must(controlPlane.Close())
	return code
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// world is a namespace with its own DLI. Its client bypasses the proxy that operators
// may use.
type world struct {
	*testing.T
	client.WithWatch
	dli       *dlitest.Server
	namespace string

	// config and options are for operators that are started later.
	config  *rest.Config
	options controllers.Options
}

// newWorld creates a namespace with a connection named default to a simulated DLI.
func newWorld(t *testing.T, simulation ...dlitest.Option) *world {
	t.Helper()
	server := testenv.DLI(t, simulation...)
	w := &world{T: t, WithWatch: testenv.Client(t, controlPlane.Config()), dli: server, config: controlPlane.Config()}
	w.options.Schedule = poller.DefaultSchedule()
	w.options.Connections.AllowInsecure = true
	w.options.Connections.UserAgent = "dli-operator/test"
	w.options.MaxConcurrentReconciles = 100
	w.options.ReportConnections = true
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "faults-"}}
	w.create(namespace)
	w.namespace = namespace.Name
	w.create(w.secret("credentials", dlitest.SampleUser()))
	w.create(w.connection("default", w.dli.URL()))
	return w
}

// behindProxy makes operators that are started later use a proxy to the API server.
func (w *world) behindProxy() *testenv.Proxy {
	w.Helper()
	proxy, err := testenv.NewProxy(w.config)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = proxy.Stop() })
	w.config = proxy.Config()
	return proxy
}

// start runs an operator until the test ends.
func (w *world) start() {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	namespaces := map[string]cache.Config{w.namespace: {}}
	mgr, err := ctrl.NewManager(rest.CopyConfig(w.config), ctrl.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.DLIJob{}:        {Namespaces: namespaces},
			&v1alpha1.DLIConnection{}: {Namespaces: namespaces},
		}},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		w.Fatal(err)
	}
	options := w.options
	options.Registry = prometheus.NewRegistry()
	if err := controllers.Add(ctx, mgr, options); err != nil {
		w.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("the operator stopped with an error: %v", err)
		}
	})
}

func (w *world) create(object client.Object) {
	w.Helper()
	if err := w.Create(w.Context(), object); err != nil {
		w.Fatal(err)
	}
}

func (w *world) secret(name string, user dlitest.User) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		StringData: map[string]string{"accessKeyID": user.AccessKeyID, "secretAccessKey": user.SecretAccessKey},
	}
}

func (w *world) connection(name, endpoint string) *v1alpha1.DLIConnection {
	return &v1alpha1.DLIConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.DLIConnectionSpec{
			Endpoint:    endpoint,
			ProjectID:   dlitest.SampleUser().ProjectID,
			Credentials: v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "credentials"}},
		},
	}
}

// watch creates a DLIJob for a job, with the same name.
func (w *world) watch(jobID string, changes ...func(*v1alpha1.DLIJob)) *v1alpha1.DLIJob {
	w.Helper()
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: jobID},
		Spec:       v1alpha1.DLIJobSpec{JobID: jobID},
	}
	for _, change := range changes {
		change(job)
	}
	w.create(job)
	return job
}

// every sets the poll interval of a DLIJob.
func every(seconds int32) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) { job.Spec.PollIntervalSeconds = &seconds }
}

// of sets the connection of a DLIJob.
func of(connection string) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) {
		job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: connection}
	}
}

// runs starts a job that runs for the whole test.
func (w *world) runs(jobID string) { w.dli.SetJob(dlitest.Query(jobID).Running(time.Hour)) }

// finishes ends a job now.
func (w *world) finishes(jobID string) { w.dli.SetJob(dlitest.Query(jobID).Finishes(4)) }

func (w *world) reload(job *v1alpha1.DLIJob) *v1alpha1.DLIJob {
	w.Helper()
	current := &v1alpha1.DLIJob{}
	if err := w.Get(w.Context(), client.ObjectKeyFromObject(job), current); err != nil {
		w.Fatal(err)
	}
	return current
}

// await waits until a DLIJob meets a condition, and returns it.
func (w *world) await(job *v1alpha1.DLIJob, limit time.Duration, what string, is func(*v1alpha1.DLIJob) bool) *v1alpha1.DLIJob {
	w.Helper()
	var current *v1alpha1.DLIJob
	if !testenv.Within(limit, func() bool { current = w.reload(job); return is(current) }) {
		w.Fatalf("DLIJob %s is not %s after %v and %d polls: %s",
			job.Name, what, limit, w.dli.Requests(job.Spec.JobID), says(current))
	}
	return current
}

// awaitReason waits until a DLIJob's Ready condition has a reason.
func (w *world) awaitReason(job *v1alpha1.DLIJob, reason string) *v1alpha1.DLIJob {
	w.Helper()
	return w.await(job, wait, reason, func(job *v1alpha1.DLIJob) bool {
		return condition(job.Status.Conditions, v1alpha1.ReadyCondition).Reason == reason
	})
}

// says summarizes a status for failure messages.
func says(job *v1alpha1.DLIJob) string {
	text := fmt.Sprintf("jobStatus=%q outcome=%q startTime=%v", job.Status.JobStatus, job.Status.Outcome, job.Status.StartTime)
	for _, c := range job.Status.Conditions {
		if c.Type == v1alpha1.ReadyCondition || c.Type == v1alpha1.SyncedCondition {
			text += fmt.Sprintf("\n  %s=%s/%s %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return text
}

func condition(conditions []metav1.Condition, name string) metav1.Condition {
	if c := meta.FindStatusCondition(conditions, name); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// ready returns a DLIConnection's Ready condition.
func (w *world) ready(name string) metav1.Condition {
	w.Helper()
	connection := &v1alpha1.DLIConnection{}
	if err := w.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, connection); err != nil {
		w.Fatal(err)
	}
	return condition(connection.Status.Conditions, v1alpha1.ReadyCondition)
}

// awaitRequests waits until a job was polled n times.
func (w *world) awaitRequests(jobID string, n int) {
	w.Helper()
	if !testenv.Within(wait, func() bool { return w.dli.Requests(jobID) >= n }) {
		w.Fatalf("DLI received %d requests for %s, want %d", w.dli.Requests(jobID), jobID, n)
	}
}

// events returns the Events about a DLIJob, as type and reason.
func (w *world) events(name string) (told []string) {
	w.Helper()
	list := &eventsv1.EventList{}
	if err := w.List(w.Context(), list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Regarding.Kind == "DLIJob" && e.Regarding.Name == name {
			told = append(told, e.Type+" "+e.Reason)
		}
	}
	return told
}

// wait is far longer than anything that should happen within seconds.
const wait = 60 * time.Second

// change changes an object on the API server, and retries on conflict.
func change[T client.Object](w *world, object T, do func(T)) {
	w.Helper()
	w.changing(object, func() error { do(object); return w.Update(w.Context(), object) })
}

func (w *world) changing(object client.Object, do func() error) {
	w.Helper()
	var err error
	if !testenv.Within(wait, func() bool {
		if err = w.Get(w.Context(), client.ObjectKeyFromObject(object), object); err == nil {
			err = do()
		}
		return err == nil
	}) {
		w.Fatalf("cannot change %s: %v", object.GetName(), err)
	}
}

// pollNow requests a poll.
func pollNow(job *v1alpha1.DLIJob) {
	metav1.SetMetaDataAnnotation(&job.ObjectMeta, v1alpha1.PollRequestedAtAnnotation, time.Now().Format(time.RFC3339Nano))
}
