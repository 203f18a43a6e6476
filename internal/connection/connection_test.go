// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// source returns what the test sets.
type source struct {
	creds   dli.Credentials
	life    time.Duration
	failure *Failure
	now     *clocktesting.FakePassiveClock
	fetches []time.Time
}

func (s *source) fetch(context.Context) (dli.Credentials, time.Time, error) {
	s.fetches = append(s.fetches, s.now.Now())
	switch {
	case s.failure != nil:
		return dli.Credentials{}, time.Time{}, s.failure
	case s.life == 0:
		return s.creds, time.Time{}, nil
	}
	return s.creds, s.now.Now().Add(s.life), nil
}

// fake is a client with a function of the test, and a recorder that discards
// everything.
type fake func(ctx context.Context) (*dli.JobStatus, error)

func (f fake) Status(ctx context.Context, _ dli.Credentials, _ dli.JobType, _ string) (*dli.JobStatus, error) {
	return f(ctx)
}
func (fake) List(context.Context, dli.Credentials, dli.JobType, dli.ListOptions) (*dli.JobList, error) {
	return &dli.JobList{}, nil
}
func (fake) JobProgress(context.Context, dli.Credentials, string) (*dli.Progress, error) {
	return &dli.Progress{}, nil
}
func (fake) OpenedConnections() uint64                           { return 0 }
func (fake) CloseIdleConnections()                               {}
func (fake) Requested(string, string, time.Duration, *dli.Error) {}

func answering(context.Context) (*dli.JobStatus, error) { return &dli.JobStatus{}, nil }

func registry(client fake) (*Registry, *clocktesting.FakePassiveClock) {
	now := clocktesting.NewFakePassiveClock(noon)
	return NewRegistry(reader(nil), nil, Options{
		AllowInsecure: true,
		NewClient:     func(dli.Config) (Client, error) { return client, nil },
	}, client), now
}

func object(name string) *v1alpha1.DLIConnection {
	return &v1alpha1.DLIConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: types.UID(name), Generation: 1},
		Spec: v1alpha1.DLIConnectionSpec{
			Endpoint:    "http://127.0.0.1:1",
			ProjectID:   "p",
			Credentials: v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "s"}},
			RateLimit:   v1alpha1.RateLimit{RequestsPerSecond: 20, Burst: 20},
		},
	}
}

// connect opens a connection with a token.
func connect(t *testing.T, r *Registry, now *clocktesting.FakePassiveClock, object *v1alpha1.DLIConnection, token string) *Connection {
	t.Helper()
	conn := r.Configure(object)
	conn.credentials.fetch = (&source{creds: dli.Credentials{Token: token}, now: now}).fetch
	if _, _, err := conn.Refresh(t.Context(), object.Status.RejectedCredentials, now.Now()); err != nil {
		t.Fatal(err)
	}
	return conn
}

