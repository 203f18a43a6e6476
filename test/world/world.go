// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package world has what most tests of the whole operator need: a namespace with a
// simulated DLI, a connection to it, and operators that run in the test's process as
// they do in production, with the permissions of config/namespaced. It is apart from
// testenv so that tests inside the operator's packages can use the latter.
package world

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/internal/operator"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// Patience is far longer than anything that should happen within seconds, also on a
// busy machine.
const Patience = 60 * time.Second

// World is a namespace with its own DLI. Its client is an administrator's, and bypasses
// the proxy that operators may use.
type World struct {
	testenv.Cluster
	DLI       *dlitest.Server
	Namespace string

	// Config and Options are for operators that are started later.
	Config  *rest.Config
	Options operator.Options
	// ReadsNamespaces permits operators to read Namespaces, which allowedNamespaces needs
	// for its selector.
	ReadsNamespaces bool
	// Log has the operators' logs, with lines of this verbosity.
	Log       *testenv.Buffer
	Verbosity int
}

// New creates a namespace with a connection named default to a simulated DLI.
func New(t *testing.T, plane *testenv.ControlPlane, simulation ...dlitest.Option) *World {
	t.Helper()
	w := NewBare(t, plane, simulation...)
	w.MustCreate(w.Secret("credentials", dlitest.SampleUser()))
	w.MustCreate(w.Connection("default"))
	return w
}

// NewBare creates a namespace without connections.
func NewBare(t *testing.T, plane *testenv.ControlPlane, simulation ...dlitest.Option) *World {
	t.Helper()
	w := &World{
		Cluster: testenv.Cluster{T: t, WithWatch: testenv.Client(t, plane.Config()), Plane: plane},
		DLI:     testenv.DLI(t, simulation...),
		Config:  plane.Config(), Options: operator.DefaultOptions("test"), Log: &testenv.Buffer{},
	}
	w.Namespace = w.NewNamespace(nil)
	w.Options.WatchNamespaces = []string{w.Namespace}
	w.Options.Controllers.Connections.AllowInsecure = true
	w.Options.MetricsAddress, w.Options.ProbeAddress = "0", "0"
	return w
}

// NewNamespace creates a namespace and returns its name.
func (w *World) NewNamespace(labels map[string]string) string {
	w.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	w.MustCreate(namespace)
	return namespace.Name
}

// BehindProxy makes operators that are started later use a proxy to the API server.
func (w *World) BehindProxy() *testenv.Proxy {
	w.Helper()
	proxy, err := testenv.NewProxy(w.Config)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = proxy.Stop() })
	w.Config = proxy.Config()
	return proxy
}

// Operator is a running operator.
type Operator struct {
	Metrics *prometheus.Registry
	// Ended has the error of an operator that has ended by itself.
	Ended <-chan error
	// Stop stops the operator, and waits for it.
	Stop func()
}

// Start runs an operator until the test ends, or until Stop.
func (w *World) Start() *Operator {
	w.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	options := w.Options
	registry := prometheus.NewRegistry()
	options.Controllers.Registry = registry
	options.Logger = operator.NewLogger(zap.WriteTo(w.Log), zap.Level(zapcore.Level(-w.Verbosity)))
	config := rest.CopyConfig(w.Config)
	config.Impersonate.UserName = w.permit()
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		ended <- operator.Run(ctx, config, options)
	}()
	o := &Operator{Metrics: registry, Ended: ended, Stop: sync.OnceFunc(func() {
		cancel()
		<-done
		select {
		case err := <-ended:
			if err != nil {
				w.Errorf("the operator ended with an error: %v", err)
			}
		default: // the test took the error
		}
	})}
	w.Cleanup(o.Stop)
	return o
}

// permit creates a user who has the permissions of config/namespaced, and returns its
// name.
func (w *World) permit() (user string) {
	w.Helper()
	role := &rbacv1.ClusterRole{}
	if err := yaml.Unmarshal([]byte(testenv.Read(w.T, filepath.Join(w.Plane.CRDs, "../../rbac/role.yaml"))), role); err != nil {
		w.Fatal(err)
	}
	user = rand.String(10)
	role.Name = "operator-" + user
	w.MustCreate(role)
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}
	namespaces := w.Options.WatchNamespaces
	if namespace, _, ok := strings.Cut(w.Options.DefaultConnection, "/"); ok && !slices.Contains(namespaces, namespace) {
		namespaces = append(slices.Clone(namespaces), namespace)
	}
	for _, namespace := range namespaces {
		w.MustCreate(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role.Name}, RoleRef: ref, Subjects: subjects})
	}
	needed := &authorizationv1.ResourceAttributes{Verb: "watch", Group: v1alpha1.GroupVersion.Group, Resource: "dlijobs", Namespace: w.Namespace}
	if w.ReadsNamespaces {
		reader := &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "namespaces-" + user},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get", "list", "watch"}}},
		}
		w.MustCreate(reader)
		ref.Name = reader.Name
		w.MustCreate(&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: reader.Name}, RoleRef: ref, Subjects: subjects})
		needed = &authorizationv1.ResourceAttributes{Verb: "watch", Resource: "namespaces"}
	}
	// The API server's authorizer learns of a role a moment later.
	if !testenv.Within(Patience, func() bool {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: needed}}
		return w.Create(w.Context(), review) == nil && review.Status.Allowed
	}) {
		w.Fatalf("%s may not %s %s", user, needed.Verb, needed.Resource)
	}
	return user
}

