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

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/robustness/check"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// The operators' intervals: shorter than in production.
const (
	pollMin       = time.Second
	pollMax       = 10 * time.Second
	refresh       = 10 * time.Second
	stallAfter    = 10 * time.Second
	notFoundAfter = 12 * time.Second
	// lease is how long a lease is valid without renewal.
	lease = 15 * time.Second
	// recovery is the time after the last fault by which every end must be shown.
	recovery = pollMax + time.Minute
)

// world has everything that runs.
type world struct {
	options
	dir    string
	plane  *testenv.ControlPlane
	client client.WithWatch
	dli    *frontend
	teams  []*team
	// replicas are the two operators.
	replicas [2]*replica
	jobs     *stream
	watcher  *watcher

	mu sync.Mutex
	// history is guarded by mu, and so are the following fields.
	history *check.History
	during  string
	outages []check.Outage
	grants  []check.Grant
}

// team is a namespace with a connection.
type team struct {
	namespace string
	user      dlitest.User
	limit     check.Limit
	// rotations counts its access keys so far.
	rotations int
}

func newWorld(ctx context.Context, o options) (w *world, err error) {
	w = &world{options: o, during: "nothing", history: check.New(check.Budget{
		NotFoundAfter: notFoundAfter, Refresh: refresh, Versions: 12, PerFault: 8,
	})}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(false))
		}
	}()
	if w.dir, err = os.MkdirTemp("", "dli-robustness-"); err != nil {
		return w, err
	}
	for i := range w.replicas {
		if err := w.build(ctx, replicaName(i)); err != nil {
			return w, err
		}
	}
	say("starting etcd, kube-apiserver and the simulator")
	plane := &testenv.ControlPlane{CRDs: "config/crd/bases"}
	if err := plane.Start(); err != nil {
		return w, err
	}
	w.plane = plane
	config := plane.Config()
	config.Timeout = 5 * time.Second
	if w.client, err = client.NewWithWatch(config, client.Options{Scheme: testenv.Scheme()}); err != nil {
		return w, err
	}
	if w.dli, err = newFrontend(w); err != nil {
		return w, err
	}
	if err := w.createTeams(ctx); err != nil {
		return w, err
	}
	for i := range w.replicas {
		if w.replicas[i], err = newReplica(w, replicaName(i)); err != nil {
			return w, err
		}
	}
	w.jobs = newStream(w)
	w.watcher, err = watch(ctx, w, plane.Config())
	return w, err
}

func replicaName(i int) string { return string(rune('a' + i)) }

// build builds the operator of a replica: DLI distinguishes them by their version.
func (w *world) build(ctx context.Context, name string) error {
	say("building operator %s", name)
	flags := []string{"-ldflags=-X main.version=" + name}
	if w.overlay != "" {
		flags = append(flags, "-overlay="+w.overlay)
	}
	return testenv.BuildOperator(ctx, filepath.Join(w.dir, "operator-"+name), flags...)
}

// createTeams creates four namespaces; the jobs of the last one reach its rate limit.
func (w *world) createTeams(ctx context.Context) error {
	for i := range 4 {
		t := &team{namespace: fmt.Sprintf("team-%d", i), limit: check.Limit{PerSecond: 20, Burst: 20}}
		if i == 3 {
			t.limit = check.Limit{PerSecond: 5, Burst: 5}
		}
		t.user = dlitest.User{ProjectID: fmt.Sprintf("project%d", i)}
		t.rotate()
		w.teams = append(w.teams, t)
		if err := w.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: t.namespace}}); err != nil {
			return err
		}
		if err := errors.Join(w.client.Create(ctx, t.secret(t.user)), w.client.Create(ctx, w.connection(t))); err != nil {
			return err
		}
	}
	w.admit()
	return nil
}

// rotate gives a team a new access key.
func (t *team) rotate() {
	t.rotations++
	t.user.AccessKeyID = fmt.Sprintf("AK%s%d", t.user.ProjectID, t.rotations)
	t.user.SecretAccessKey = "SK" + t.user.AccessKeyID
}

// admit sets the current users in DLI.
func (w *world) admit() {
	users := make([]dlitest.User, len(w.teams))
	for i, t := range w.teams {
		users[i] = t.user
	}
	w.dli.sim.SetUsers(users...)
}

func (t *team) secret(user dlitest.User) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: t.namespace, Name: "credentials"},
		StringData: map[string]string{"accessKeyID": user.AccessKeyID, "secretAccessKey": user.SecretAccessKey},
	}
}

func (w *world) connection(t *team) *v1alpha1.DLIConnection {
	return &v1alpha1.DLIConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: t.namespace, Name: "default"},
		Spec: v1alpha1.DLIConnectionSpec{
			Endpoint: w.dli.url(), ProjectID: t.user.ProjectID,
			Credentials: v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "credentials"}},
			RateLimit:   v1alpha1.RateLimit{RequestsPerSecond: int32(t.limit.PerSecond), Burst: int32(t.limit.Burst)},
		},
	}
}

// toldAtOnce is how many violations are printed immediately.
const toldAtOnce = 60

// judge records something in the history, and prints new violations.
func (w *world) judge(take func(h *check.History)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.history.Violations())
	take(w.history)
	for n, v := range w.history.Violations()[before:] {
		if before+n < toldAtOnce {
			say("VIOLATION %s", v)
		}
	}
}

// saw records a version of a DLIJob.
func (w *world) saw(at time.Time, job *v1alpha1.DLIJob, kstatus string) {
	w.judge(func(h *check.History) { h.Saw(at, job, kstatus) })
}

func (w *world) gone(uid types.UID) { w.judge(func(h *check.History) { h.Gone(uid) }) }

// granted records that a team's connection is recreated.
func (w *world) granted(t *team) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.grants = append(w.grants, check.Grant{Connection: t.user.ProjectID, At: time.Now()})
}

// close stops everything; it keeps the logs if they are useful.
func (w *world) close(keep bool) (err error) {
	if w.watcher != nil {
		w.watcher.stop()
	}
	for _, r := range w.replicas {
		if r != nil {
			r.close()
		}
	}
	if w.dli != nil {
		w.dli.close()
	}
	if w.plane != nil {
		err = w.plane.Close()
	}
	if keep || w.keepLogs {
		say("logs are in %s", w.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

// wait waits for a time, or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// until waits for a condition; false if it is not met within limit.
func until(ctx context.Context, limit time.Duration, is func() bool) bool {
	timeout := time.After(limit)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if is() {
			return true
		}
		select {
		case <-tick.C:
		case <-timeout:
			return is()
		case <-ctx.Done():
			return false
		}
	}
}

// insist retries an operation on the API server until it succeeds, because other faults may
// interfere.
func (w *world) insist(ctx context.Context, what string, do func() error) error {
	var err error
	if !until(ctx, 90*time.Second, func() bool { err = do(); return err == nil }) {
		return fmt.Errorf("%s: %w", what, errors.Join(err, ctx.Err()))
	}
	return nil
}
