// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// podUser is the user of the pod identity.
var podUser = dlitest.User{AccessKeyID: "PODACCESSKEY", SecretAccessKey: "PODSECRETKEY", SecurityToken: "PODSECURITYTOKEN"}

// servePodIdentity provides this process with a pod identity, like CCE does, until the
// returned function is called.
func servePodIdentity() (end func()) {
	directory, err := os.MkdirTemp("", "pod-identity-")
	must(err)
	token := filepath.Join(directory, "token")
	must(os.WriteFile(token, []byte("POD-TOKEN"), 0o600))
	server := httptest.NewServer(dlitest.NewPodIdentity("POD-TOKEN", podUser, time.Hour, time.Now))
	must(os.Setenv("HC_CONTAINER_CREDENTIALS_FULL_URI", server.URL))
	must(os.Setenv("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", token))
	return func() {
		server.Close()
		must(os.RemoveAll(directory))
	}
}

// brisk reduces the intervals from half a minute to half a second.
func brisk(w *world) { w.options.Connections.ProbeInterval = 600 * time.Millisecond }

// referring sets the connectionRef of a DLIJob.
func referring(namespace, name string) func(*v1alpha1.DLIJobSpec) {
	return func(spec *v1alpha1.DLIJobSpec) {
		spec.ConnectionRef = &v1alpha1.ConnectionReference{Namespace: namespace, Name: name}
	}
}

// neighbour creates another namespace that the operator watches.
func (w *world) neighbour(labels map[string]string) *world {
	w.Helper()
	other := *w
	other.namespace = w.newNamespace(labels)
	w.namespaces = append(w.namespaces, other.namespace)
	return &other
}

// runs adds jobs to DLI that run for the whole test.
func (w *world) runs(ids ...string) {
	for _, id := range ids {
		w.dli.SetJob(dlitest.Query(id).Running(time.Hour))
	}
}

// ready returns the Ready condition of a DLIConnection.
func (w *world) ready(name string) metav1.Condition {
	w.Helper()
	connection := &v1alpha1.DLIConnection{}
	if err := w.Get(w.Context(), types.NamespacedName{Namespace: w.namespace, Name: name}, connection); err != nil {
		w.Fatal(err)
	}
	for _, c := range connection.Status.Conditions {
		if c.Type == v1alpha1.ReadyCondition {
			return c
		}
	}
	return metav1.Condition{}
}

// awaitConnection waits until a DLIConnection's Ready condition has a reason.
func (w *world) awaitConnection(name, reason string) metav1.Condition {
	w.Helper()
	var c metav1.Condition
	if !eventually(func() bool { c = w.ready(name); return c.Reason == reason }) {
		w.Fatalf("DLIConnection %s is not %s: %+v", name, reason, c)
	}
	return c
}

// stopped checks that a job is no longer polled, while another one is polled many
// times.
func (w *world) stopped(jobID, other string) {
	w.Helper()
	w.awaitRequests(other, w.dli.Requests(other)+2) // no request is in flight any more
	asked := w.dli.Requests(jobID)
	w.awaitRequests(other, w.dli.Requests(other)+10)
	if n := w.dli.Requests(jobID) - asked; n > 0 {
		w.Errorf("job %s is still polled: %d times", jobID, n)
	}
}

