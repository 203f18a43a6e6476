// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// soon limits how long the operator takes to report a missing permission.
const soon = 20 * time.Second

// A user with access to only some namespaces installs config/namespaced. The operator
// works there and cannot read other namespaces.
func TestInstalledNamespaced(t *testing.T) {
	c := newCluster(t, "crd")
	for _, name := range []string{namespace, "team-a", "team-b"} {
		c.Kubectl("", "create", "namespace", name)
		c.makeOwner(name, "owner")
	}
	c.Kubectl("", "apply", "-k", config+"/namespaced", "--as=owner")

	pod := c.deployed()[manager]
	operator := c.startPod(pod)
	c.Eventually("the operator is ready", operator.ready)

	w := namespacedWorld{*c, testenv.DLI(t)}
	w.populate()

	for _, watched := range []string{"team-a/own", "team-b/own", "team-a/opened"} {
		w.eventuallyIs(watched, v1alpha1.ReasonJobFinished)
	}
	if events := c.Kubectl("", "get", "events.events.k8s.io", "-n", "team-a"); !strings.Contains(events, "JobFinished") {
		t.Errorf("there is no Event about the end:\n%s", events)
	}
	if leases := c.leases(); !slices.Contains(leases, "dli-operator") {
		t.Errorf("the operator does not hold the lease: %v", leases)
	}
	t.Run("it reports which permission is missing", w.saysWhatItMayNotRead)
	t.Run("other namespaces are not watched", w.leavesOthersAlone)
	t.Run("the ServiceAccount has no other permissions", func(t *testing.T) {
		c.mayNotReadTheCluster(t, "--as="+userOf(pod))
	})
	operator.Stop(time.Minute)
	t.Run("a permission granted later is used after a restart", func(t *testing.T) {
		w.T = t
		w.Kubectl("", "create", "clusterrole", "namespace-reader", "--verb=get,list,watch", "--resource=namespaces")
		w.Kubectl("", "create", "clusterrolebinding", "namespace-reader", "--clusterrole=namespace-reader",
			"--serviceaccount="+namespace+":"+pod.ServiceAccountName)
		w.startPod(pod)
		w.eventuallyIs("team-a/granted", v1alpha1.ReasonJobFinished)
		w.eventuallyIs("team-a/refused", v1alpha1.ReasonConnectionNotAllowed)
	})
	account := c.account(pod)
	for name, test := range map[string]struct{ arg, says, wayOut string }{
		"all namespaces":                                     {"--watch-namespaces=", "at the cluster scope", "config/namespaced"},
		"a namespace without a Role":                         {"--watch-namespaces=team-a,default", `in the namespace \"default\"`, "--watch-namespaces"},
		"a default connection in a namespace without a Role": {"--default-connection=default/default", `resource \"dliconnections\" in API group \"dli.huaweicloud.com\" in the namespace \"default\"`, "--default-connection"},
	} {
		t.Run("it exits with the missing permission: "+name, func(t *testing.T) {
			c.exitsSaying(t, account, []string{"--watch-namespaces=team-a", test.arg}, test.says, test.wayOut)
		})
	}
	t.Run("it exits with the missing permission even if it cannot check its permissions", func(t *testing.T) {
		c.Kubectl("", "delete", "clusterrolebinding", "system:basic-user")
		c.exitsSaying(t, account, []string{"--watch-namespaces=team-a"}, "cannot check the operator's permissions", "lacks a permission: ")
	})
}

// makeOwner gives a user full access to a namespace.
func (c *cluster) makeOwner(namespace, user string) {
	c.Helper()
	everything := []string{"*"}
	m := metav1.ObjectMeta{Namespace: namespace, Name: user}
	for _, object := range []client.Object{
		&rbacv1.Role{ObjectMeta: m, Rules: []rbacv1.PolicyRule{{Verbs: everything, APIGroups: everything, Resources: everything}}},
		&rbacv1.RoleBinding{
			ObjectMeta: m,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		},
	} {
		c.MustCreate(object)
	}
}

// namespacedWorld has DLIJobs in team-a and team-b, which are watched, and in the
// default namespace, which is not.
type namespacedWorld struct {
	cluster
	dli *dlitest.Server
}

func (w namespacedWorld) populate() {
	w.Helper()
	for _, namespace := range []string{"team-a", "team-b", "default"} {
		w.Connect(namespace, w.dli)
		w.watch(namespace+"/own", nil)
	}
	own := &v1alpha1.DLIConnection{}
	if err := w.Get(w.Context(), client.ObjectKey{Namespace: "team-b", Name: "default"}, own); err != nil {
		w.Fatal(err)
	}
	for name, allowed := range map[string]v1alpha1.AllowedNamespaces{
		"open":     {From: v1alpha1.NamespacesFromAll},
		"selected": {From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{}},
		"closed":   {From: v1alpha1.NamespacesFromSame},
	} {
		connection := &v1alpha1.DLIConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "team-b", Name: name}, Spec: *own.Spec.DeepCopy()}
		connection.Spec.AllowedNamespaces = allowed
		w.MustCreate(connection)
	}
	for name, ref := range map[string]v1alpha1.ConnectionReference{
		"opened":  {Namespace: "team-b", Name: "open"},
		"granted": {Namespace: "team-b", Name: "selected"},
		"refused": {Namespace: "team-b", Name: "closed"},
		"missing": {Namespace: "team-b", Name: "absent"},
		"unread":  {Namespace: "default", Name: "default"},
	} {
		w.watch("team-a/"+name, &ref)
	}
}

