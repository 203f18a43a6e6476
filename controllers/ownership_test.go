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

package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// version returns a version of a job, like the API server stores it.
func version(of *v1alpha1.DLIJob, resourceVersion string, changes ...func(*v1alpha1.DLIJob)) *v1alpha1.DLIJob {
	job := of.DeepCopy()
	job.ResourceVersion = resourceVersion
	for _, change := range changes {
		change(job)
	}
	return job
}

func TestMemory(t *testing.T) {
	met := func() (*ownership, *v1alpha1.DLIJob) {
		m := &ownership{}
		job := version(newJob(read(answering("RUNNING"))), "10")
		m.of(job, noon)
		m.stored(job, "10")
		return m, job
	}
	empty := func(job *v1alpha1.DLIJob) { job.Status = v1alpha1.DLIJobStatus{} }

	t.Run("accepts the first status that it sees", func(t *testing.T) {
		m, job := &ownership{}, newJob(read(answering("FINISHED")))
		if !m.of(job, noon).matches(job) {
			t.Error("the status is not accepted")
		}
	})
	t.Run("recognizes its own write by its content", func(t *testing.T) {
		m, job := met()
		written := version(job, "11", read(answering("FINISHED")))
		m.stored(written, "11")
		if m.changed(job, written) {
			t.Error("its own write is not recognized")
		}
	})
	t.Run("recognizes its own write even if the watch event arrives first", func(t *testing.T) {
		m, job := met()
		written := version(job, "11", read(answering("FINISHED")))
		if !m.changed(job, written) {
			t.Error("an unknown status is ignored")
		}
		m.stored(written, "11")
		if known := m.of(written, noon); !known.matches(written) || known.replaced != nil {
			t.Errorf("its own write is still not recognized: %+v", known)
		}
	})
	t.Run("keeps the status that something else replaced", func(t *testing.T) {
		m, job := met()
		emptied := version(job, "11", empty)
		if !m.changed(job, emptied) {
			t.Fatal("the change is not noticed")
		}
		if known := m.of(emptied, noon); known.matches(emptied) || known.replaced == nil || known.replaced.JobStatus != "RUNNING" {
			t.Errorf("the lastWrite is %+v", known)
		}
	})
	t.Run("ignores labels", func(t *testing.T) {
		m, job := met()
		if m.changed(job, version(job, "11", func(job *v1alpha1.DLIJob) { job.Labels = map[string]string{"a": "b"} })) {
			t.Error("a label counts as a change of the status")
		}
	})
	t.Run("distinguishes a stale cache from a restored API server", func(t *testing.T) {
		m, job := met()
		m.stored(version(job, "12"), "12")
		if !m.of(job, noon).isBehind(job) {
			t.Error("version 10 is not behind 12")
		}
		m.noteReset(version(job, "10"))
		if m.of(job, noon).isBehind(job) {
			t.Error("version 10 is still considered stale after a restore of etcd")
		}
	})
	t.Run("counts a TTL from when the outcome was recorded, even if the clock changes", func(t *testing.T) {
		m, job := met()
		ended := version(job, "11", read(answering("FINISHED")))
		deriveConditions(ended, poller.JobTimes{}, noon, stallAfter)
		later := noon.Add(10 * time.Second)
		if recorded := m.of(ended, later).recorded; !recorded.Equal(noon) {
			t.Errorf("recorded %v", recorded)
		}
		future := version(ended, "12")
		for i := range future.Status.Conditions {
			future.Status.Conditions[i].LastTransitionTime = metav1.NewTime(noon.Add(time.Hour))
		}
		other := &ownership{}
		if recorded := other.of(future, noon).recorded; recorded.After(noon) {
			t.Errorf("an outcome in the future was recorded %v", recorded)
		}
	})
	t.Run("starts over for another object of the same name", func(t *testing.T) {
		m, job := met()
		again := version(job, "5", empty, func(job *v1alpha1.DLIJob) { job.UID = "another" })
		if known := m.of(again, noon); known.isBehind(again) || !known.matches(again) {
			t.Errorf("the lastWrite is %+v", known)
		}
	})
}
