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
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// soon is how long the operator may take to report a missing permission.
const soon = 20 * time.Second

// A user with access to some namespaces only installs config/namespaced in them, and the
// operator works there and cannot read other namespaces.
func TestInstalledNamespaced(t *testing.T) {
	environment := startControlPlane(t)
	kubectl(t, environment, "apply", "-k", "config/crd")
	c := newClient(t, environment.Config)
	for _, name := range []string{namespace, "team-a", "team-b"} {
		kubectl(t, environment, "create", "namespace", name)
		giveAway(t, c, name, "owner")
	}
	kubectl(t, environment, "apply", "-k", "config/namespaced", "--as=owner")

	pod := deployedManager(t, c)
	p := pods{binary: buildManager(t), kubeconfig: writeTokenKubeconfig(t, environment.Config, tokenOf(t, c, pod.ServiceAccountName))}
	operator := p.start(t, pod.Containers[0].Args...)
	eventually(t, "the operator is ready", operator.ready)

	server, err := dlitest.NewServer(dlitest.WithRequestLog())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	w := namespacedWorld{t, c, server}
	w.populate()

	for _, watched := range []string{"team-a/own", "team-b/own", "team-a/opened"} {
		w.eventuallyIs(watched, v1alpha1.ReasonJobFinished)
	}
	if events := kubectl(t, environment, "get", "events.events.k8s.io", "-n", "team-a"); !strings.Contains(events, "JobFinished") {
		t.Errorf("no event tells of the end:\n%s", events)
	}
	if lease := kubectl(t, environment, "get", "lease", "-n", namespace); !strings.Contains(lease, "dli-operator") {
		t.Errorf("nobody holds the lease:\n%s", lease)
	}
	t.Run("what it may not read it says", w.saysWhatItMayNotRead)
	t.Run("other namespaces are not touched", w.leavesOthersAlone)
	t.Run("the ServiceAccount can do no more than that", func(t *testing.T) {
		mayNotReadTheCluster(t, environment, "--as=system:serviceaccount:"+namespace+":"+pod.ServiceAccountName)
	})
	operator.stop()
	t.Run("a right that is given counts from the next start on", func(t *testing.T) {
		w.T = t
		kubectl(t, environment, "create", "clusterrole", "namespace-reader", "--verb=get,list,watch", "--resource=namespaces")
		kubectl(t, environment, "create", "clusterrolebinding", "namespace-reader", "--clusterrole=namespace-reader",
			"--serviceaccount="+namespace+":"+pod.ServiceAccountName)
		p.start(t, pod.Containers[0].Args...)
		w.eventuallyIs("team-a/granted", v1alpha1.ReasonJobFinished)
		w.eventuallyIs("team-a/refused", v1alpha1.ReasonConnectionNotAllowed)
	})
	t.Run("a right that is missing is named, soon", func(t *testing.T) {
		p.sayWhatIsMissing(t, environment)
	})
}

