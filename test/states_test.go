// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// namespace has a DLIJob in every state, and DLIConnections.
const namespace = "analytics"

// watchedBy is the label that assigns a DLIJob to an operator.
const watchedBy = "operator"

// state is a state of a DLIJob: how to reach it, and what tools should make of it.
type state struct {
	// name of the DLIJob.
	name string
	// job configures the job in DLI, whose ID is the name of the DLIJob; nil for none.
	job func(dlitest.Job) dlitest.Job
	// answer replaces DLI's response.
	answer *dlitest.Response
	// connection is the DLIConnection that the DLIJob names; default if empty.
	connection string
	spec       func(*v1alpha1.DLIJobSpec)
	// patient assigns the DLIJob to the operator with long timeouts, unwatched to none.
	patient, unwatched bool
	// then changes the DLIJob once it has reached the state.
	then func(*v1alpha1.DLIJobSpec)

	// reason is the expected reason of Ready, outcome the expected outcome.
	reason  string
	outcome v1alpha1.Outcome
	// argoCD is the health that Argo CD should show.
	argoCD string
}

const (
	healthy     = "Healthy"
	degraded    = "Degraded"
	progressing = "Progressing"
	suspended   = "Suspended"
)

// states returns all rows of the table of states in docs/dlijob.md.
func states() []state {
	being := func(word string) func(dlitest.Job) dlitest.Job {
		return func(job dlitest.Job) dlitest.Job { return job.Launching(3*time.Second).Being(word, 1000*time.Hour) }
	}
	finishing := func(job dlitest.Job) dlitest.Job {
		return job.Launching(3 * time.Second).Running(9 * time.Second).Finishes(4)
	}
	suspend := func(spec *v1alpha1.DLIJobSpec) { spec.Suspend = true }
	return []state{
		{name: "unseen", unwatched: true, argoCD: progressing},
		{name: "pending", connection: "slow", reason: "Pending", argoCD: progressing},
		{name: "launching", reason: "JobLaunching", argoCD: progressing,
			job: func(job dlitest.Job) dlitest.Job { return job.Launching(1000 * time.Hour) }},
		{name: "running", job: being("RUNNING"), reason: "JobRunning", argoCD: progressing},
		{name: "scaling", job: being("SCALING"), reason: "JobScaling", argoCD: progressing},
		{name: "unrecognized", job: being("HIBERNATING"), reason: "JobStatusUnrecognized", argoCD: progressing},

		{name: "finished", job: finishing, reason: "JobFinished", outcome: "Succeeded", argoCD: healthy},
		{name: "finished-suspended", job: finishing, then: suspend, reason: "JobFinished", outcome: "Succeeded", argoCD: healthy},
		{name: "inserted", reason: "JobFinished", outcome: "Succeeded", argoCD: healthy,
			job: func(job dlitest.Job) dlitest.Job {
				insert := dlitest.Insert(job.ID)
				insert.Start = job.Start
				return insert.Launching(3*time.Second).Running(90*time.Second).Inserts(998, 2)
			}},
		{name: "failed", reason: "JobFailed", outcome: "Failed", argoCD: degraded,
			job: func(job dlitest.Job) dlitest.Job {
				return job.Launching(3 * time.Second).Running(12 * time.Second).Fails(
					"Please contact DLI service. DLI.0002: FileNotFoundException: getFileStatus on obs://bucket/table: status [404]\n\tat org.apache.hadoop.fs.obs.OBSFileSystem")
			}},
		{name: "cancelled", reason: "JobCancelled", outcome: "Cancelled", argoCD: degraded,
			job: func(job dlitest.Job) dlitest.Job {
				return job.Launching(15 * time.Second).Cancelled("作业执行超时")
			}},
		{name: "not-found", reason: "JobNotFound", outcome: "NotFound", argoCD: degraded},
		{name: "not-found-unconfirmed", patient: true, reason: "JobNotFound", argoCD: progressing},

		{name: "credentials-rejected", connection: "unknown-key", reason: "CredentialsRejected", argoCD: degraded},
		{name: "credentials-rejected-within-grace", connection: "unknown-key", patient: true, reason: "CredentialsRejected", argoCD: progressing},
		{name: "permission-denied", reason: "PermissionDenied", argoCD: degraded,
			answer: dlitest.DLIError(http.StatusForbidden, "DLI.0003", "The user has no permission on this queue.")},
		{name: "secret-not-found", connection: "no-secret", reason: "SecretNotFound", argoCD: degraded},
		{name: "secret-invalid", connection: "empty-secret", reason: "SecretInvalid", argoCD: degraded},
		{name: "connection-not-found", connection: "missing", reason: "ConnectionNotFound", argoCD: degraded},
		{name: "connection-not-allowed", reason: "ConnectionNotAllowed", argoCD: degraded,
			spec: func(spec *v1alpha1.DLIJobSpec) {
				spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: "default", Namespace: "finance"}
			}},
		{name: "endpoint-misconfigured", connection: "no-region", reason: "EndpointMisconfigured", argoCD: degraded},
		{name: "request-rejected", reason: "RequestRejected", argoCD: degraded,
			answer: dlitest.DLIError(http.StatusBadRequest, "DLI.0001", "Parameter check failed.")},

		{name: "endpoint-unreachable", connection: "unreachable", reason: "EndpointUnreachable", argoCD: progressing},
		{name: "server-error", connection: "failing", reason: "ServerError", argoCD: progressing,
			answer: dlitest.DLIError(http.StatusInternalServerError, "DLI.0999", "Server-side errors.")},
		{name: "rate-limited", connection: "throttled", reason: "RateLimited", argoCD: progressing,
			answer: dlitest.GatewayError(http.StatusTooManyRequests, "APIGW.0308",
				"The throttling threshold has been reached: policy user over ratelimit,limit:60,time:1 minute",
				"0123456789abcdef0123456789abcdef")},
		{name: "invalid-response", connection: "garbled", reason: "InvalidResponse", argoCD: progressing,
			answer: &dlitest.Response{Status: http.StatusOK, Body: "<html>login</html>"}},

		{name: "deadline-exceeded", job: being("RUNNING"), reason: "DeadlineExceeded", argoCD: degraded,
			spec: func(spec *v1alpha1.DLIJobSpec) { spec.ActiveDeadlineSeconds = new(int64(3600)) }},
		{name: "suspended", spec: suspend, reason: "Suspended", argoCD: suspended},
		// Changed after the operators have stopped.
		{name: "changed", job: finishing, reason: "JobFinished", outcome: "Succeeded", argoCD: progressing},
	}
}

