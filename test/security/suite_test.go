// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package security attacks the built operator, as config/default installs it, on a real
// API server: as tenants who may write DLIJobs and DLIConnections in their namespaces, and
// as the endpoints that these choose. docs/security.md has a table of the attacks and of
// what others lose by them.
//
// The attacks that take memory, processor time or turns run one after the other, each on an
// operator of its own. The others run side by side on one operator.
package security

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

const operatorNamespace = "dli-operator-system"

var (
	// plane has config/default installed, with pod as the operator's.
	plane       = &testenv.ControlPlane{}
	install     sync.Once
	isInstalled bool
	pod         corev1.PodSpec
	// shared is the operator of the attacks that run side by side.
	shared    *operator
	startOnce sync.Once
)

// sized is how large or long something is: short with -short, else full.
func sized[T any](short, full T) T {
	if testing.Short() {
		return short
	}
	return full
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(runTests(m))
}

func runTests(m *testing.M) (code int) {
	defer func() {
		if shared != nil {
			shared.Kill()
		}
		if !isInstalled {
			return
		}
		if err := plane.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}

// cluster is the world of those who must not notice an attack: its namespace has a
// connection to a DLI that works. Attackers have other namespaces.
type cluster struct {
	*world.World
	// api is where the operator finds the API server.
	api *rest.Config
}

// newCluster returns a cluster with the operator installed, but not running.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	install.Do(func() {
		if err := plane.Start(); err != nil {
			t.Fatal(err)
		}
		isInstalled = true
		testenv.Kubectl(t, testenv.KubeConfig(t, plane.Config(), ""), "", "apply", "-k", "../../config/default")
		deployment := &appsv1.Deployment{}
		key := client.ObjectKey{Namespace: operatorNamespace, Name: "dli-operator-controller-manager"}
		if err := testenv.Client(t, plane.Config()).Get(t.Context(), key, deployment); err != nil {
			t.Fatal(err)
		}
		pod = deployment.Spec.Template.Spec
	})
	if len(pod.Containers) == 0 {
		t.Fatal("config/default is not installed")
	}
	c := &cluster{world.New(t, plane), plane.Config()}
	c.clear(c.Namespace)
	return c
}

// clear deletes what a test leaves in a namespace, which later operators would poll.
func (c *cluster) clear(namespace string) {
	c.Helper()
	c.Cleanup(func() {
		ctx := context.WithoutCancel(c.Context())
		for _, kind := range []client.Object{&v1alpha1.DLIJob{}, &v1alpha1.DLIConnection{}} {
			var err error
			if !testenv.Within(5*world.Patience, func() bool {
				err = c.DeleteAllOf(ctx, kind, client.InNamespace(namespace))
				return err == nil || !apierrors.IsTimeout(err) // of large objects, it takes the API server minutes
			}) || err != nil {
				c.Error(err)
			}
		}
	})
}

// tenant returns a new namespace with a Secret named credentials.
func (c *cluster) tenant(labels map[string]string) (namespace string) {
	c.Helper()
	namespace = c.NewNamespace(labels)
	c.clear(namespace)
	c.secret(namespace, "credentials", dlitest.SampleUser())
	return namespace
}

func (c *cluster) secret(namespace, name string, user dlitest.User) {
	c.Helper()
	secret := c.Secret(name, user)
	secret.Namespace = namespace
	c.MustCreate(secret)
}

// ownKey makes a connection of a tenant use a key of its own: until DLI has accepted the
// credentials of a connection, they are tried in turn with all others that have the same
// access key ID, and wrong signatures hold these back.
func (c *cluster) ownKey(namespace string) func(*v1alpha1.DLIConnectionSpec) {
	c.Helper()
	c.secret(namespace, "own", dlitest.User{AccessKeyID: "AKOFTHEATTACKER", SecretAccessKey: "secret-of-the-attacker"})
	return func(spec *v1alpha1.DLIConnectionSpec) { spec.Credentials.SecretRef.Name = "own" }
}

// connect creates a connection of a tenant to an endpoint.
func (c *cluster) connect(namespace, name, endpoint string, changes ...func(*v1alpha1.DLIConnectionSpec)) *v1alpha1.DLIConnection {
	c.Helper()
	connection := c.connection(namespace, name, endpoint, changes...)
	c.MustCreate(connection)
	return connection
}

func (c *cluster) connection(namespace, name, endpoint string, changes ...func(*v1alpha1.DLIConnectionSpec)) *v1alpha1.DLIConnection {
	connection := c.Connection(name, changes...)
	connection.Namespace, connection.Spec.Endpoint = namespace, endpoint
	return connection
}

// createJobs creates n DLIJobs of a tenant concurrently, named after their number.
func (c *cluster) createJobs(namespace string, n int, change func(job *v1alpha1.DLIJob, i int)) {
	c.Helper()
	objects := make([]client.Object, n)
	for i := range objects {
		job := &v1alpha1.DLIJob{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "job-" + strconv.Itoa(i)}}
		job.Spec.JobID = job.Name
		change(job, i)
		objects[i] = job
	}
	c.createAll(objects)
}

// createAll creates objects concurrently.
func (c *cluster) createAll(objects []client.Object) {
	c.Helper()
	const workers = 16
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < len(objects); i += workers {
				if err := c.Create(c.Context(), objects[i]); err != nil {
					c.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if c.Failed() {
		c.FailNow()
	}
}

// every makes a DLIJob be polled at a fixed interval.
func every(seconds int32) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) { job.Spec.PollIntervalSeconds = &seconds }
}

// watchRunning watches n jobs of the cluster's own, which run, at an interval.
func (c *cluster) watchRunning(n int, seconds int32) (ids []string) {
	c.Helper()
	for i := range n {
		id := fmt.Sprintf("own-%d", i)
		c.Runs(id)
		c.WatchJob(id, every(seconds))
		ids = append(ids, id)
	}
	return ids
}

// longestGap is the longest time that any of some jobs was not polled since a time.
func (c *cluster) longestGap(ids []string, from time.Time) (longest time.Duration) {
	now := time.Now()
	for _, id := range ids {
		last := from
		for _, at := range append(c.DLI.Log(id), now) {
			if at.After(from) {
				longest, last = max(longest, at.Sub(last)), at
			}
		}
	}
	return longest
}

// await fails the test if a condition is not met in time.
func (c *cluster) await(what string, is func() bool) {
	c.Helper()
	if !testenv.Within(world.Patience, is) {
		c.Fatalf("not within %v: %s", world.Patience, what)
	}
}

// events returns the Events in a namespace.
func (c *cluster) events(namespace string) []eventsv1.Event {
	c.Helper()
	list := &eventsv1.EventList{}
	if err := c.List(c.Context(), list, client.InNamespace(namespace)); err != nil {
		c.Fatal(err)
	}
	return list.Items
}

// warnings returns the reasons and notes of the Warning Events in a namespace.
func (c *cluster) warnings(namespace string) (notes []string) {
	c.Helper()
	for _, event := range c.events(namespace) {
		if event.Type == corev1.EventTypeWarning {
			notes = append(notes, event.Reason+": "+event.Note)
		}
	}
	return notes
}

// isInvalid reports whether the API server refused an object because of its schema.
func isInvalid(err error) bool { return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) }
