// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/robustness/check"
	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	// recovery is the time after the last fault by which every end must be shown.
	recovery = pollMax + time.Minute
	// foreignLabel is the label of DLIJobs that are left to the second operator.
	foreignLabel = "foreign"
)

// cluster has everything that runs.
type cluster struct {
	dir     string
	overlay string
	history *check.History
	plane   *testenv.ControlPlane
	client  client.WithWatch
	dli     *frontend
	teams   []*team
	// replicas are the two operators of one release, of which one leads.
	replicas [2]*operator
	jobs     *jobStream
	watcher  *watcher
}

// team is a namespace with a connection.
type team struct {
	namespace string
	user      dlitest.User
	limit     check.Rating
	// rotations counts its access keys so far.
	rotations int
}

// newTeams returns four teams; the jobs of the last one reach its rate limit.
func newTeams() (teams []*team) {
	for i := range 4 {
		t := &team{namespace: fmt.Sprintf("team-%d", i), limit: check.Rating{PerSecond: 20, Burst: 20}}
		if i == 3 {
			t.limit = check.Rating{PerSecond: 5, Burst: 5}
		}
		t.user = dlitest.User{ProjectID: fmt.Sprintf("project%d", i)}
		t.rotate()
		teams = append(teams, t)
	}
	return teams
}

// rotate gives a team a new access key.
func (t *team) rotate() {
	t.rotations++
	t.user.AccessKeyID = fmt.Sprintf("AK%s%d", t.user.ProjectID, t.rotations)
	t.user.SecretAccessKey = "SK" + t.user.AccessKeyID
}

// secret returns the Secret with a user's key.
func (t *team) secret(user dlitest.User) *corev1.Secret {
	return testenv.Secret(t.namespace, "credentials", user)
}

// startCluster starts everything; jobs is how many jobs run at a time, and overlay a file
// for go build -overlay.
func startCluster(ctx context.Context, seed uint64, jobs int, overlay string) (c *cluster, err error) {
	c = &cluster{overlay: overlay, teams: newTeams()}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close(false))
		}
	}()
	budget := check.Budget{
		NotFoundAfter: notFoundAfter, Refresh: refresh, Versions: 12, PerFault: 8, ConnectionVersions: 10, ConnectionPerProcess: 5,
		Rates: map[string]check.Rating{}, Slack: 4, Lease: lease, Errors: errorsPerMinute,
	}
	for _, t := range c.teams {
		budget.Rates[t.user.ProjectID] = t.limit
	}
	reported := map[string]int{}
	c.history = check.New(budget, func(v check.Violation) {
		// A few of each kind explain the others.
		kind := v.During + string(v.Invariant)
		if reported[kind]++; reported[kind] <= 5 {
			say("VIOLATION %s", v)
		}
	})
	if c.dir, err = os.MkdirTemp("", "dli-robustness-"); err != nil {
		return c, err
	}
	for _, name := range replicaNames {
		if err := buildOperator(ctx, name, c.dir, overlay); err != nil {
			return c, err
		}
	}
	say("starting etcd, kube-apiserver and the simulator")
	plane := &testenv.ControlPlane{CRDs: "config/crd/bases"}
	if err := plane.Start(); err != nil {
		return c, err
	}
	c.plane = plane
	config := plane.Config()
	config.Timeout = 5 * time.Second
	if c.client, err = client.NewWithWatch(config, client.Options{Scheme: testenv.Scheme()}); err != nil {
		return c, err
	}
	if c.dli, err = newFrontend(c.history, c.process); err != nil {
		return c, err
	}
	if err := c.createTeams(ctx); err != nil {
		return c, err
	}
	if c.watcher, err = watch(ctx, c.history, plane.Config()); err != nil {
		return c, err
	}
	for i, name := range replicaNames {
		if c.replicas[i], err = startOperator(name, c.dir, plane.Config(), "--leader-elect",
			"--leader-election-namespace="+leaseNamespace, "--watch-label-selector=!"+foreignLabel); err != nil {
			return c, err
		}
	}
	c.jobs = &jobStream{
		client: c.client, sim: c.dli.sim, watcher: c.watcher, namespaces: c.namespaces(), active: jobs,
		random: rand.New(rand.NewPCG(seed, 1)),
	}
	return c, nil
}

// replicaNames are the names of the replicas.
var replicaNames = [2]string{"a", "b"}

// process names the process that now runs as an operator.
func (c *cluster) process(name string) string {
	for _, o := range c.replicas {
		if o != nil && o.name == name {
			return o.process()
		}
	}
	return name
}

func (c *cluster) namespaces() (names []string) {
	for _, t := range c.teams {
		names = append(names, t.namespace)
	}
	return names
}

func (c *cluster) createTeams(ctx context.Context) error {
	for _, t := range c.teams {
		if err := c.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: t.namespace}}); err != nil {
			return err
		}
		if err := errors.Join(c.client.Create(ctx, t.secret(t.user)), c.client.Create(ctx, c.connection(t))); err != nil {
			return err
		}
	}
	c.admit()
	return nil
}

// admit sets the current users in DLI.
func (c *cluster) admit() {
	users := make([]dlitest.User, len(c.teams))
	for i, t := range c.teams {
		users[i] = t.user
	}
	c.dli.sim.SetUsers(users...)
}