// everyState is set up once, for all tests that use it.
var everyState stage

// stage is a namespace with a DLIJob in each state. The operators have been stopped, so
// the states no longer change.
type stage struct {
	once sync.Once
	err  error
	dli  *dlitest.Server
}

func (s *stage) reach(t *testing.T) {
	t.Helper()
	s.once.Do(func() { s.err = s.set() })
	if s.err != nil {
		t.Fatal(s.err)
	}
}

// set brings all DLIJobs into their states. DLI's clock stands still, and the jobs
// started so long ago that kubectl shows their age in hours: this makes figures and
// ages the same in every run.
func (s *stage) set() error {
	ctx, now := context.Background(), time.Now()
	server, err := dlitest.NewServer(dlitest.WithClock(func() time.Time { return now }))
	if err != nil {
		return err
	}
	s.dli = server
	if err := s.setConnections(ctx); err != nil {
		return err
	}
	patience := quick()
	patience.StallAfter, patience.NotFoundAfter = time.Hour, time.Hour
	stops := []func() error{
		startOperator(watchedBy+"=quick", quick(), true),
		startOperator(watchedBy+"=patient", patience, false),
	}
	if err := s.setJobs(ctx, now.Add(-30*time.Hour-30*time.Minute)); err != nil {
		return err
	}
	if err := s.await(ctx); err != nil {
		return err
	}
	for _, stop := range stops {
		if err := stop(); err != nil {
			return err
		}
	}
	if err := change(ctx, "changed", func(spec *v1alpha1.DLIJobSpec) { spec.ActiveDeadlineSeconds = new(int64(3600)) }); err != nil {
		return err
	}
	return admin.Create(ctx, connectionTo(server.URL(), namespace, "unseen", "dli-credentials"))
}

// connections lists the DLIConnections to check, with the expected reason of Ready.
var connections = map[string]string{
	"default":      "Connected",
	"unused":       "Configured",
	"unreachable":  "CircuitOpen",
	"throttled":    "RateLimited",
	"no-secret":    "SecretNotFound",
	"empty-secret": "SecretInvalid",
	"unknown-key":  "CredentialsRejected",
	"no-region":    "EndpointMisconfigured",
}

