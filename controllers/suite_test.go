// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/controllers"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/internal/poller"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

const jobID = "208b08d4-0dc2-4dd7-8879-ddd4c020d7aa"

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	defer servePodIdentity()()
	return testenv.RunTests(m, controllers.Plane, 4)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// podUser is the user of the pod identity.
var podUser = dlitest.User{AccessKeyID: "PODACCESSKEY", SecretAccessKey: "PODSECRETKEY", SecurityToken: "PODSECURITYTOKEN"}

// servePodIdentity provides this process with a pod identity, like CCE does, until the
// returned function is called.
func servePodIdentity() (end func()) {
	directory, err := os.MkdirTemp("", "pod-identity-")
	must(err)
	token := filepath.Join(directory, "token")
	must(os.WriteFile(token, []byte("POD-TOKEN"), 0o600))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Authorization") != "POD-TOKEN" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		must(json.NewEncoder(w).Encode(map[string]any{"credentials": map[string]string{
			"accessKeyId": podUser.AccessKeyID, "secretAccessKey": podUser.SecretAccessKey, "securityToken": podUser.SecurityToken,
			"expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano),
		}}))
	}))
	must(os.Setenv("HC_CONTAINER_CREDENTIALS_FULL_URI", server.URL))
	must(os.Setenv("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", token))
	return func() {
		server.Close()
		must(os.RemoveAll(directory))
	}
}

// newWorld returns a namespace with a connection named default to a simulated DLI. Operators
// that are started in it work in seconds instead of minutes.
func newWorld(t *testing.T, simulation ...dlitest.Option) *world.World {
	t.Helper()
	w := newBareWorld(t, simulation...)
	w.MustCreate(w.Secret("credentials", dlitest.SampleUser()))
	w.MustCreate(connect(w, "default", "credentials"))
	return w
}

// newBareWorld returns a namespace without connections.
func newBareWorld(t *testing.T, simulation ...dlitest.Option) *world.World {
	t.Helper()
	t.Parallel()
	w := world.NewBare(t, controllers.Plane, simulation...)
	w.Options.Controllers.Schedule = poller.Schedule{
		PollIntervalMin:       100 * time.Millisecond,
		PollIntervalMax:       200 * time.Millisecond,
		PollIntervalFactor:    0.1,
		StatusRefreshInterval: time.Minute,
		StallAfter:            time.Second,
		NotFoundAfter:         3 * time.Second,
	}
	w.Options.Controllers.Connections.ProbeInterval = 600 * time.Millisecond
	return w
}

// neighbour returns another namespace that the operator watches.
func neighbour(w *world.World, labels map[string]string) *world.World {
	w.Helper()
	other := *w
	other.Namespace = w.NewNamespace(labels)
	w.Options.WatchNamespaces = append(w.Options.WatchNamespaces, other.Namespace)
	return &other
}

// connect returns a connection to the world's DLI that uses a Secret.
func connect(w *world.World, name, secret string, changes ...func(*v1alpha1.DLIConnectionSpec)) *v1alpha1.DLIConnection {
	return w.Connection(name, append([]func(*v1alpha1.DLIConnectionSpec){func(spec *v1alpha1.DLIConnectionSpec) {
		spec.Credentials.SecretRef.Name = secret
		spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: 1000, Burst: 1000}
	}}, changes...)...)
}

// allowing sets which namespaces may use a connection.
func allowing(from v1alpha1.NamespacesFrom, labels map[string]string) func(*v1alpha1.DLIConnectionSpec) {
	return func(spec *v1alpha1.DLIConnectionSpec) {
		spec.AllowedNamespaces.From = from
		if labels != nil {
			spec.AllowedNamespaces.Selector = &metav1.LabelSelector{MatchLabels: labels}
		}
	}
}

// named sets the name of a DLIJob.
func named(name string) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) { job.Name = name }
}

// of sets the connectionRef of a DLIJob.
func of(namespace, name string) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) {
		job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Namespace: namespace, Name: name}
	}
}

// reasonOf is the reason of a DLIJob's Ready condition.
func reasonOf(job *v1alpha1.DLIJob) string {
	return world.Condition(job.Status.Conditions, v1alpha1.ReadyCondition).Reason
}

func isStalled(job *v1alpha1.DLIJob) bool {
	return world.Condition(job.Status.Conditions, v1alpha1.StalledCondition).Status == metav1.ConditionTrue
}

func eventually(is func() bool) bool { return testenv.Within(world.Patience, is) }

// awaitConnection waits until a DLIConnection's Ready condition has a reason.
func awaitConnection(w *world.World, name, reason string) (ready metav1.Condition) {
	w.Helper()
	if !eventually(func() bool { ready = w.ConnectionReady(name); return ready.Reason == reason }) {
		w.Fatalf("DLIConnection %s is not %s: %+v", name, reason, ready)
	}
	return ready
}

// checkStopped checks that a job is no longer polled, while another one is polled often.
func checkStopped(w *world.World, jobID, other string) {
	w.Helper()
	w.AwaitRequests(other, w.DLI.Requests(other)+2) // no request is in flight any more
	before := w.DLI.Requests(jobID)
	w.AwaitRequests(other, w.DLI.Requests(other)+10)
	if n := w.DLI.Requests(jobID) - before; n > 0 {
		w.Errorf("job %s is still polled: %d times", jobID, n)
	}
}

// history has every version of the objects of a kind, in the order of the watch.
type history[T client.Object] struct {
	mu       sync.Mutex
	versions []T
}

func (h *history[T]) all() []T {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.versions)
}

// record starts recording the objects of the namespace.
func record[T client.Object](w *world.World, list client.ObjectList) *history[T] {
	w.Helper()
	watcher, err := w.Watch(w.Context(), list, client.InNamespace(w.Namespace))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(watcher.Stop)
	h := &history[T]{}
	go func() {
		for e := range watcher.ResultChan() {
			if object, ok := e.Object.(T); ok {
				h.mu.Lock()
				h.versions = append(h.versions, object)
				h.mu.Unlock()
			}
		}
	}()
	return h
}

func recordJobs(w *world.World) *history[*v1alpha1.DLIJob] {
	return record[*v1alpha1.DLIJob](w, &v1alpha1.DLIJobList{})
}