// giveAway gives a user full access to a namespace.
func giveAway(t *testing.T, c client.Client, namespace, user string) {
	t.Helper()
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
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// namespacedWorld has jobs in team-a and team-b, which are watched, and in the
// default namespace, which is not.
type namespacedWorld struct {
	*testing.T
	client.Client
	dli *dlitest.Server
}

func (w namespacedWorld) populate() {
	w.Helper()
	for _, namespace := range []string{"team-a", "team-b", "default"} {
		connect(w.T, w.Client, w.dli, namespace)
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
		if err := w.Create(w.Context(), connection); err != nil {
			w.Fatal(err)
		}
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

// watch creates a DLIJob for a job that will end.
func (w namespacedWorld) watch(key string, ref *v1alpha1.ConnectionReference) {
	w.Helper()
	namespace, name, _ := strings.Cut(key, "/")
	id := namespace + "-" + name
	w.dli.SetJob(dlitest.Query(id).Finishes(4))
	job := &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.DLIJobSpec{JobID: id, ConnectionRef: ref},
	}
	if err := w.Create(w.Context(), job); err != nil {
		w.Fatal(err)
	}
}

// eventuallyIs waits for a reason of a job's Ready condition, and returns its
// message.
func (w namespacedWorld) eventuallyIs(key, reason string) (message string) {
	w.Helper()
	namespace, name, _ := strings.Cut(key, "/")
	job := &v1alpha1.DLIJob{}
	eventually(w.T, key+" is "+reason, func() bool {
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
		t.Errorf("a grant by selector does not work, and the job does not say why: %s", granted)
	}
	for job, connection := range map[string]string{"refused": "closed", "missing": "absent"} {
		got := w.eventuallyIs("team-a/"+job, v1alpha1.ReasonConnectionNotAllowed)
		if want := strings.ReplaceAll(granted, "selected", connection); got != want {
			t.Errorf("a connection that is %s can be told from one that is granted by selector:\n%s\n%s", job, got, want)
		}
	}
	if unread := w.eventuallyIs("team-a/unread", v1alpha1.ReasonConnectionNotAllowed); !strings.Contains(unread, "does not read DLIConnections in namespace default") {
		t.Errorf("a connection that is not read: %s", unread)
	}
	selected := &v1alpha1.DLIConnection{}
	eventually(t, "the connection says that its selector selects nothing", func() bool {
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
		t.Errorf("a job of another namespace was polled %d times and has the conditions %v", len(polls), job.Status.Conditions)
	}
}

func mayNotReadTheCluster(t *testing.T, environment *envtest.Environment, as string) {
	t.Helper()
	for _, forbidden := range [][]string{
		{"list", "dlijobs", "-A"}, {"list", "dliconnections", "-A"}, {"list", "namespaces"}, {"get", "namespaces"},
		{"get", "secrets", "-A"}, {"get", "secrets", "-n", "default"}, {"list", "secrets", "-n", "team-a"},
		{"create", "tokenreviews.authentication.k8s.io"}, {"create", "events.events.k8s.io", "-n", "default"},
		{"patch", "dlijobs", "-n", "team-a"}, {"get", "customresourcedefinitions"},
	} {
		if answer := canI(t, environment, append(forbidden, as)...); answer != "no" {
			t.Errorf("may %v: %s", forbidden, answer)
		}
	}
	rights := kubectl(t, environment, "auth", "can-i", "--list", "-n", "default", as)
	for _, resource := range []string{"dli", "secrets", "events", "leases", "namespaces"} {
		if strings.Contains(rights, resource) {
			t.Errorf("has rights in the default namespace:\n%s", rights)
		}
	}
}

// pods starts operators as separate processes, with the permissions of an account.
type pods struct{ binary, kubeconfig string }

// process is a running operator.
type process struct {
	probes string
	log    *bytes.Buffer
	stop   func()
	// exited is closed when err is how it ended.
	exited chan struct{}
	err    error
}

func (p pods) start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	started := &process{probes: unusedAddress(t), log: &bytes.Buffer{}, exited: make(chan struct{})}
	command := exec.CommandContext(ctx, p.binary, append(args,
		// Where the pod would have addresses and a namespace of its own, and because
		// the simulator is on loopback and speaks http.
		"--health-probe-bind-address="+started.probes, "--metrics-bind-address=127.0.0.1:0",
		"--leader-election-namespace="+namespace, "--allow-insecure-endpoints")...)
	command.Env = append(os.Environ(), "KUBECONFIG="+p.kubeconfig)
	command.Stderr = started.log
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = time.Minute
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		started.err = command.Wait()
		close(started.exited)
	}()
	started.stop = sync.OnceFunc(func() {
		cancel()
		<-started.exited
		if t.Failed() {
			t.Logf("%s", started.log)
		}
	})
	t.Cleanup(started.stop)
	return started
}

// ready reports whether the operator reports ready.
func (p *process) ready() bool { return p.answers("/readyz") }

// answers reports whether a probe succeeds.
func (p *process) answers(probe string) bool {
	answer, err := http.Get("http://" + p.probes + probe)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// sayWhatIsMissing starts operators that need more permissions than their account has.
func (p pods) sayWhatIsMissing(t *testing.T, environment *envtest.Environment) {
	t.Helper()
	for _, c := range []struct{ name, arg, says, wayOut string }{
		{"all namespaces", "--watch-namespaces=", "lacks permission to list and watch dlijobs.dli.huaweicloud.com in the whole cluster", "config/namespaced"},
		{"a namespace without a Role", "--watch-namespaces=team-a,default", "list and watch dlijobs.dli.huaweicloud.com in namespace default", "--watch-namespaces"},
		{"a default connection in a namespace without a Role", "--default-connection=default/default", "list and watch dliconnections.dli.huaweicloud.com in namespace default", "--default-connection"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.exitsSaying(t, []string{"--watch-namespaces=team-a", c.arg}, c.says, c.wayOut)
		})
	}
	t.Run("where nobody may ask what is allowed, what is forbidden tells", func(t *testing.T) {
		kubectl(t, environment, "delete", "clusterrolebinding", "system:basic-user")
		p.exitsSaying(t, []string{"--watch-namespaces=team-a"}, "cannot check the operator's permissions", "lacks a permission: ")
	})
}

func (p pods) exitsSaying(t *testing.T, args []string, says ...string) {
	t.Helper()
	operator := p.start(t, args...)
	deadline := time.After(soon)
	for {
		select {
		case <-operator.exited:
			for _, text := range says {
				if operator.err == nil || !strings.Contains(operator.log.String(), text) {
					t.Errorf("ended with %v, and does not say %q:\n%s", operator.err, text, operator.log)
				}
			}
			return
		case <-time.After(20 * time.Millisecond):
			if operator.ready() {
				t.Error("says that it is ready")
			}
		case <-deadline:
			t.Fatal("does not end")
		}
	}
}

// writeTokenKubeconfig writes a kubeconfig that authenticates with a token.
func writeTokenKubeconfig(t *testing.T, admin *rest.Config, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: admin.Host, CertificateAuthorityData: admin.CAData}
	config.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(fmt.Errorf("writing the kubeconfig: %w", err))
	}
	return path
}