func TestWhichConnectionAJobUses(t *testing.T) {
	w := newBareWorld(t)
	platform := w.neighbour(nil)
	bare := w.neighbour(nil)
	keys := map[string]*world{"REFERENCED": w, "OWNDEFAULT": w, "OPERATORDEFAULT": platform}
	var users []dlitest.User
	for key, where := range keys {
		user := dlitest.User{AccessKeyID: key, SecretAccessKey: "secret"}
		users = append(users, user)
		name := strings.ToLower(key)
		where.create(where.secret(name, user))
	}
	w.dli.SetUsers(users...)
	w.create(w.connection("referenced", "referenced"))
	w.create(w.connection("default", "owndefault"))
	platform.create(platform.connection("shared", "operatordefault", func(spec *v1alpha1.DLIConnectionSpec) {
		spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll
	}))
	w.options.Connections.Default = types.NamespacedName{Namespace: platform.namespace, Name: "shared"}
	w.start()
	for _, test := range []struct {
		says, uses string
		where      *world
		spec       func(*v1alpha1.DLIJobSpec)
	}{
		{"the one that connectionRef names", "REFERENCED", w, referring("", "referenced")},
		{"the one that connectionRef names in another namespace", "OPERATORDEFAULT", w, referring(platform.namespace, "shared")},
		{"its namespace's default otherwise", "OWNDEFAULT", w, func(*v1alpha1.DLIJobSpec) {}},
		{"the operator's default otherwise", "OPERATORDEFAULT", bare, func(*v1alpha1.DLIJobSpec) {}},
	} {
		t.Run(test.says, func(t *testing.T) {
			id := fmt.Sprintf("job-%x", test.says)[:40]
			w.runs(id)
			before := w.dli.Stats().Authenticated
			job := test.where.watch(id, test.spec, func(spec *v1alpha1.DLIJobSpec) { spec.PollIntervalSeconds = new(int32(3600)) })
			w.awaitReason(job, "JobRunning")
			after := w.dli.Stats().Authenticated
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
	w.create(w.secret("credentials", dlitest.SampleUser()))
	team := w.neighbour(map[string]string{"team": "a"})
	team.runs("owned", "foreign")
	selecting := func(operator metav1.LabelSelectorOperator) v1alpha1.AllowedNamespaces {
		return v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: operator, Values: []string{"a"}}},
		}}
	}
	allow := func(allowed v1alpha1.AllowedNamespaces) func(*v1alpha1.DLIConnectionSpec) {
		return func(spec *v1alpha1.DLIConnectionSpec) { spec.AllowedNamespaces = allowed }
	}
	w.start()
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
			w.create(w.connection(name, "credentials", allow(test.allowed)))
			own := w.watch("owned", referring("", name))
			others := team.watch("foreign", referring(w.namespace, name))
			w.awaitReason(own, test.own)
			w.awaitReason(others, test.others)
			w.awaitConnection(name, test.connection)
		})
	}
}

func TestRevokedGrant(t *testing.T) {
	for name, takeBack := range map[string]func(w, team *world, connection *v1alpha1.DLIConnection){
		"by the connection": func(w, _ *world, connection *v1alpha1.DLIConnection) {
			update(w, connection, func(c *v1alpha1.DLIConnection) {
				c.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}
			})
		},
		"by a label of the namespace": func(w, team *world, _ *v1alpha1.DLIConnection) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team.namespace}}
			update(w, namespace, func(namespace *corev1.Namespace) { delete(namespace.Labels, "team") })
		},
		"by deleting the connection": func(w, _ *world, connection *v1alpha1.DLIConnection) {
			if err := w.Delete(w.Context(), connection); err != nil {
				w.Fatal(err)
			}
			w.create(w.connection("default", "credentials"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newBareWorld(t)
			w.create(w.secret("credentials", dlitest.SampleUser()))
			team := w.neighbour(map[string]string{"team": "a"})
			connection := w.connection("default", "credentials", func(spec *v1alpha1.DLIConnectionSpec) {
				spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
					From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}},
				}
			})
			w.create(connection)
			w.runs("owned", "foreign")
			w.dli.SetJob(dlitest.Query("finished").Finishes(4))
			w.watch("owned")
			foreign := team.watch("foreign", referring(w.namespace, "default"))
			finished := team.watch("finished", referring(w.namespace, "default"))
			w.start().awaitReason(foreign, "JobRunning")
			outcome := w.awaitReason(finished, "JobFinished")

			began := time.Now()
			takeBack(w, team, connection)
			stalled := w.await(foreign, "not allowed", func(job *v1alpha1.DLIJob) bool { return reasonOf(job) == "ConnectionNotAllowed" })
			t.Logf("noticed after %v", time.Since(began))
			if stalled.Status.JobStatus != "RUNNING" {
				t.Errorf("the status was lost: %+v", stalled.Status)
			}
			w.stopped("foreign", "owned")
			if diff := cmp.Diff(outcome.Status, w.reload(finished).Status); diff != "" {
				t.Errorf("the outcome changed: %s", diff)
			}
		})
	}
}

