// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/world"
)

func TestWhichConnectionAJobUses(t *testing.T) {
	w := newBareWorld(t)
	platform, bare := neighbour(w, nil), neighbour(w, nil)
	keys := map[string]*world.World{"REFERENCED": w, "OWNDEFAULT": w, "OPERATORDEFAULT": platform}
	var users []dlitest.User
	for key, where := range keys {
		user := dlitest.User{AccessKeyID: key, SecretAccessKey: "secret"}
		users = append(users, user)
		where.MustCreate(where.Secret(strings.ToLower(key), user))
	}
	w.DLI.SetUsers(users...)
	w.MustCreate(connect(w, "referenced", "referenced"))
	w.MustCreate(connect(w, "default", "owndefault"))
	platform.MustCreate(connect(platform, "shared", "operatordefault", allowing(v1alpha1.NamespacesFromAll, nil)))
	w.Options.DefaultConnection = platform.Namespace + "/shared"
	w.Start()
	for i, test := range []struct {
		says, uses string
		where      *world.World
		spec       func(*v1alpha1.DLIJob)
	}{
		{"the one that connectionRef names", "REFERENCED", w, of("", "referenced")},
		{"the one that connectionRef names in another namespace", "OPERATORDEFAULT", w, of(platform.Namespace, "shared")},
		{"its namespace's default otherwise", "OWNDEFAULT", w, func(*v1alpha1.DLIJob) {}},
		{"the operator's default otherwise", "OPERATORDEFAULT", bare, func(*v1alpha1.DLIJob) {}},
	} {
		t.Run(test.says, func(t *testing.T) {
			id := fmt.Sprint("job-", i)
			w.Runs(id)
			before := w.DLI.Stats().Authenticated
			job := test.where.WatchJob(id, test.spec, func(job *v1alpha1.DLIJob) { job.Spec.PollIntervalSeconds = new(int32(3600)) })
			test.where.AwaitReason(job, "JobRunning")
			after := w.DLI.Stats().Authenticated
			for key := range keys {
				want := int64(0)
				if key == test.uses {
					want = 1
				}
				if got := after[key] - before[key]; got != want {
					t.Errorf("%d requests with %s, want %d", got, key, want)
				}
			}
		})
	}
}

func TestWhoMayUseAConnection(t *testing.T) {
	w := newBareWorld(t)
	w.ReadsNamespaces = true
	w.MustCreate(w.Secret("credentials", dlitest.SampleUser()))
	team := neighbour(w, map[string]string{"team": "a"})
	w.Runs("owned")
	w.Runs("foreign")
	selecting := func(operator metav1.LabelSelectorOperator) v1alpha1.AllowedNamespaces {
		return v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: operator, Values: []string{"a"}}},
		}}
	}
	w.Start()
	for name, test := range map[string]struct {
		allowed     v1alpha1.AllowedNamespaces
		connection  string // reason of Ready
		own, others string
	}{
		"same":      {v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}, "Connected", "JobRunning", "ConnectionNotAllowed"},
		"absent":    {v1alpha1.AllowedNamespaces{}, "Connected", "JobRunning", "ConnectionNotAllowed"},
		"all":       {v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}, "Connected", "JobRunning", "JobRunning"},
		"selected":  {selecting(metav1.LabelSelectorOpIn), "Connected", "JobRunning", "JobRunning"},
		"unlabeled": {selecting(metav1.LabelSelectorOpNotIn), "Connected", "JobRunning", "ConnectionNotAllowed"},
		"invalid":   {selecting("Resembles"), "SelectorInvalid", "JobRunning", "ConnectionNotAllowed"},
	} {
		t.Run(name, func(t *testing.T) {
			w.MustCreate(connect(w, name, "credentials", func(spec *v1alpha1.DLIConnectionSpec) { spec.AllowedNamespaces = test.allowed }))
			w.AwaitReason(w.WatchJob("owned", named(name), of("", name)), test.own)
			team.AwaitReason(team.WatchJob("foreign", named(name), of(w.Namespace, name)), test.others)
			awaitConnection(w, name, test.connection)
		})
	}
}