func (s *stage) setConnections(ctx context.Context) error {
	to := func(name, secret string) *v1alpha1.DLIConnection {
		return connectionTo(s.dli.URL(), namespace, name, secret)
	}
	nowhere := to("no-region", "dli-credentials")
	nowhere.Spec.Endpoint, nowhere.Spec.Region = "", "cn-nowhere-9"
	// It needs its own credentials: while the first request with new credentials hangs,
	// no other is sent with them.
	patient := dlitest.SampleUser()
	patient.AccessKeyID = "AKSLOW"
	s.dli.SetUsers(dlitest.SampleUser(), patient)
	// Shared with the namespace of the helper jobs.
	slow, unreachable := to("slow", "slow"), connectionTo("http://127.0.0.1:1", namespace, "unreachable", "dli-credentials")
	slow.Spec.AllowedNamespaces.From, unreachable.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll, v1alpha1.NamespacesFromAll
	for _, object := range []client.Object{
		namespaceNamed(namespace), namespaceNamed("elsewhere"),
		testenv.Secret(namespace, "dli-credentials", dlitest.SampleUser()),
		testenv.Secret(namespace, "unknown-key", dlitest.User{AccessKeyID: "AKUNKNOWN", SecretAccessKey: "SKUNKNOWN"}),
		testenv.Secret(namespace, "empty-secret", dlitest.User{}), testenv.Secret(namespace, "slow", patient),
		to("default", "dli-credentials"), to("unused", "dli-credentials"), to("failing", "dli-credentials"),
		to("throttled", "dli-credentials"), to("garbled", "dli-credentials"),
		to("unknown-key", "unknown-key"), to("no-secret", "no-secret"), to("empty-secret", "empty-secret"),
		nowhere, slow, unreachable,
	} {
		if err := admin.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) setJobs(ctx context.Context, started time.Time) error {
	// While one request tries new credentials, the other jobs stay pending.
	s.dli.SetResponse("hanging", &dlitest.Response{Hang: true})
	s.dli.SetResponse("pending", &dlitest.Response{Hang: true})
	helpers := []*v1alpha1.DLIJob{helper("hanging", "slow")}
	// This many failures open the circuit of an endpoint.
	for i := range 6 {
		helpers = append(helpers, helper(fmt.Sprintf("failing-%d", i), "unreachable"))
	}
	for _, job := range helpers {
		if err := admin.Create(ctx, job); err != nil {
			return err
		}
	}
	if !eventually(func() bool { return s.dli.Requests("hanging") > 0 }) {
		return errors.New("the first job was not polled")
	}

	for _, state := range states() {
		job := dlitest.Query(state.name)
		job.Start = started
		if state.job != nil {
			s.dli.SetJob(state.job(job))
		}
		if state.answer != nil {
			s.dli.SetResponse(state.name, state.answer)
		}
		if err := admin.Create(ctx, state.object()); err != nil {
			return err
		}
	}
	return nil
}

func helper(name, connection string) *v1alpha1.DLIJob {
	return &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: name, Labels: map[string]string{watchedBy: "quick"}},
		Spec: v1alpha1.DLIJobSpec{
			JobID:         name,
			ConnectionRef: &v1alpha1.ConnectionReference{Name: connection, Namespace: namespace},
		},
	}
}

func (s state) object() *v1alpha1.DLIJob {
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: s.name},
		Spec:       v1alpha1.DLIJobSpec{JobID: s.name},
	}
	switch {
	case s.unwatched:
	case s.patient:
		job.Labels = map[string]string{watchedBy: "patient"}
	default:
		job.Labels = map[string]string{watchedBy: "quick"}
	}
	if s.connection != "" {
		job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: s.connection}
	}
	if s.spec != nil {
		s.spec(&job.Spec)
	}
	return job
}

// await waits until every DLIJob and DLIConnection is in its state, and the Events have
// been sent.
func (s *stage) await(ctx context.Context) error {
	for _, state := range states() {
		if state.unwatched {
			continue
		}
		if err := state.await(ctx); err != nil {
			return err
		}
		if state.then == nil {
			continue
		}
		if err := change(ctx, state.name, state.then); err != nil {
			return err
		}
		if err := state.await(ctx); err != nil {
			return err
		}
	}
	for name, reason := range connections {
		connection := &v1alpha1.DLIConnection{}
		if !eventually(func() bool {
			err := admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, connection)
			return err == nil && reasonOf(connection.Status.Conditions) == reason
		}) {
			return fmt.Errorf("DLIConnection %s did not become %s: %+v", name, reason, connection.Status)
		}
	}
	for _, name := range described {
		events := &eventsv1.EventList{}
		if !eventually(func() bool {
			err := admin.List(ctx, events, client.InNamespace(namespace))
			return err == nil && hasEvent(events, name)
		}) {
			return fmt.Errorf("there is no Event for DLIJob %s", name)
		}
	}
	return nil
}

func hasEvent(events *eventsv1.EventList, name string) bool {
	for _, event := range events.Items {
		if event.Regarding.Name == name {
			return true
		}
	}
	return false
}

func (s state) await(ctx context.Context) error {
	job := &v1alpha1.DLIJob{}
	is := func() bool {
		err := admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: s.name}, job)
		return err == nil && job.Status.ObservedGeneration == job.Generation &&
			reasonOf(job.Status.Conditions) == s.reason && job.Status.Outcome == s.outcome &&
			meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.StalledCondition) == (s.argoCD == degraded)
	}
	if !eventually(is) {
		return fmt.Errorf("DLIJob %s did not become %s: %+v", s.name, s.reason, job.Status)
	}
	return nil
}

func reasonOf(conditions []metav1.Condition) string {
	if ready := meta.FindStatusCondition(conditions, v1alpha1.ReadyCondition); ready != nil {
		return ready.Reason
	}
	return ""
}

// change changes the spec of a DLIJob, and retries on conflict.
func change(ctx context.Context, name string, change func(*v1alpha1.DLIJobSpec)) error {
	var err error
	if !eventually(func() bool {
		job := &v1alpha1.DLIJob{}
		if err = admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, job); err == nil {
			change(&job.Spec)
			err = admin.Update(ctx, job)
		}
		return err == nil
	}) {
		return fmt.Errorf("changing DLIJob %s: %w", name, err)
	}
	return nil
}

// fetch returns an object of the stage from the API server.
func fetch(t *testing.T, kind, name string) *unstructured.Unstructured {
	t.Helper()
	everyState.reach(t)
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object
}