func (c *cluster) connection(t *team) *v1alpha1.DLIConnection {
	connection := testenv.Connection(t.namespace, "default", c.dli.url(), "credentials")
	connection.Spec.ProjectID = t.user.ProjectID
	connection.Spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: int32(t.limit.PerSecond), Burst: int32(t.limit.Burst)}
	return connection
}

// leader waits for a leader.
func (c *cluster) leader(ctx context.Context) (leader *operator, err error) {
	if !until(ctx, time.Minute, func() bool {
		for _, leader = range c.replicas {
			if leader.leads(ctx) {
				return true
			}
		}
		return false
	}) {
		return nil, errors.Join(errors.New("no operator leads after a minute"), ctx.Err())
	}
	return leader, nil
}

// recreate deletes an object and creates it anew some time later.
func (c *cluster) recreate(ctx context.Context, after time.Duration, object func() client.Object) error {
	err := insist(ctx, "deleting "+object().GetName(), func() error { return client.IgnoreNotFound(c.client.Delete(ctx, object())) })
	err = errors.Join(err, wait(ctx, after))
	return errors.Join(err, insist(ctx, "creating "+object().GetName(), func() error {
		return client.IgnoreAlreadyExists(c.client.Create(ctx, object()))
	}))
}

// repair fixes what a restore of etcd may have left behind: credentials that DLI no longer
// accepts, and deleted objects.
func (c *cluster) repair(ctx context.Context) error {
	for _, t := range c.teams {
		if err := insist(ctx, "repairing "+t.namespace, func() error {
			err := c.client.Update(ctx, t.secret(t.user))
			if apierrors.IsNotFound(err) {
				err = c.client.Create(ctx, t.secret(t.user))
			}
			err = errors.Join(err, client.IgnoreAlreadyExists(c.client.Create(ctx, c.connection(t))))
			return errors.Join(err, c.client.DeleteAllOf(ctx, &v1alpha1.DLIJob{}, client.InNamespace(t.namespace), client.MatchingLabels{kindLabel: burst}))
		}); err != nil {
			return err
		}
	}
	return nil
}

// waiting returns the jobs that had ended at a time but do not show it, the running jobs that
// were not polled since, and those that DLI does not have but show how they ended.
func (c *cluster) waiting(since time.Time) (names []string) {
	for _, job := range c.watcher.jobs() {
		kind, ends, polled := job.Labels[kindLabel], c.jobs.endOf(job.Spec.JobID), c.dli.lastPolled(job.Spec.JobID)
		switch {
		case kind == missing && job.IsCompleted() && job.Status.Outcome != v1alpha1.OutcomeNotFound:
			names = append(names, fmt.Sprintf("%s/%s shows %s, which DLI did not report", job.Namespace, job.Name, job.Status.Outcome))
		case job.IsCompleted() || ends.IsZero() || kind == missing || kind == panicking,
			kind == bad && time.Now().Before(since.Add(recovery-2*time.Second)):
		case ends.Before(since):
			names = append(names, fmt.Sprintf("%s/%s ended %v before, was polled %v after, shows %s", job.Namespace, job.Name,
				since.Sub(ends).Round(time.Second), polled.Sub(since).Round(time.Millisecond), synced(job)))
		case polled.Before(since) && job.CreationTimestamp.Time.Before(since):
			names = append(names, fmt.Sprintf("%s/%s was last polled %v before, shows %s", job.Namespace, job.Name,
				since.Sub(polled).Round(time.Second), synced(job)))
		}
	}
	return names
}

// unpolled returns the running jobs that were not polled since a time. One that has ended may run
// again in DLI, but what was not stored yet is its end.
func (c *cluster) unpolled(since time.Time) (names []string) {
	for _, job := range c.watcher.jobs() {
		kind, ends, polled := job.Labels[kindLabel], c.jobs.endOf(job.Spec.JobID), c.dli.lastPolled(job.Spec.JobID)
		isPollable := !job.IsCompleted() && ends.After(time.Now()) && kind != missing && kind != bad && kind != back && kind != panicking
		if isPollable && polled.Before(since) && job.CreationTimestamp.Time.Before(since) {
			names = append(names, fmt.Sprintf("%s/%s, last polled at %s, shows %s", job.Namespace, job.Name, polled.Format(time.TimeOnly), synced(job)))
		}
	}
	return names
}

// synced describes what a DLIJob says of its polls.
func synced(job *v1alpha1.DLIJob) string {
	for _, c := range job.Status.Conditions {
		if c.Type == v1alpha1.SyncedCondition {
			return strings.TrimSpace(fmt.Sprintf("%s/%s %s", job.Status.JobStatus, c.Reason, c.Message))
		}
	}
	return "nothing"
}

// close stops everything; it keeps the logs if they are useful.
func (c *cluster) close(keep bool) (err error) {
	if c.watcher != nil {
		c.watcher.stop()
	}
	for _, o := range c.replicas {
		if o != nil {
			o.close()
		}
	}
	if c.dli != nil {
		c.dli.close()
	}
	if c.plane != nil {
		err = c.plane.Close()
	}
	if keep {
		say("logs are in %s", c.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}