// watch creates a DLIJob for a job that finishes.
func (w namespacedWorld) watch(key string, ref *v1alpha1.ConnectionReference) {
	w.Helper()
	namespace, name, _ := strings.Cut(key, "/")
	id := namespace + "-" + name
	w.dli.SetJob(dlitest.Query(id).Finishes(4))
	w.MustCreate(&v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.DLIJobSpec{JobID: id, ConnectionRef: ref},
	})
}

// eventuallyIs waits until a job's Ready condition has a reason, and returns its
// message.
func (w namespacedWorld) eventuallyIs(key, reason string) (message string) {
	w.Helper()
	namespace, name, _ := strings.Cut(key, "/")
	job := &v1alpha1.DLIJob{}
	w.Eventually(key+" is "+reason, func() bool {
		if err := w.Get(w.Context(), client.ObjectKey{Namespace: namespace, Name: name}, job); err != nil {
			w.Fatal(err)
		}
		ready := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ReadyCondition)
		if ready == nil || ready.Reason != reason {
			return false
		}
		message = ready.Message
		return true
	})
	return message
}

func (w namespacedWorld) saysWhatItMayNotRead(t *testing.T) {
	w.T = t
	const needed = "get, list and watch on namespaces with a ClusterRole"
	granted := w.eventuallyIs("team-a/granted", v1alpha1.ReasonConnectionNotAllowed)
	if !strings.Contains(granted, needed) {
		t.Errorf("the job does not say why the selector has no effect: %s", granted)
	}
	for job, connection := range map[string]string{"refused": "closed", "missing": "absent"} {
		got := w.eventuallyIs("team-a/"+job, v1alpha1.ReasonConnectionNotAllowed)
		if want := strings.ReplaceAll(granted, "selected", connection); got != want {
			t.Errorf("a connection that is %s can be distinguished from one with a selector:\n%s\n%s", job, got, want)
		}
	}
	if unread := w.eventuallyIs("team-a/unread", v1alpha1.ReasonConnectionNotAllowed); !strings.Contains(unread, "does not read DLIConnections in namespace default") {
		t.Errorf("the message for a connection in another namespace is %s", unread)
	}
	selected := &v1alpha1.DLIConnection{}
	w.Eventually("the connection reports that its selector has no effect", func() bool {
		if err := w.Get(t.Context(), client.ObjectKey{Namespace: "team-b", Name: "selected"}, selected); err != nil {
			t.Fatal(err)
		}
		ready := meta.FindStatusCondition(selected.Status.Conditions, v1alpha1.ReadyCondition)
		return ready != nil && ready.Status == metav1.ConditionTrue && strings.Contains(ready.Message, needed)
	})
}

func (w namespacedWorld) leavesOthersAlone(t *testing.T) {
	job := &v1alpha1.DLIJob{}
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "own"}, job); err != nil {
		t.Fatal(err)
	}
	if polls := w.dli.Log(job.Spec.JobID); len(polls) > 0 || len(job.Status.Conditions) > 0 {
		t.Errorf("a job in another namespace was polled %d times and has conditions %v", len(polls), job.Status.Conditions)
	}
}

func (c *cluster) mayNotReadTheCluster(t *testing.T, as string) {
	t.Helper()
	for _, forbidden := range [][]string{
		{"list", "dlijobs", "-A"}, {"list", "dliconnections", "-A"}, {"list", "namespaces"}, {"get", "namespaces"},
		{"get", "secrets", "-A"}, {"get", "secrets", "-n", "default"}, {"list", "secrets", "-n", "team-a"},
		{"create", "tokenreviews.authentication.k8s.io"}, {"create", "events.events.k8s.io", "-n", "default"},
		{"patch", "dlijobs", "-n", "team-a"}, {"get", "customresourcedefinitions"},
	} {
		if answer := c.canI(append(forbidden, as)...); answer != "no" {
			t.Errorf("may %v: %s", forbidden, answer)
		}
	}
	rights := c.Kubectl("", "auth", "can-i", "--list", "-n", "default", as)
	for _, resource := range []string{"dli", "secrets", "events", "leases", "namespaces"} {
		if strings.Contains(rights, resource) {
			t.Errorf("has permissions in the default namespace:\n%s", rights)
		}
	}
}

// exitsSaying fails the test unless an operator with these arguments soon exits with an
// error that contains these texts, without having been ready.
func (c cluster) exitsSaying(t *testing.T, kubeconfig string, args []string, says ...string) {
	t.Helper()
	c.T = t
	o := c.start(kubeconfig, args...)
	if !testenv.Within(soon, func() bool {
		if o.ready() {
			t.Error("it became ready")
		}
		return o.Alive() != nil
	}) {
		t.Fatal("it does not exit")
	}
	said := testenv.Read(t, o.Log)
	for _, text := range says {
		if o.ExitCode() == 0 || !strings.Contains(said, text) {
			t.Errorf("exit code %d, and the log does not contain %q:\n%s", o.ExitCode(), text, said)
		}
	}
}
