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
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
)

func TestWorthWriting(t *testing.T) {
	const refresh = time.Minute
	running := func(changes ...func(*dli.JobStatus)) *v1alpha1.DLIJob {
		job := newJob(read(answering("RUNNING", append([]func(*dli.JobStatus){func(a *dli.JobStatus) { a.Duration = ptr.To(10 * time.Minute) }}, changes...)...)))
		deriveConditions(job, poller.JobTimes{Failures: poller.FailureStreak{}}, noon, stallAfter)
		return job
	}
	for name, test := range map[string]struct {
		answer *dli.JobStatus
		after  time.Duration
		late   time.Duration // from the response until it can be stored
		want   bool
	}{
		"rows changed a second later, stored late":       {answer: answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](1) }), after: time.Second, late: time.Hour},
		"nothing changed":                                {answer: answering("RUNNING"), after: time.Hour},
		"the state changed":                              {answer: answering("FINISHED"), after: time.Second, want: true},
		"rows changed a second later":                    {answer: answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](1) }), after: time.Second},
		"rows changed a minute later":                    {answer: answering("RUNNING", func(a *dli.JobStatus) { a.ResultCount = ptr.To[int64](1) }), after: time.Minute, want: true},
		"the duration grew by less than a quarter":       {answer: answering("RUNNING", func(a *dli.JobStatus) { a.Duration = ptr.To(12 * time.Minute) }), after: time.Hour},
		"the duration grew by a quarter or more":         {answer: answering("RUNNING", func(a *dli.JobStatus) { a.Duration = ptr.To(13 * time.Minute) }), after: 2 * time.Minute, want: true},
		"the duration grew by a quarter, a second later": {answer: answering("RUNNING", func(a *dli.JobStatus) { a.Duration = ptr.To(13 * time.Minute) }), after: time.Second},
		"the queue became known":                         {answer: answering("RUNNING", func(a *dli.JobStatus) { a.QueueName = "other" }), after: time.Second, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			stored, now := running(), noon.Add(test.after)
			current := stored.DeepCopy()
			recordStatus(current, test.answer, now)
			deriveConditions(current, poller.JobTimes{Failures: poller.FailureStreak{}}, now, stallAfter)
			if got := worthWriting(stored, current, now.Add(test.late), refresh); got != test.want {
				t.Errorf("worth writing: %v, want %v\n%s", got, test.want, cmp.Diff(stored.Status, current.Status))
			}
		})
	}

	t.Run("a new generation is always written", func(t *testing.T) {
		stored := running()
		current := stored.DeepCopy()
		current.Generation++
		deriveConditions(current, poller.JobTimes{Failures: poller.FailureStreak{}}, noon, stallAfter)
		if !worthWriting(stored, current, noon, refresh) {
			t.Error("not written")
		}
	})
}

// A change of a field that worthWriting does not compare would not cause a write.
func TestWorthWritingKnowsEveryField(t *testing.T) {
	alone := map[string]bool{
		"LastPollTime":         false, // written together with other changes
		"DurationMilliseconds": false, // as duration, once the job has ended
	}
	kind := reflect.TypeFor[v1alpha1.DLIJobStatus]()
	for i := range kind.NumField() {
		name := kind.Field(i).Name
		t.Run(name, func(t *testing.T) {
			stored := newJob(read(answering("FAILED")))
			current := stored.DeepCopy()
			change(t, reflect.ValueOf(&current.Status).Elem().Field(i))
			want, exempt := alone[name]
			if got := worthWriting(stored, current, noon, time.Minute); got != (want || !exempt) {
				t.Errorf("worth writing: %v", got)
			}
		})
	}
}

// The phase only changes together with other fields.
func TestPhaseCausesNoWrites(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	job, changed := newJob(), 0
	deriveConditions(job, poller.JobTimes{}, noon, stallAfter)
	for range 10_000 {
		before := job.DeepCopy()
		progress := poller.JobTimes{}
		switch random.IntN(4) {
		case 0:
			recordStatus(job, answering(pick("LAUNCHING", "RUNNING", "SCALING", "FINISHED", "FAILED")), noon)
		case 1:
			failing(pick("JobNotFound", "ServerError", "EndpointUnreachable"))(job)
		case 2:
			failing(pick("CredentialsRejected", "SecretNotFound"))(job)
			progress.Failures = blocked(time.Duration(random.IntN(2)) * stallAfter)
		case 3:
			job.Spec.Suspend = !job.Spec.Suspend
			if job.Spec.Suspend && !job.IsCompleted() {
				recordSuspended(job, noon)
			}
		}
		deriveConditions(job, progress, noon, stallAfter)
		if job.Status.Phase != before.Status.Phase {
			changed++
			before.Status.Phase = job.Status.Phase
			if sameFacts(&before.Status, &job.Status) {
				t.Fatalf("the phase became %s without another change: %s", job.Status.Phase, row(job))
			}
		}
		if job.IsCompleted() {
			job = newJob()
			deriveConditions(job, poller.JobTimes{}, noon, stallAfter)
		}
	}
	if changed < 1000 {
		t.Errorf("the phase changed only %d times", changed)
	}
}

// change sets a field to another value.
func change(t *testing.T, field reflect.Value) {
	t.Helper()
	switch field.Kind() {
	case reflect.String:
		field.SetString(field.String() + "x")
	case reflect.Int32, reflect.Int64:
		field.SetInt(field.Int() + 1)
	case reflect.Bool:
		field.SetBool(!field.Bool())
	case reflect.Slice:
		field.Set(reflect.Append(field, reflect.Zero(field.Type().Elem())))
	case reflect.Pointer:
		if field.IsNil() {
			field.Set(reflect.New(field.Type().Elem()))
			return
		}
		field.SetZero()
	default:
		t.Fatalf("cannot change a %s", field.Kind())
	}
}