// Change changes an object on the API server, and retries on conflict.
func Change[T client.Object](w *World, object T, change func(T)) {
	w.Helper()
	w.change(object, func() error { change(object); return w.Update(w.Context(), object) })
}

// ChangeStatus changes the status of an object, like kubectl edit --subresource=status.
func ChangeStatus[T client.Object](w *World, object T, change func(T), options ...client.SubResourceUpdateOption) {
	w.Helper()
	w.change(object, func() error { change(object); return w.Status().Update(w.Context(), object, options...) })
}

func (w *World) change(object client.Object, update func() error) {
	w.Helper()
	var err error
	if !testenv.Within(Patience, func() bool {
		if err = w.Get(w.Context(), client.ObjectKeyFromObject(object), object); err == nil {
			err = update()
		}
		return err == nil
	}) {
		w.Fatalf("cannot change %s: %v", object.GetName(), err)
	}
}

// Secret returns a Secret with a user's access key.
func (w *World) Secret(name string, user dlitest.User) *corev1.Secret {
	return testenv.Secret(w.Namespace, name, user)
}

// Connection returns a connection to the world's DLI with the Secret named credentials.
func (w *World) Connection(name string, changes ...func(*v1alpha1.DLIConnectionSpec)) *v1alpha1.DLIConnection {
	connection := testenv.Connection(w.Namespace, name, w.DLI.URL(), "credentials")
	for _, change := range changes {
		change(&connection.Spec)
	}
	return connection
}

// WatchJob creates a DLIJob for a job, with the same name.
func (w *World) WatchJob(jobID string, changes ...func(*v1alpha1.DLIJob)) *v1alpha1.DLIJob {
	w.Helper()
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: jobID},
		Spec:       v1alpha1.DLIJobSpec{JobID: jobID},
	}
	for _, change := range changes {
		change(job)
	}
	w.MustCreate(job)
	return job
}

// Runs starts a job that runs for the whole test.
func (w *World) Runs(jobID string) { w.DLI.SetJob(dlitest.Query(jobID).Running(time.Hour)) }

// Finishes ends a job now.
func (w *World) Finishes(jobID string) { w.DLI.SetJob(dlitest.Query(jobID).Finishes(4)) }

// Reload reads a DLIJob again.
func (w *World) Reload(job *v1alpha1.DLIJob) *v1alpha1.DLIJob {
	w.Helper()
	current := &v1alpha1.DLIJob{}
	if err := w.Get(w.Context(), client.ObjectKeyFromObject(job), current); err != nil {
		w.Fatal(err)
	}
	return current
}

// Await waits until a DLIJob meets a condition, and returns it.
func (w *World) Await(job *v1alpha1.DLIJob, limit time.Duration, state string, is func(*v1alpha1.DLIJob) bool) *v1alpha1.DLIJob {
	w.Helper()
	var current *v1alpha1.DLIJob
	if !testenv.Within(limit, func() bool { current = w.Reload(job); return is(current) }) {
		w.Fatalf("DLIJob %s is not %s after %v and %d polls: %s",
			job.Name, state, limit, w.DLI.Requests(job.Spec.JobID), Summary(current))
	}
	return current
}

// AwaitReason waits until a DLIJob's Ready condition has a reason.
func (w *World) AwaitReason(job *v1alpha1.DLIJob, reason string) *v1alpha1.DLIJob {
	w.Helper()
	return w.Await(job, Patience, reason, func(job *v1alpha1.DLIJob) bool {
		return Condition(job.Status.Conditions, v1alpha1.ReadyCondition).Reason == reason
	})
}

// AwaitRequests waits until a job was polled n times.
func (w *World) AwaitRequests(jobID string, n int) {
	w.Helper()
	if !testenv.Within(Patience, func() bool { return w.DLI.Requests(jobID) >= n }) {
		w.Fatalf("DLI received %d requests for %s, want %d", w.DLI.Requests(jobID), jobID, n)
	}
}

// ConnectionReady returns a DLIConnection's Ready condition.
func (w *World) ConnectionReady(name string) metav1.Condition {
	w.Helper()
	connection := &v1alpha1.DLIConnection{}
	if err := w.Get(w.Context(), client.ObjectKey{Namespace: w.Namespace, Name: name}, connection); err != nil {
		w.Fatal(err)
	}
	return Condition(connection.Status.Conditions, v1alpha1.ReadyCondition)
}

// Events returns the Events about the DLIJob or DLIConnection of a name as type and reason,
// oldest first.
func (w *World) Events(name string) (events []string) {
	w.Helper()
	list := &eventsv1.EventList{}
	if err := w.List(w.Context(), list, client.InNamespace(w.Namespace)); err != nil {
		w.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
	for _, e := range list.Items {
		if e.Regarding.Name == name {
			events = append(events, e.Type+" "+e.Reason)
		}
	}
	return events
}

// Summary returns a status for failure messages.
func Summary(job *v1alpha1.DLIJob) string {
	text := &strings.Builder{}
	fmt.Fprintf(text, "jobStatus=%q outcome=%q startTime=%v", job.Status.JobStatus, job.Status.Outcome, job.Status.StartTime)
	for _, c := range job.Status.Conditions {
		if c.Type == v1alpha1.ReadyCondition || c.Type == v1alpha1.SyncedCondition {
			fmt.Fprintf(text, "\n  %s=%s/%s %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return text.String()
}

// Condition returns the condition of a type; an empty one if there is none.
func Condition(conditions []metav1.Condition, conditionType string) metav1.Condition {
	if c := meta.FindStatusCondition(conditions, conditionType); c != nil {
		return *c
	}
	return metav1.Condition{}
}