// An edit or a re-creation reconfigures the connection; there never is a second one.
func TestReconfigure(t *testing.T) {
	edited := func(change func(*v1alpha1.DLIConnection)) *v1alpha1.DLIConnection {
		next := object("a")
		next.Generation++
		change(next)
		return next
	}
	for name, test := range map[string]struct {
		change   func(*v1alpha1.DLIConnection)
		outdates bool
	}{
		"of who may use it": {func(o *v1alpha1.DLIConnection) { o.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll }, false},
		"of the project":    {func(o *v1alpha1.DLIConnection) { o.Spec.ProjectID = "q" }, true},
		"of the endpoint":   {func(o *v1alpha1.DLIConnection) { o.Spec.Endpoint = "http://127.0.0.1:2" }, true},
		"of the Secret":     {func(o *v1alpha1.DLIConnection) { o.Spec.Credentials.SecretRef.Name = "other" }, true},
		"of its UID alone":  {func(o *v1alpha1.DLIConnection) { o.UID, o.Generation = "anew", 1 }, true},
	} {
		t.Run("a change "+name, func(t *testing.T) {
			r, now := registry(answering)
			conn := connect(t, r, now, object("a"), "t")
			before := conn.Begin(noon, CallStatus, dli.JobTypeSQL, "job", "")
			if connect(t, r, now, edited(test.change), "t") != conn {
				t.Fatal("there is a second connection")
			}
			if _, err := before.SendStatus(t.Context(), now.Now); errors.Is(err, ErrOutdated) != test.outdates {
				t.Errorf("a response to a request from before: error %v", err)
			}
			if _, err := conn.Begin(noon, CallStatus, dli.JobTypeSQL, "job", "").SendStatus(t.Context(), now.Now); err != nil {
				t.Errorf("a response to a request from after: error %v", err)
			}
			if n := len(conn.inFlight.sentAt); n > 0 {
				t.Errorf("%d requests are still in flight", n)
			}
		})
	}
	t.Run("ignores an older version of the object", func(t *testing.T) {
		r, _ := registry(answering)
		r.Configure(edited(func(o *v1alpha1.DLIConnection) { o.Spec.ProjectID = "q" }))
		if conn := r.Configure(object("a")); conn.settings.ProjectID != "q" {
			t.Error("an older object replaces a newer one")
		}
	})
	t.Run("keeps the used tokens, and changes the limit", func(t *testing.T) {
		r, now := registry(answering)
		conn := connect(t, r, now, object("a"), "t")
		for range 20 {
			conn.Begin(noon, CallStatus, dli.JobTypeSQL, "job", "")
		}
		connect(t, r, now, edited(func(o *v1alpha1.DLIConnection) { o.Spec.RateLimit.RequestsPerSecond = 50 }), "t")
		if tokens := conn.Stats(noon).Tokens; tokens > 0 {
			t.Errorf("%v used tokens are available again", tokens)
		}
		if conn.Stats(noon).MaxInFlight != 10 || conn.Stats(noon).Rate != 50 {
			t.Error("the new limit is not in effect")
		}
	})
	for name, change := range map[string]func(*testing.T, *Registry, *clocktesting.FakePassiveClock){
		"an edit": func(t *testing.T, r *Registry, now *clocktesting.FakePassiveClock) {
			t.Helper()
			connect(t, r, now, edited(func(o *v1alpha1.DLIConnection) { o.Spec.ProjectID = "q" }), "t")
		},
		"a re-creation": func(t *testing.T, r *Registry, now *clocktesting.FakePassiveClock) {
			t.Helper()
			r.Remove(types.NamespacedName{Namespace: "team", Name: "a"}, noon)
			connect(t, r, now, edited(func(o *v1alpha1.DLIConnection) { o.UID = "anew" }), "t")
		},
	} {
		t.Run("remembers over "+name+" that DLI throttles", func(t *testing.T) {
			r, now := registry(answering)
			conn := connect(t, r, now, object("a"), "t")
			_ = conn.requestDone(conn.Begin(noon, CallStatus, dli.JobTypeSQL, "job", ""),
				failureOf(&dli.Error{Kind: dli.KindThrottle, RetryAfter: time.Minute}, "c"), noon)
			change(t, r, now)
			conn = r.Get(conn.Key)
			if d := conn.Decide(noon.Add(time.Minute - 1)); d.Admit != AdmitNone {
				t.Errorf("it admits %+v", d)
			}
			if d := conn.Decide(noon.Add(time.Minute)); d.Admit == AdmitNone {
				t.Errorf("after the pause it decides %+v", d)
			}
		})
	}
	t.Run("forgets with another endpoint how the first one throttled", func(t *testing.T) {
		r, now := registry(answering)
		conn := connect(t, r, now, object("a"), "t")
		_ = conn.requestDone(conn.Begin(noon, CallStatus, dli.JobTypeSQL, "job", ""), failureOf(&dli.Error{Kind: dli.KindThrottle}, "c"), noon)
		connect(t, r, now, edited(func(o *v1alpha1.DLIConnection) { o.Spec.Endpoint = "http://127.0.0.1:2" }), "t")
		if d := conn.Decide(noon); d.Admit == AdmitNone {
			t.Errorf("it decides %+v", d)
		}
	})
	t.Run("forgets deleted ones that DLI does not throttle", func(t *testing.T) {
		r, now := registry(answering)
		connect(t, r, now, object("a"), "t")
		r.Remove(types.NamespacedName{Namespace: "team", Name: "a"}, noon)
		if len(r.connections)+len(r.removed) > 0 {
			t.Error("it is still there")
		}
	})
}