func TestMissingConnection(t *testing.T) {
	w := newBareWorld(t)
	w.options.Schedule.StallAfter = 500 * time.Millisecond
	w.create(w.secret("credentials", dlitest.SampleUser()))
	w.create(w.connection("refusing", "credentials"))
	team := w.neighbour(nil)
	seen := team.record()
	missing := team.watch("job", referring(w.namespace, "no-such"))
	refused := team.watch("job", referring(w.namespace, "refusing"))
	w.start()
	isStalled := func(job *v1alpha1.DLIJob) bool {
		return strings.Contains(row(job), "Stalled=True/ConnectionNotAllowed")
	}
	w.await(missing, "stalled", isStalled)
	w.await(refused, "stalled", isStalled)

	normalize := cmp.Transformer("sameName", func(text string) string {
		return strings.NewReplacer("no-such", "NAME", "refusing", "NAME").Replace(text)
	})
	times := cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime")
	if diff := cmp.Diff(w.reload(missing).Status, w.reload(refused).Status, normalize, times); diff != "" {
		t.Errorf("their statuses differ: %s", diff)
	}
	notes := func(job *v1alpha1.DLIJob) (told []string) {
		list := &eventsv1.EventList{}
		if err := w.List(t.Context(), list, client.InNamespace(team.namespace)); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.Regarding.UID == job.UID {
				told = append(told, e.Type+" "+e.Reason+" "+e.Note)
			}
		}
		return told
	}
	if !eventually(func() bool { return len(notes(missing)) > 0 && len(notes(refused)) > 0 }) {
		t.Error("there are no Events")
	}
	if diff := cmp.Diff(notes(missing), notes(refused), normalize); diff != "" {
		t.Errorf("their Events differ: %s", diff)
	}

	// Creating or changing such a connection is not visible either.
	before := len(seen.all())
	created := w.connection("no-such", "credentials")
	w.create(created)
	w.awaitConnection("no-such", "Configured")
	witness := team.watch("job", referring(w.namespace, "refusing"))
	w.await(witness, "stalled", isStalled)
	for _, state := range seen.all()[before:] {
		if state.GetName() != witness.Name {
			t.Errorf("the creation of a connection changed %s", state.GetName())
		}
	}

	// But one that allows the namespace is used immediately.
	w.runs("job")
	for _, name := range []string{"no-such", "refusing"} {
		update(w, w.connection(name, "credentials"), func(c *v1alpha1.DLIConnection) { c.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll })
	}
	w.awaitReason(missing, "JobRunning")
	w.awaitReason(refused, "JobRunning")
}

func TestCredentials(t *testing.T) {
	w := newBareWorld(t)
	user := dlitest.User{AccessKeyID: "TEMPORARYKEY", SecretAccessKey: "TEMPORARYSECRET", SecurityToken: "SECURITYTOKEN"}
	w.dli.SetUsers(dlitest.SampleUser(), user, podUser)
	w.create(w.secret("key", dlitest.SampleUser()))
	temporary := w.secret("temporary", user)
	temporary.StringData["securityToken"] = user.SecurityToken
	w.create(temporary)
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "token"},
		StringData: map[string]string{"token": dlitest.SampleUser().Token + "\n"},
	})
	for _, name := range []string{"key", "temporary", "token"} {
		w.create(w.connection(name, name))
	}
	w.create(w.connection("pod", "", func(spec *v1alpha1.DLIConnectionSpec) {
		spec.Credentials = v1alpha1.Credentials{PodIdentity: &v1alpha1.PodIdentity{}}
	}))
	w.start()
	for name, counted := range map[string]string{"key": "AKEXAMPLE", "temporary": "TEMPORARYKEY", "token": "token", "pod": podUser.AccessKeyID} {
		t.Run(name, func(t *testing.T) {
			w.runs(name)
			w.awaitReason(w.watch(name, referring("", name)), "JobRunning")
			w.awaitConnection(name, "Connected")
			if n := w.dli.Stats().Authenticated[counted]; n == 0 {
				t.Errorf("no request as %s", counted)
			}
		})
	}
}

