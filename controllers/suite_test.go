// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/internal/poller"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// All tests of the package share an API server; each uses its own namespace.
var (
	apiServer *rest.Config
	scheme    = testenv.Scheme()
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	flag.Parse()
	// The tests spend most of their time waiting.
	must(flag.Set("test.parallel", "4"))
	ctrl.SetLogger(zap.New(zap.WriteTo(&operatorLog), zap.UseDevMode(true)))
	plane := &testenv.ControlPlane{CRDs: "../config/crd/bases"}
	if err := plane.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	apiServer = plane.Config()
	defer servePodIdentity()()
	code := m.Run()
	must(plane.Close())
	return code
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// operatorLog keeps the logs of the operators under test, for tests that check them.
var operatorLog testenv.Buffer

// world is a namespace with its own DLI and an operator that watches it.
type world struct {
	*testing.T
	client.WithWatch
	dli       *dlitest.Server
	namespace string
	options   Options
	// namespaces are the namespaces that the operator watches.
	namespaces []string
	// jobNamespaces are those of which it watches the DLIJobs, if they differ.
	jobNamespaces []string
	metrics       *prometheus.Registry
	// server is the API server, or a proxy for it, as the operator sees it.
	server *rest.Config
	// log receives the operator's log; operatorLog if zero.
	log  logr.Logger
	stop func()
}

// quick is a schedule in seconds instead of minutes.
func quick() poller.Schedule {
	return poller.Schedule{
		PollIntervalMin:       100 * time.Millisecond,
		PollIntervalMax:       200 * time.Millisecond,
		PollIntervalFactor:    0.1,
		StatusRefreshInterval: time.Minute,
		StallAfter:            time.Second,
		NotFoundAfter:         3 * time.Second,
	}
}

// newWorld creates a namespace with a connection named default to a simulated DLI. The
// operator is not started yet.
func newWorld(t *testing.T, simulation ...dlitest.Option) *world {
	t.Helper()
	w := newBareWorld(t, simulation...)
	w.create(w.secret("credentials", dlitest.SampleUser()))
	w.create(w.connection("default", "credentials"))
	return w
}

// newBareWorld creates a namespace without connections.
func newBareWorld(t *testing.T, simulation ...dlitest.Option) *world {
	t.Helper()
	t.Parallel()
	server := testenv.DLI(t, simulation...)
	w := &world{T: t, WithWatch: testenv.Client(t, apiServer), server: apiServer, dli: server, options: Options{
		Schedule:                quick(),
		Connections:             connection.Options{AllowInsecure: true, UserAgent: "dli-operator/test"},
		MaxConcurrentPolls:      20,
		MaxConcurrentReconciles: 20,
		ReportConnections:       true,
	}}
	w.namespace = w.newNamespace(nil)
	w.namespaces = []string{w.namespace}
	return w
}

func (w *world) newNamespace(labels map[string]string) string {
	w.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	w.create(namespace)
	return namespace.Name
}

// start runs an operator until the test ends, or until stop.
func (w *world) start() *world {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	watched := func(namespaces []string) map[string]cache.Config {
		configs := map[string]cache.Config{}
		for _, namespace := range namespaces {
			configs[namespace] = cache.Config{}
		}
		return configs
	}
	jobNamespaces := w.jobNamespaces
	if jobNamespaces == nil {
		jobNamespaces = w.namespaces
	}
	mgr, err := ctrl.NewManager(rest.CopyConfig(w.server), ctrl.Options{
		Scheme:  scheme,
		Logger:  w.log,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.DLIJob{}:        {Namespaces: watched(jobNamespaces)},
			&v1alpha1.DLIConnection{}: {Namespaces: watched(w.namespaces)},
		}},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		w.Fatal(err)
	}
	w.metrics = prometheus.NewRegistry()
	w.options.Registry = w.metrics
	if err := Add(ctx, mgr, w.options); err != nil {
		w.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("the operator stopped with an error: %v", err)
		}
	})
	w.Cleanup(w.stop)
	return w
}

// behindProxy lets the operator reach the API server through a proxy.
func (w *world) behindProxy() *testenv.Proxy {
	w.Helper()
	proxy, err := testenv.NewProxy(apiServer)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { must(proxy.Stop()) })
	w.server = proxy.Config()
	return proxy
}