// A connection that is removed while its Secret is read must not use it.
func TestRemovedWhileFetching(t *testing.T) {
	r, now := registry(answering)
	conn := r.Configure(object("a"))
	conn.credentials.fetch = func(context.Context) (dli.Credentials, time.Time, error) {
		r.Remove(conn.Key, noon)
		return dli.Credentials{Token: "t"}, time.Time{}, nil
	}
	if _, _, err := conn.Refresh(t.Context(), nil, now.Now()); err != nil {
		t.Fatal(err)
	}
	if conn.credentials.lockout != nil {
		t.Error("it has the credentials")
	}
}

func TestLockoutsAreRemembered(t *testing.T) {
	r, now := registry(answering)
	open := func(name, token string) *lockout {
		return connect(t, r, now, object(name), token).credentials.lockout
	}
	shared := open("a", "shared")
	now.SetTime(noon.Add(time.Hour))
	open("c", "other")
	if open("b", "shared") != shared {
		t.Error("two lockouts for one key: it would be tried ten times")
	}

	wrong := open("d", "wrong")
	wrong.addRejection(false, 0, now.Now())
	r.Remove(types.NamespacedName{Namespace: "team", Name: "d"}, noon)
	now.SetTime(noon.Add(time.Hour + time.Minute))
	open("e", "another")
	if open("d", "wrong") != wrong {
		t.Error("a recreated connection forgets that its key was rejected")
	}

	inFlight := connect(t, r, now, object("g"), "in flight")
	tried := inFlight.credentials.lockout
	inFlight.Begin(now.Now(), CallStatus, dli.JobTypeSQL, "job", "")
	r.Remove(inFlight.Key, now.Now())
	open("h", "one more")
	if open("g", "in flight") != tried {
		t.Error("a recreated connection forgets the request that is in flight")
	}
	r.Remove(inFlight.Key, now.Now())

	for i := range 100 { // like a key that is renewed every hour
		now.SetTime(now.Now().Add(time.Hour))
		r.Remove(types.NamespacedName{Namespace: "team", Name: "f"}, noon)
		open("f", fmt.Sprint("key ", i))
	}
	if n := len(r.lockouts); n > 10 {
		t.Errorf("%d lockouts are kept", n)
	}
	for i := range 10 * maxVerdicts { // like a Secret that is edited all the time
		shared.verdictOf(fmt.Sprint(i))
	}
	if n := len(shared.verdicts); n > maxVerdicts {
		t.Errorf("%d verdicts are kept", n)
	}
}

// A request always releases what it reserved.
func TestRequestEnds(t *testing.T) {
	free := func(t *testing.T, conn *Connection) {
		t.Helper()
		if n, m := len(conn.inFlight.sentAt), len(conn.credentials.lockout.trials.sentAt); n+m > 0 {
			t.Errorf("%d and %d requests are still in flight", n, m)
		}
	}
	stopped := func(context.Context) (*dli.JobStatus, error) { return nil, context.Canceled }

	t.Run("when there is a response", func(t *testing.T) {
		r, now := registry(answering)
		conn := connect(t, r, now, object("a"), "t")
		if status, err := conn.Begin(noon, CallStatus, dli.JobTypeSQL, "job", "").SendStatus(t.Context(), now.Now); status == nil || err != nil {
			t.Errorf("status %v, error %v", status, err)
		}
		free(t, conn)
	})
	t.Run("when the operator stops", func(t *testing.T) {
		r, now := registry(stopped)
		conn := connect(t, r, now, object("a"), "t")
		if _, err := conn.Begin(noon, CallStatus, dli.JobTypeSQL, "job", "").SendStatus(t.Context(), now.Now); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		free(t, conn)
		if conn.credentials.verdict.isAccepted || conn.credentials.isConnected {
			t.Error("an aborted request proves the credentials")
		}
	})
	t.Run("when it panics", func(t *testing.T) {
		r, now := registry(func(context.Context) (*dli.JobStatus, error) { panic("on purpose") })
		conn := connect(t, r, now, object("a"), "t")
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_, _ = conn.Begin(noon, CallStatus, dli.JobTypeSQL, "job", "").SendStatus(t.Context(), now.Now)
		}()
		free(t, conn)
	})
	t.Run("when it was an aborted probe, which proves nothing", func(t *testing.T) {
		r, now := registry(stopped)
		conn := connect(t, r, now, object("a"), "t")
		conn.credentials.verdict.isAccepted = true
		for i := range circuitFailures {
			request := conn.Begin(noon, CallStatus, dli.JobTypeSQL, fmt.Sprint(i), "")
			_ = conn.requestDone(request, failureOf(&dli.Error{Kind: dli.KindUnreachable}, ""), noon)
		}
		now.SetTime(noon.Add(time.Minute))
		if a := conn.Decide(now.Now()); a.Admit != AdmitProbe {
			t.Fatalf("no probe is admitted: %+v", a)
		}
		_, _ = conn.Begin(now.Now(), CallStatus, dli.JobTypeSQL, "job", "").SendStatus(t.Context(), now.Now)
		if !conn.circuit.isOpen {
			t.Errorf("the circuit is %+v", conn.circuit)
		}
		free(t, conn)
	})
}