func TestPodIdentityNamespaces(t *testing.T) {
	w := newBareWorld(t)
	w.options.Connections.PodIdentityNamespaces = []string{"platform"}
	w.create(w.connection("default", "", func(spec *v1alpha1.DLIConnectionSpec) {
		spec.Credentials = v1alpha1.Credentials{PodIdentity: &v1alpha1.PodIdentity{}}
	}))
	w.runs("job")
	w.dli.SetUsers(podUser)
	job := w.watch("job")
	w.start().awaitReason(job, "CredentialsRejected")
	if c := w.awaitConnection("default", "CredentialsRejected"); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "--pod-identity-namespaces") {
		t.Errorf("the connection is %+v", c)
	}
	if n := w.dli.Stats().Requests; n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestRotatedSecret(t *testing.T) {
	w := newWorld(t)
	brisk(w)
	next := dlitest.User{AccessKeyID: "NEXTKEY", SecretAccessKey: "NEXTSECRET"}
	w.dli.SetUsers(dlitest.SampleUser(), next)
	w.runs("job")
	seen := w.record()
	job := w.watch("job")
	w.start().awaitReason(job, "JobRunning")
	update(w, w.secret("credentials", dlitest.User{}), func(secret *corev1.Secret) {
		secret.Data["accessKeyID"], secret.Data["secretAccessKey"] = []byte(next.AccessKeyID), []byte(next.SecretAccessKey)
	})
	if !eventually(func() bool { return w.dli.Stats().Authenticated[next.AccessKeyID] > 0 }) {
		t.Fatal("the new key is not used")
	}
	w.dli.SetUsers(next) // the old one is revoked
	w.awaitRequests("job", w.dli.Requests("job")+5)
	if failures := w.dli.Stats().AuthFailures; len(failures) > 0 {
		t.Errorf("requests were rejected: %v", failures)
	}
	for _, state := range seen.all() {
		if c := conditionOf(state, "Synced"); c != nil && c["status"] == "False" {
			t.Errorf("a poll failed: %v", c)
		}
	}
}

func TestFixedSecret(t *testing.T) {
	w := newWorld(t)
	brisk(w)
	// A job whose state changes so often is written once per interval.
	w.options.Schedule.StatusRefreshInterval = time.Second
	w.runs("job")
	w.dli.SetUsers()
	job := w.watch("job")
	w.start().awaitReason(job, "CredentialsRejected")
	w.awaitConnection("default", "CredentialsRejected")

	valid := dlitest.User{AccessKeyID: "VALIDKEY", SecretAccessKey: "VALIDSECRET"}
	w.dli.SetUsers(valid)
	secret := w.secret("credentials", valid)
	set := func(user dlitest.User) {
		update(w, secret, func(secret *corev1.Secret) {
			secret.Data = map[string][]byte{"accessKeyID": []byte(user.AccessKeyID), "secretAccessKey": []byte(user.SecretAccessKey)}
		})
	}
	set(valid)
	w.awaitReason(job, "JobRunning")
	w.awaitConnection("default", "Connected")

	set(dlitest.User{})
	w.awaitReason(job, "SecretInvalid")
	w.awaitConnection("default", "SecretInvalid")
	set(valid)
	w.awaitReason(job, "JobRunning")

	if err := w.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.awaitReason(job, "SecretNotFound")
	w.awaitConnection("default", "SecretNotFound")
	w.create(w.secret("credentials", valid))
	w.awaitReason(job, "JobRunning")
	w.awaitConnection("default", "Connected")
}

func TestManyJobsWithAWrongKey(t *testing.T) {
	const n = 150
	w := newWorld(t)
	w.options.Schedule.StallAfter = time.Hour
	brisk(w)
	w.dli.SetUsers()
	jobs := make([]*v1alpha1.DLIJob, n)
	for i := range jobs {
		jobs[i] = w.watch(fmt.Sprint("job-", i))
	}
	w.start()
	for _, job := range jobs {
		told := w.awaitReason(job, "CredentialsRejected")
		if told.Status.LastPollTime != nil {
			t.Errorf("DLIJob %s reports a successful poll", job.Name)
		}
	}
	if asked := w.dli.Stats().Requests; asked > 5 {
		t.Errorf("%d requests with a wrong key", asked)
	}

	// A new Secret lets all of them be polled immediately.
	valid := dlitest.User{AccessKeyID: "VALIDKEY", SecretAccessKey: "VALIDSECRET"}
	w.dli.SetUsers(valid)
	for i := range jobs {
		w.runs(fmt.Sprint("job-", i))
	}
	update(w, w.secret("credentials", valid), func(secret *corev1.Secret) {
		secret.Data = map[string][]byte{"accessKeyID": []byte(valid.AccessKeyID), "secretAccessKey": []byte(valid.SecretAccessKey)}
	})
	rotated := time.Now()
	for _, job := range jobs {
		w.awaitReason(job, "JobRunning")
	}
	t.Logf("all %d jobs were polled within %v after the rotation", n, time.Since(rotated))
}

func TestChangedRateLimit(t *testing.T) {
	w := newBareWorld(t)
	w.create(w.secret("credentials", dlitest.SampleUser()))
	slow := w.connection("default", "credentials", func(spec *v1alpha1.DLIConnectionSpec) {
		spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: 1, Burst: 1}
	})
	w.create(slow)
	const n = 100 // these would take a minute and a half, at one per second
	for i := range n {
		id := fmt.Sprint("job-", i)
		w.runs(id)
		w.watch(id)
	}
	w.start().awaitConnection("default", "Connected")
	update(w, slow, func(c *v1alpha1.DLIConnection) {
		c.Spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: 500, Burst: 500}
	})
	for i := range n {
		w.awaitRequests(fmt.Sprint("job-", i), 1)
	}
}