func TestRevokedGrant(t *testing.T) {
	for name, revoke := range map[string]func(w, team *world.World, connection *v1alpha1.DLIConnection){
		"by the connection": func(w, _ *world.World, connection *v1alpha1.DLIConnection) {
			world.Change(w, connection, func(c *v1alpha1.DLIConnection) {
				c.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}
			})
		},
		"by a label of the namespace": func(w, team *world.World, _ *v1alpha1.DLIConnection) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team.Namespace}}
			world.Change(w, namespace, func(namespace *corev1.Namespace) { delete(namespace.Labels, "team") })
		},
		"by deleting the connection": func(w, _ *world.World, connection *v1alpha1.DLIConnection) {
			if err := w.Delete(w.Context(), connection); err != nil {
				w.Fatal(err)
			}
			w.MustCreate(connect(w, "default", "credentials"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newBareWorld(t)
			w.ReadsNamespaces = true
			w.MustCreate(w.Secret("credentials", dlitest.SampleUser()))
			team := neighbour(w, map[string]string{"team": "a"})
			connection := connect(w, "default", "credentials", allowing(v1alpha1.NamespacesFromSelector, map[string]string{"team": "a"}))
			w.MustCreate(connection)
			w.Runs("owned")
			w.Runs("foreign")
			w.Finishes("finished")
			w.WatchJob("owned")
			foreign, finished := team.WatchJob("foreign", of(w.Namespace, "default")), team.WatchJob("finished", of(w.Namespace, "default"))
			w.Start()
			team.AwaitReason(foreign, "JobRunning")
			outcome := team.AwaitReason(finished, "JobFinished")

			revoke(w, team, connection)
			if refused := team.AwaitReason(foreign, "ConnectionNotAllowed"); refused.Status.JobStatus != "RUNNING" {
				t.Errorf("the status was lost: %+v", refused.Status)
			}
			checkStopped(w, "foreign", "owned")
			if diff := cmp.Diff(outcome.Status, team.Reload(finished).Status); diff != "" {
				t.Errorf("the outcome changed: %s", diff)
			}
		})
	}
}

func TestMissingConnection(t *testing.T) {
	w := newBareWorld(t)
	w.Options.Controllers.Schedule.StallAfter = 0
	w.MustCreate(w.Secret("credentials", dlitest.SampleUser()))
	w.MustCreate(connect(w, "refusing", "credentials"))
	team := neighbour(w, nil)
	seen := recordJobs(team)
	missing := team.WatchJob("job", named("missing"), of(w.Namespace, "no-such"))
	refused := team.WatchJob("job", named("refused"), of(w.Namespace, "refusing"))
	w.Start()
	missing = team.Await(missing, world.Patience, "stalled", isStalled)
	refused = team.Await(refused, world.Patience, "stalled", isStalled)

	normalize := cmp.Transformer("sameName", func(text string) string {
		return strings.NewReplacer("no-such", "NAME", "refusing", "NAME").Replace(text)
	})
	times := cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime")
	if diff := cmp.Diff(missing.Status, refused.Status, normalize, times); diff != "" {
		t.Errorf("their statuses differ: %s", diff)
	}
	notes := func(name string) (notes []string) {
		list := &eventsv1.EventList{}
		if err := w.List(t.Context(), list, client.InNamespace(team.Namespace)); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.Regarding.Name == name {
				notes = append(notes, e.Type+" "+e.Reason+" "+e.Note)
			}
		}
		return notes
	}
	if !eventually(func() bool { return len(notes("missing")) > 0 && len(notes("refused")) > 0 }) {
		t.Error("there are no Events")
	}
	if diff := cmp.Diff(notes("missing"), notes("refused"), normalize); diff != "" {
		t.Errorf("their Events differ: %s", diff)
	}

	// Creating or changing such a connection is not visible either.
	before := len(seen.all())
	w.MustCreate(connect(w, "no-such", "credentials"))
	awaitConnection(w, "no-such", "Configured")
	team.Await(team.WatchJob("job", named("witness"), of(w.Namespace, "refusing")), world.Patience, "stalled", isStalled)
	for _, version := range seen.all()[before:] {
		if version.Name != "witness" {
			t.Errorf("the creation of a connection changed %s", version.Name)
		}
	}

	// But one that allows the namespace is used immediately.
	w.Runs("job")
	for _, name := range []string{"no-such", "refusing"} {
		world.Change(w, w.Connection(name), func(c *v1alpha1.DLIConnection) { c.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll })
	}
	team.AwaitReason(missing, "JobRunning")
	team.AwaitReason(refused, "JobRunning")
}

