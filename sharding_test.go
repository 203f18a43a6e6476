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
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

const (
	shardLabel = "dli.huaweicloud.com/shard"
	// lease is how long a dead leader keeps its lease: client-go's default.
	lease = 15 * time.Second
	// settled is more than a poll interval, and less than a lease.
	settled = 5 * time.Second
)

// Two shards, of real processes, of which one has a standby: jobs move between
// the shards, a leader is killed, and no job is lost or polled by two for
// longer than a lease.
func TestShardsShareTheJobs(t *testing.T) {
	environment := startControlPlane(t)
	kubectl(t, environment, "apply", "-k", "config/crd")
	c := newClient(t, environment.Config)
	server, err := dlitest.NewServer(dlitest.WithRequestLog())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	connect(t, c, server, "default")

	jobs := make([]*v1alpha1.DLIJob, 20)
	for i := range jobs {
		interval := int32(1)
		jobs[i] = &v1alpha1.DLIJob{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("job-%d", i)},
			Spec:       v1alpha1.DLIJobSpec{JobID: fmt.Sprintf("id-%d", i), PollIntervalSeconds: &interval},
		}
		if i%2 == 0 {
			jobs[i].Labels = map[string]string{shardLabel: "1"}
		}
		server.SetJob(dlitest.Query(jobs[i].Spec.JobID).Running(time.Hour))
		if err := c.Create(t.Context(), jobs[i]); err != nil {
			t.Fatal(err)
		}
	}

	s := shards{binary: buildManager(t), kubeconfig: writeKubeconfig(t, environment)}
	s.start(t, "0", shardLabel+" notin (1)")
	leader := s.start(t, "1", shardLabel+"=1")
	polled := func(what string, since time.Time) {
		t.Helper()
		for _, job := range jobs {
			eventually(t, job.Name+" is polled "+what, func() bool { return len(pollsAfter(server, job, since)) >= 3 })
		}
	}
	polled("by its shard", time.Time{})
	s.start(t, "1", shardLabel+"=1") // the standby

	moved := time.Now()
	for i, job := range jobs {
		to := map[bool]string{true: "0", false: "1"}[i%2 == 0]
		kubectl(t, environment, "label", "dlijob/"+job.Name, "--overwrite", shardLabel+"="+to)
	}
	polled("after it has moved", moved.Add(settled))
	oncePerInterval(t, server, jobs, moved.Add(settled))

	killed := time.Now()
	if err := leader.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	polled("after the leader of a shard was killed", killed.Add(lease+settled))
	oncePerInterval(t, server, jobs, killed.Add(lease+settled))
}

// oncePerInterval fails the test if a job was polled more often than its interval of a second
// allows: two operators would poll twice.
func oncePerInterval(t *testing.T, server *dlitest.Server, jobs []*v1alpha1.DLIJob, since time.Time) {
	t.Helper()
	for _, job := range jobs {
		polls := pollsAfter(server, job, since)
		took := polls[len(polls)-1].Sub(polls[0])
		if most := int(took/time.Second) + 2; len(polls) > most {
			t.Errorf("%s was polled %d times in %v: more than one operator polls it", job.Name, len(polls), took)
		}
	}
}

func pollsAfter(server *dlitest.Server, job *v1alpha1.DLIJob, since time.Time) []time.Time {
	var polls []time.Time
	for _, at := range server.Log(job.Spec.JobID) {
		if at.After(since) {
			polls = append(polls, at)
		}
	}
	return polls
}

// connect creates the connection for the jobs of a namespace.
func connect(t *testing.T, c client.Client, server *dlitest.Server, namespace string) {
	t.Helper()
	user := dlitest.SampleUser()
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	for _, object := range []client.Object{
		&corev1.Secret{ObjectMeta: meta("credentials"), StringData: map[string]string{"token": user.Token}},
		&v1alpha1.DLIConnection{ObjectMeta: meta("default"), Spec: v1alpha1.DLIConnectionSpec{
			Endpoint: server.URL(), ProjectID: user.ProjectID,
			Credentials: v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "credentials"}},
		}},
	} {
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// shards starts operators as separate processes.
type shards struct{ binary, kubeconfig string }

func (s shards) start(t *testing.T, shard, selector string) *exec.Cmd {
	t.Helper()
	operator := exec.CommandContext(t.Context(), s.binary,
		"--leader-elect", "--leader-election-namespace=default", "--leader-election-id=shard-"+shard,
		"--watch-label-selector="+selector, "--report-connections="+fmt.Sprint(shard == "0"),
		"--allow-insecure-endpoints", "--metrics-bind-address=0", "--health-probe-bind-address=0")
	operator.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig)
	operator.Stderr = testWriter{t}
	if err := operator.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = operator.Process.Kill() // it may be dead already
		_ = operator.Wait()         // killed, so with an error
	})
	return operator
}

func buildManager(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "manager")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the operator: %v\n%s", err, out)
	}
	return binary
}