func TestHangingEndpoint(t *testing.T) {
	const n = 80
	w := newBareWorld(t, dlitest.WithRequestLog())
	hanging := testenv.DLI(t)
	hanging.SetFault(&dlitest.Response{Hang: true})
	w.create(w.secret("credentials", dlitest.SampleUser()))
	w.create(w.connection("default", "credentials"))
	other := w.neighbour(nil)
	other.dli = hanging
	other.create(other.secret("credentials", dlitest.SampleUser()))
	other.create(other.connection("default", "credentials"))
	everySecond := func(spec *v1alpha1.DLIJobSpec) { spec.PollIntervalSeconds = new(int32(1)) }
	for i := range n {
		id := fmt.Sprint("job-", i)
		w.runs(id)
		w.watch(id, everySecond)
	}
	p99 := func(polls int, from time.Time) time.Duration {
		var gaps []time.Duration
		for i := range n {
			id := fmt.Sprint("job-", i)
			var times []time.Time
			if !eventually(func() bool { times = since(w.dli.Log(id), from); return len(times) >= polls }) {
				t.Fatalf("job %d was polled %d times, want %d", i, len(times), polls)
			}
			for k := 1; k < polls; k++ {
				gaps = append(gaps, times[k].Sub(times[k-1]))
			}
		}
		slices.Sort(gaps)
		return gaps[len(gaps)*99/100]
	}
	w.start()
	for i := range n {
		w.awaitRequests(fmt.Sprint("job-", i), 2)
	}
	alone := p99(5, time.Now())
	for i := range n {
		other.watch(fmt.Sprint("hanging-", i), everySecond)
	}
	if !eventually(func() bool { return hanging.Stats().InFlight > 0 }) {
		t.Fatal("the hanging endpoint received no requests")
	}
	beside := p99(5, time.Now())
	t.Logf("p99 of the time between two polls, one per second: %v alone, %v with a hanging endpoint: ratio %.2f", alone, beside, float64(beside)/float64(alone))
	if beside > 2*alone+2*time.Second {
		t.Errorf("the hanging endpoint delays jobs of another: p99 %v, without it %v", beside, alone)
	}
}

func TestUnusableEndpoints(t *testing.T) {
	stranger := testenv.DLI(t, dlitest.WithTLS())
	secure := func(w *world) { w.options.Connections.AllowInsecure = false }
	for name, test := range map[string]struct {
		given  func(*world)
		spec   func(*world, *v1alpha1.DLIConnectionSpec)
		reason string
		says   string
	}{
		"http": {secure, func(_ *world, spec *v1alpha1.DLIConnectionSpec) {
			spec.Endpoint = "http://dli.cn-north-4.myhuaweicloud.com"
		},
			"EndpointMisconfigured", "https://"},
		"a host that is not allowed": {func(w *world) { secure(w); w.options.Connections.AllowedHosts = []string{"dli.*.example.com"} },
			func(_ *world, spec *v1alpha1.DLIConnectionSpec) { spec.Endpoint = "https://elsewhere.test" },
			"EndpointMisconfigured", "allowed hosts"},
		"a loopback address": {secure, func(*world, *v1alpha1.DLIConnectionSpec) {}, "EndpointMisconfigured", "loopback"},
		"a name that resolves to a loopback address": {secure, func(w *world, spec *v1alpha1.DLIConnectionSpec) {
			spec.Endpoint = strings.Replace(w.dli.URL(), "127.0.0.1", "localhost", 1)
		}, "EndpointMisconfigured", "loopback"},
		"an unknown region": {secure, func(_ *world, spec *v1alpha1.DLIConnectionSpec) { spec.Region, spec.Endpoint = "moon-1", "" },
			"EndpointMisconfigured", "region moon-1"},
		"a redirect": {func(w *world) {
			w.dli.SetFault(&dlitest.Response{Status: http.StatusFound, Header: http.Header{"Location": {"/login"}}})
		}, func(w *world, spec *v1alpha1.DLIConnectionSpec) { spec.CABundle = string(w.dli.CABundle()) },
			"EndpointMisconfigured", "redirects"},
		"an untrusted certificate": {func(*world) {}, func(*world, *v1alpha1.DLIConnectionSpec) {}, "EndpointMisconfigured", "CA bundle"},
		"the certificate of another server": {func(*world) {}, func(_ *world, spec *v1alpha1.DLIConnectionSpec) { spec.CABundle = string(stranger.CABundle()) },
			"EndpointMisconfigured", "CA bundle"},
		"an invalid caBundle": {func(*world) {}, func(_ *world, spec *v1alpha1.DLIConnectionSpec) { spec.CABundle = "none" }, "EndpointMisconfigured", "PEM"},
		"the right caBundle": {func(*world) {}, func(w *world, spec *v1alpha1.DLIConnectionSpec) { spec.CABundle = string(w.dli.CABundle()) },
			"JobRunning", ""},
		"no response": {func(w *world) { w.dli.SetFault(&dlitest.Response{Hang: true}) },
			func(w *world, spec *v1alpha1.DLIConnectionSpec) { spec.CABundle = string(w.dli.CABundle()) },
			"EndpointUnreachable", "no response"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newBareWorld(t, dlitest.WithTLS())
			test.given(w)
			w.create(w.secret("credentials", dlitest.SampleUser()))
			w.create(w.connection("default", "credentials", func(spec *v1alpha1.DLIConnectionSpec) { test.spec(w, spec) }))
			w.runs("job")
			job := w.watch("job")
			told := w.start().awaitReason(job, test.reason)
			for _, c := range told.Status.Conditions {
				if c.Type == v1alpha1.ReadyCondition && !strings.Contains(c.Message, test.says) {
					t.Errorf("the message does not say %q: %s", test.says, c.Message)
				}
			}
			if test.reason == "EndpointMisconfigured" && name != "a redirect" && w.dli.Stats().Requests > 0 {
				t.Error("a request was sent")
			}
		})
	}
}