// another is the same namespace with a second operator, which is not started yet.
func (w *world) another(change func(*Options)) *world {
	other := *w
	change(&other.options)
	return &other
}

// events returns the reasons of the Events of the namespace, oldest first.
func (w *world) events() (reasons []string) {
	w.Helper()
	list := &eventsv1.EventList{}
	if err := w.List(w.Context(), list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
	for _, e := range list.Items {
		reasons = append(reasons, e.Type+" "+e.Reason)
	}
	return reasons
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

func (w *world) connection(name, secret string, changes ...func(*v1alpha1.DLIConnectionSpec)) *v1alpha1.DLIConnection {
	connection := &v1alpha1.DLIConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.DLIConnectionSpec{
			Endpoint:    w.dli.URL(),
			ProjectID:   dlitest.SampleUser().ProjectID,
			Credentials: v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: secret}},
			RateLimit:   v1alpha1.RateLimit{RequestsPerSecond: 1000, Burst: 1000},
		},
	}
	for _, change := range changes {
		change(&connection.Spec)
	}
	return connection
}

// watch creates a DLIJob that watches a job.
func (w *world) watch(jobID string, changes ...func(*v1alpha1.DLIJobSpec)) *v1alpha1.DLIJob {
	w.Helper()
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "job-"},
		Spec:       v1alpha1.DLIJobSpec{JobID: jobID},
	}
	for _, change := range changes {
		change(&job.Spec)
	}
	w.create(job)
	return job
}

// reload reads a DLIJob again from the API server.
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
	if !eventually(func() bool { current = w.reload(job); return is(current) }) {
		w.Fatalf("DLIJob %s is not %s:\n%s\n%+v", job.Name, what, row(current), current.Status)
	}
	return current
}

// awaitReason waits until a DLIJob's Ready condition has a reason.
func (w *world) awaitReason(job *v1alpha1.DLIJob, reason string) *v1alpha1.DLIJob {
	w.Helper()
	return w.await(job, reason, func(job *v1alpha1.DLIJob) bool { return reasonOf(job) == reason })
}

func reasonOf(job *v1alpha1.DLIJob) string {
	for _, c := range job.Status.Conditions {
		if c.Type == v1alpha1.ReadyCondition {
			return c.Reason
		}
	}
	return ""
}

// awaitRequests waits until a job was polled n times.
func (w *world) awaitRequests(jobID string, n int) {
	w.Helper()
	if !eventually(func() bool { return w.dli.Requests(jobID) >= n }) {
		w.Fatalf("DLI received %d requests for %s, want %d", w.dli.Requests(jobID), jobID, n)
	}
}

// deadlineOfWaits is far longer than any wait takes on a busy machine.
const deadlineOfWaits = 60 * time.Second

func eventually(is func() bool) bool { return testenv.Within(deadlineOfWaits, is) }

// update changes an object on the API server, and retries on conflict.
func update[T client.Object](w *world, object T, change func(T)) {
	w.Helper()
	if !eventually(func() bool {
		if err := w.Get(w.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			w.Fatal(err)
		}
		change(object)
		err := w.Update(w.Context(), object)
		return err == nil
	}) {
		w.Fatalf("cannot update %s", object.GetName())
	}
}

// flux returns the kstatus of a DLIJob, as Flux computes it.
func (w *world) flux(key types.NamespacedName) kstatus.Status {
	w.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("DLIJob"))
	if err := w.Get(w.Context(), key, object); err != nil {
		w.Fatal(err)
	}
	return fluxStatus(w.T, object)
}

func fluxStatus(t *testing.T, object *unstructured.Unstructured) kstatus.Status {
	t.Helper()
	result, err := kstatus.Compute(object)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

// history records every watch event of a DLIJob.
type history struct {
	mu     sync.Mutex
	states []*unstructured.Unstructured
}

func (h *history) all() []*unstructured.Unstructured {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.states)
}

// record starts recording the DLIJobs of the namespace.
func (w *world) record() *history {
	w.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("DLIJobList"))
	watcher, err := w.Watch(w.Context(), list, client.InNamespace(w.namespace))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(watcher.Stop)
	h := &history{}
	go func() {
		for e := range watcher.ResultChan() {
			if object, ok := e.Object.(*unstructured.Unstructured); ok {
				h.mu.Lock()
				h.states = append(h.states, object)
				h.mu.Unlock()
			}
		}
	}()
	return h
}