func TestTemporaryCredentials(t *testing.T) {
	// refresh does what the reconciler does, until a time.
	refresh := func(t *testing.T, conn *Connection, now *clocktesting.FakePassiveClock, until time.Time) {
		t.Helper()
		for {
			_, next, err := conn.Refresh(t.Context(), nil, now.Now())
			if err != nil || next <= 0 {
				t.Fatal(next, err)
			}
			if now.Now().Add(next).After(until) {
				now.SetTime(until)
				return
			}
			now.SetTime(now.Now().Add(next))
		}
	}
	t.Run("are renewed in time, but not for every request", func(t *testing.T) {
		r, now := registry(answering)
		conn := r.Configure(object("a"))
		s := &source{creds: dli.Credentials{Token: "t"}, life: time.Hour, now: now}
		conn.credentials.fetch = s.fetch
		refresh(t, conn, now, noon.Add(12*time.Hour))
		if n := len(s.fetches); n < 12 || n > 16 {
			t.Errorf("%d fetches in twelve hours, for keys that expire after one", n)
		}
		for i := 1; i < len(s.fetches); i++ {
			if left := time.Hour - s.fetches[i].Sub(s.fetches[i-1]); left < 11*time.Minute || left > 13*time.Minute {
				t.Errorf("renewed %v before the end, want a fifth of the lifetime", left)
			}
		}
	})
	t.Run("are used until they expire if they cannot be renewed", func(t *testing.T) {
		r, now := registry(answering)
		conn := r.Configure(object("a"))
		s := &source{creds: dli.Credentials{Token: "t"}, life: time.Hour, now: now}
		conn.credentials.fetch = s.fetch
		refresh(t, conn, now, noon.Add(time.Minute))
		s.failure = Failf(v1alpha1.ReasonCredentialsRejected, "no identity")
		refresh(t, conn, now, noon.Add(59*time.Minute))
		if a := conn.Decide(now.Now()); a.Admit == AdmitNone {
			t.Errorf("in the last minute before they expire: %+v", a)
		}
		if a := conn.Decide(noon.Add(time.Hour)); a.Admit != AdmitNone {
			t.Errorf("when they have just expired: %+v", a)
		}
		refresh(t, conn, now, noon.Add(61*time.Minute))
		if a := conn.Decide(now.Now()); a.Admit != AdmitNone || a.Reason == nil {
			t.Errorf("after they have expired: %+v", a)
		}
		if h := conn.Health(now.Now()); h.Reason != v1alpha1.ReasonCredentialsRejected {
			t.Errorf("the connection reports %+v", h)
		}
		s.failure = nil
		refresh(t, conn, now, now.Now().Add(30*time.Second))
		if a := conn.Decide(now.Now()); a.Admit == AdmitNone {
			t.Errorf("with new ones: %+v", a)
		}
	})
}

