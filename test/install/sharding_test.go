// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	shardLabel = "dli.huaweicloud.com/shard"
	// lease is how long the lease of a dead leader lasts: the default of client-go.
	lease = 15 * time.Second
	// settled is longer than a poll interval and shorter than a lease.
	settled = 5 * time.Second
)

// Two shards run as processes, one of them with a standby. Jobs move between the
// shards, a leader is killed, and no job is lost, or polled by two operators for longer
// than a lease.
func TestShardsShareTheJobs(t *testing.T) {
	c := newCluster(t, "crd")
	c.Kubectl("", "create", "namespace", namespace)
	dli := testenv.DLI(t)
	c.Connect("default", dli)

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
		dli.SetJob(dlitest.Query(jobs[i].Spec.JobID).Running(time.Hour))
		c.MustCreate(jobs[i])
	}

	start := func(shard, selector string) *operator {
		t.Helper()
		return c.start(c.Admin, "--leader-elect", "--leader-election-id=shard-"+shard,
			"--watch-label-selector="+selector, "--report-connections="+fmt.Sprint(shard == "0"))
	}
	start("0", shardLabel+" notin (1)")
	leader := start("1", shardLabel+"=1")
	polled := func(what string, since time.Time) {
		t.Helper()
		for _, job := range jobs {
			c.Eventually(job.Name+" is polled "+what, func() bool { return len(pollsAfter(dli, job, since)) >= 3 })
		}
	}
	polled("by its shard", time.Time{})
	start("1", shardLabel+"=1") // the standby

	moved := time.Now()
	for i, job := range jobs {
		to := map[bool]string{true: "0", false: "1"}[i%2 == 0]
		c.Kubectl("", "label", "dlijob/"+job.Name, "--overwrite", shardLabel+"="+to)
	}
	polled("after it moved", moved.Add(settled))
	oncePerInterval(t, dli, jobs, moved.Add(settled))

	killed := time.Now()
	leader.Kill()
	polled("after the leader of a shard was killed", killed.Add(lease+settled))
	oncePerInterval(t, dli, jobs, killed.Add(lease+settled))
}

// oncePerInterval fails the test if a job was polled more often than its interval of
// one second allows, as two operators would.
func oncePerInterval(t *testing.T, dli *dlitest.Server, jobs []*v1alpha1.DLIJob, since time.Time) {
	t.Helper()
	for _, job := range jobs {
		polls := pollsAfter(dli, job, since)
		took := polls[len(polls)-1].Sub(polls[0])
		if most := int(took/time.Second) + 2; len(polls) > most {
			t.Errorf("%s was polled %d times in %v: more than one operator polls it", job.Name, len(polls), took)
		}
	}
}

func pollsAfter(dli *dlitest.Server, job *v1alpha1.DLIJob, since time.Time) []time.Time {
	var polls []time.Time
	for _, at := range dli.Log(job.Spec.JobID) {
		if at.After(since) {
			polls = append(polls, at)
		}
	}
	return polls
}