func usePodIdentity(spec *v1alpha1.DLIConnectionSpec) {
	spec.Credentials = v1alpha1.Credentials{PodIdentity: &v1alpha1.PodIdentity{}}
}

func TestCredentials(t *testing.T) {
	w := newBareWorld(t)
	user := dlitest.User{AccessKeyID: "TEMPORARYKEY", SecretAccessKey: "TEMPORARYSECRET", SecurityToken: "SECURITYTOKEN"}
	w.DLI.SetUsers(dlitest.SampleUser(), user, podUser)
	w.MustCreate(w.Secret("key", dlitest.SampleUser()))
	temporary, token := w.Secret("temporary", user), w.Secret("token", dlitest.User{})
	temporary.StringData["securityToken"] = user.SecurityToken
	token.StringData = map[string]string{"token": dlitest.SampleUser().Token + "\n"}
	w.MustCreate(temporary)
	w.MustCreate(token)
	w.MustCreate(connect(w, "key", "key"))
	w.MustCreate(connect(w, "temporary", "temporary"))
	w.MustCreate(connect(w, "token", "token"))
	w.MustCreate(connect(w, "pod", "", usePodIdentity))
	w.Start()
	for name, counted := range map[string]string{"key": "AKEXAMPLE", "temporary": "TEMPORARYKEY", "token": "token", "pod": podUser.AccessKeyID} {
		t.Run(name, func(t *testing.T) {
			w.Runs(name)
			w.AwaitReason(w.WatchJob(name, of("", name)), "JobRunning")
			awaitConnection(w, name, "Connected")
			if n := w.DLI.Stats().Authenticated[counted]; n == 0 {
				t.Errorf("no request as %s", counted)
			}
		})
	}
}

func TestPodIdentityNamespaces(t *testing.T) {
	w := newBareWorld(t)
	w.Options.Controllers.Connections.PodIdentityNamespaces = []string{"platform"}
	w.MustCreate(connect(w, "default", "", usePodIdentity))
	w.DLI.SetUsers(podUser)
	job := w.WatchJob("job")
	w.Start()
	w.AwaitReason(job, "CredentialsRejected")
	if c := awaitConnection(w, "default", "CredentialsRejected"); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "--pod-identity-namespaces") {
		t.Errorf("the connection is %+v", c)
	}
	if n := w.DLI.Stats().Requests; n > 0 {
		t.Errorf("%d requests", n)
	}
}

// setKey changes the Secret of the default connection.
func setKey(w *world.World, user dlitest.User) {
	w.Helper()
	world.Change(w, w.Secret("credentials", user), func(secret *corev1.Secret) {
		secret.Data = map[string][]byte{"accessKeyID": []byte(user.AccessKeyID), "secretAccessKey": []byte(user.SecretAccessKey)}
	})
}

var nextUser = dlitest.User{AccessKeyID: "NEXTKEY", SecretAccessKey: "NEXTSECRET"}