// What the jobs blame, the connection reports: it is not Ready if nothing can be read.
func TestHealthOfUnreadableJobs(t *testing.T) {
	denied := &dli.Error{Kind: dli.KindPermission, HTTPStatus: 403}
	missing := &dli.Error{Kind: dli.KindNotFound, HTTPStatus: 404, Code: "DLI.0005"}
	for name, test := range map[string]struct {
		errs []*dli.Error
		each time.Duration
		want string
	}{
		"after the first failure":             {[]*dli.Error{denied}, time.Minute, v1alpha1.ReasonPermissionDenied},
		"after a response that is not DLI's":  {[]*dli.Error{{Kind: dli.KindInvalid, HTTPStatus: 200}}, time.Minute, v1alpha1.ReasonInvalidResponse},
		"after a wrong path":                  {[]*dli.Error{{Kind: dli.KindConfig, HTTPStatus: 404}}, time.Minute, v1alpha1.ReasonEndpointMisconfigured},
		"not if a job does not exist":         {[]*dli.Error{missing}, time.Minute, v1alpha1.ReasonConnected},
		"not after a failure among successes": {[]*dli.Error{nil, denied, denied, nil, denied, denied, denied, denied}, time.Minute, v1alpha1.ReasonConnected},
		"not while a job is read in between":  {[]*dli.Error{nil, denied, denied, denied, denied, denied, denied, denied, nil}, time.Minute, v1alpha1.ReasonConnected},
		"not before the next poll of it":      {[]*dli.Error{nil, denied, denied, denied, denied, denied}, 10 * time.Second, v1alpha1.ReasonConnected},
		"after failures with no success":      {[]*dli.Error{nil, denied, denied, denied, denied, denied}, time.Minute, v1alpha1.ReasonPermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			r, now := registry(answering)
			conn := connect(t, r, now, object("a"), "t")
			for i, err := range test.errs {
				at := noon.Add(time.Duration(i) * test.each)
				_ = conn.requestDone(conn.Begin(at, CallStatus, dli.JobTypeSQL, fmt.Sprint(i), ""), failureOf(err, "c"), at)
			}
			if health := conn.Health(noon.Add(time.Duration(len(test.errs)) * test.each)); health.Reason != test.want || health.Ready != (test.want == v1alpha1.ReasonConnected) {
				t.Errorf("it reports %+v", health)
			}
		})
	}
}

// An object that is older than the CRD's pattern may name a Secret that cannot exist.
func TestImpossibleSecretName(t *testing.T) {
	r, _ := registry(answering)
	o := object("a")
	o.Spec.Credentials.SecretRef.Name = "../x"
	if health := r.Configure(o).Health(noon); health.Reason != v1alpha1.ReasonSecretInvalid {
		t.Errorf("it reports %+v", health)
	}
}