func TestConnectionStatus(t *testing.T) {
	w := newWorld(t)
	brisk(w)
	w.runs("job", "1", "2", "3", "4")
	job := w.watch("job")
	for _, id := range []string{"1", "2", "3", "4"} {
		w.watch(id)
	}
	list := &v1alpha1.DLIConnectionList{}
	watcher, err := w.Watch(t.Context(), list, client.InNamespace(w.namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	w.start().awaitConnection("default", "Connected")
	w.awaitReason(job, "JobRunning")
	w.awaitRequests("job", 25)
	w.dli.SetFault(&dlitest.Response{Status: http.StatusBadGateway})
	open := w.awaitConnection("default", "CircuitOpen")
	if open.Status != metav1.ConditionFalse || !strings.Contains(open.Message, "502") {
		t.Errorf("the connection is %+v", open)
	}
	w.awaitReason(job, "ServerError")
	w.dli.SetFault(nil)
	w.awaitConnection("default", "Connected")
	w.awaitReason(job, "JobRunning")
	w.awaitRequests("job", w.dli.Requests("job")+25)

	var reasons []string
	for {
		select {
		case e := <-watcher.ResultChan():
			connection := e.Object.(*v1alpha1.DLIConnection)
			reason := ""
			for _, c := range connection.Status.Conditions {
				reason = c.Reason
			}
			reasons = append(reasons, reason)
			continue
		default:
		}
		break
	}
	if told := slices.Compact(slices.Clone(reasons)); len(reasons) > len(told)+1 {
		t.Errorf("%d watch events, too many: %q", len(reasons), reasons)
	}
	if current := (&v1alpha1.DLIConnection{}); w.Get(t.Context(), types.NamespacedName{Namespace: w.namespace, Name: "default"}, current) != nil ||
		current.Status.Endpoint != w.dli.URL() || current.Status.ObservedGeneration != current.Generation {
		t.Errorf("the status is %+v", current.Status)
	}
}

func TestRecreatedConnection(t *testing.T) {
	w := newWorld(t)
	w.runs("job")
	job := w.watch("job")
	w.start().awaitReason(job, "JobRunning")
	if err := w.Delete(t.Context(), w.connection("default", "credentials")); err != nil {
		t.Fatal(err)
	}
	w.awaitReason(job, "ConnectionNotFound")
	w.create(w.connection("default", "credentials"))
	w.awaitReason(job, "JobRunning")
	w.awaitConnection("default", "Connected")
}

// since returns the times from a time on.
func since(times []time.Time, from time.Time) []time.Time {
	i, _ := slices.BinarySearchFunc(times, from, time.Time.Compare)
	return times[i:]
}