func TestRotatedSecret(t *testing.T) {
	w := newWorld(t)
	w.DLI.SetUsers(dlitest.SampleUser(), nextUser)
	w.Runs("job")
	seen := recordJobs(w)
	job := w.WatchJob("job")
	w.Start()
	w.AwaitReason(job, "JobRunning")
	setKey(w, nextUser)
	if !eventually(func() bool { return w.DLI.Stats().Authenticated[nextUser.AccessKeyID] > 0 }) {
		t.Fatal("the new key is not used")
	}
	w.DLI.SetUsers(nextUser) // the old one is revoked
	w.AwaitRequests("job", w.DLI.Requests("job")+5)
	if failures := w.DLI.Stats().AuthFailures; len(failures) > 0 {
		t.Errorf("requests were rejected: %v", failures)
	}
	for _, version := range seen.all() {
		if c := world.Condition(version.Status.Conditions, v1alpha1.SyncedCondition); c.Status == metav1.ConditionFalse {
			t.Errorf("a poll failed: %v", c)
		}
	}
}

func TestFixedSecret(t *testing.T) {
	w := newWorld(t)
	// A job whose state changes so often is written once per interval.
	w.Options.Controllers.Schedule.StatusRefreshInterval = time.Second
	w.Runs("job")
	w.DLI.SetUsers()
	job := w.WatchJob("job")
	w.Start()
	await := func(jobReason, connectionReason string) {
		t.Helper()
		w.AwaitReason(job, jobReason)
		awaitConnection(w, "default", connectionReason)
	}
	await("CredentialsRejected", "CredentialsRejected")
	w.DLI.SetUsers(nextUser)
	setKey(w, nextUser)
	await("JobRunning", "Connected")
	setKey(w, dlitest.User{})
	await("SecretInvalid", "SecretInvalid")
	setKey(w, nextUser)
	await("JobRunning", "Connected")
	if err := w.Delete(t.Context(), w.Secret("credentials", nextUser)); err != nil {
		t.Fatal(err)
	}
	await("SecretNotFound", "SecretNotFound")
	w.MustCreate(w.Secret("credentials", nextUser))
	await("JobRunning", "Connected")
}

func TestUnusableEndpoints(t *testing.T) {
	stranger, _, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	trusting := func(w *world.World, spec *v1alpha1.DLIConnectionSpec) { spec.CABundle = string(w.DLI.CABundle()) }
	for name, test := range map[string]struct {
		hosts  []string // that are allowed; insecure if empty
		spec   func(*world.World, *v1alpha1.DLIConnectionSpec)
		reason string
		says   string
	}{
		"a host that is not allowed": {[]string{"dli.*.example.com"}, func(_ *world.World, spec *v1alpha1.DLIConnectionSpec) { spec.Endpoint = "https://elsewhere.test" },
			"EndpointMisconfigured", "allowed hosts"},
		"the certificate of another server": {nil, func(_ *world.World, spec *v1alpha1.DLIConnectionSpec) { spec.CABundle = string(stranger) },
			"EndpointMisconfigured", "CA bundle"},
		"the right caBundle": {nil, trusting, "JobRunning", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newBareWorld(t, dlitest.WithTLS())
			if test.hosts != nil {
				w.Options.Controllers.Connections.AllowInsecure, w.Options.Controllers.Connections.AllowedHosts = false, test.hosts
			}
			w.MustCreate(w.Secret("credentials", dlitest.SampleUser()))
			w.MustCreate(connect(w, "default", "credentials", func(spec *v1alpha1.DLIConnectionSpec) { test.spec(w, spec) }))
			w.Runs("job")
			job := w.WatchJob("job")
			w.Start()
			ready := world.Condition(w.AwaitReason(job, test.reason).Status.Conditions, v1alpha1.ReadyCondition)
			if !strings.Contains(ready.Message, test.says) {
				t.Errorf("the message does not say %q: %s", test.says, ready.Message)
			}
			if test.reason == "EndpointMisconfigured" && w.DLI.Stats().Requests > 0 {
				t.Error("a request was sent")
			}
		})
	}
}