// A Secret that is gone for a moment while it is created anew is not reported.
func TestSecretCreatedAnew(t *testing.T) {
	r, now := registry(answering)
	conn := r.Configure(object("a"))
	s := &source{creds: dli.Credentials{Token: "t"}, now: now}
	conn.credentials.fetch = s.fetch
	refresh := func(after time.Duration) time.Duration {
		now.SetTime(now.Now().Add(after))
		_, next, err := conn.Refresh(t.Context(), nil, now.Now())
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	refresh(0)
	s.failure = Failf(v1alpha1.ReasonSecretNotFound, "gone")
	next := refresh(refreshInterval(DefaultProbeInterval))
	if next != 3*time.Second || !conn.Health(now.Now()).Ready || conn.Decide(now.Now()).Admit == AdmitNone {
		t.Errorf("after the first failure it reads the Secret again in %v and reports %+v", next, conn.Health(now.Now()))
	}
	s.failure = nil
	refresh(next)
	edit := func(change func(*v1alpha1.DLIConnection)) {
		edited := object("a")
		edited.Generation = conn.generation + 1
		change(edited)
		r.Configure(edited)
		conn.credentials.fetch = s.fetch
	}
	s.failure = Failf(v1alpha1.ReasonSecretNotFound, "gone")
	edit(func(o *v1alpha1.DLIConnection) { o.Spec.ProjectID = "q" })
	next = refresh(0)
	if next != 3*time.Second || !conn.Health(now.Now()).Ready || conn.Decide(now.Now()).Admit == AdmitNone {
		t.Errorf("after an edit meanwhile it reads the Secret again in %v and reports %+v", next, conn.Health(now.Now()))
	}
	next = refresh(next)
	if health := conn.Health(now.Now()); next != retryInterval(DefaultProbeInterval) || health.Reason != v1alpha1.ReasonSecretNotFound || conn.Decide(now.Now()).Admit != AdmitNone {
		t.Errorf("after two failures it reads the Secret again in %v and reports %+v", next, health)
	}
	s.failure = nil
	refresh(next)
	s.failure = Failf(v1alpha1.ReasonSecretNotFound, "gone")
	edit(func(o *v1alpha1.DLIConnection) { o.Spec.Credentials.SecretRef.Name = "other" })
	refresh(0)
	if conn.Decide(now.Now()).Admit != AdmitNone {
		t.Error("an edit to another Secret uses what the first one held")
	}
	s.failure = nil
	refresh(retryInterval(DefaultProbeInterval))
	s.failure = Failf(v1alpha1.ReasonSecretNotFound, "gone")
	edit(func(o *v1alpha1.DLIConnection) { o.UID, o.Spec.Credentials.SecretRef.Name = "anew", "other" })
	refresh(0)
	if conn.Decide(now.Now()).Admit != AdmitNone {
		t.Error("a connection that is created anew uses what the Secret of the former one held")
	}
}

func TestReadSecret(t *testing.T) {
	for name, test := range map[string]struct {
		reader reader
		reason string
		says   string
	}{
		"without permission": {
			func(*corev1.Secret) error {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "s", nil)
			},
			v1alpha1.ReasonSecretNotFound, "grant its ServiceAccount get on secrets",
		},
		"that does not exist": {
			func(*corev1.Secret) error {
				return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "s")
			},
			v1alpha1.ReasonSecretNotFound, "does not exist",
		},
		"without keys": {
			func(*corev1.Secret) error { return nil }, v1alpha1.ReasonSecretInvalid, "it must hold accessKeyID",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := readSecret(t.Context(), test.reader, types.NamespacedName{Namespace: "team", Name: "s"})
			if failure, ok := AsFailure(err); !ok || failure.Reason != test.reason || !strings.Contains(failure.Message, test.says) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("that cannot be read now is an error", func(t *testing.T) {
		_, _, err := readSecret(t.Context(), reader(func(*corev1.Secret) error { return errors.New("no answer") }), types.NamespacedName{})
		if _, isFailure := AsFailure(err); err == nil || isFailure {
			t.Errorf("error %v", err)
		}
	})
}

// reader is an API server that has one Secret.
type reader func(*corev1.Secret) error

func (r reader) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	return r(into.(*corev1.Secret))
}

func (reader) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// Jobs and their connection report the same failure.
func TestConnectionsAndJobsAgree(t *testing.T) {
	rejection := &dli.Error{Kind: dli.KindAuth, HTTPStatus: 401}
	for name, then := range map[string]*dli.Error{
		"unreachable": {Kind: dli.KindUnreachable}, "throttled": {Kind: dli.KindThrottle, HTTPStatus: 429},
	} {
		t.Run("rejected, then "+name, func(t *testing.T) {
			r, now := registry(answering)
			conn := connect(t, r, now, object("a"), "t")
			reasons := []string{}
			for i, err := range []*dli.Error{rejection, then, then, then, then, then} {
				at := noon.Add(time.Duration(i) * time.Second)
				request := conn.Begin(at, CallStatus, dli.JobTypeSQL, fmt.Sprint(i), "")
				failure, _ := AsFailure(conn.requestDone(request, failureOf(err, "c"), at))
				reasons = append(reasons, failure.Reason)
			}
			said := conn.Health(noon.Add(6 * time.Second)).Reason
			if slices.ContainsFunc(reasons, func(r string) bool { return r != said }) {
				t.Errorf("jobs report %v, the connection reports %s", reasons, said)
			}
		})
	}
}
