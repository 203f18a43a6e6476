// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// atVersion copies a job as of a resource version, with changes.
func atVersion(of *v1alpha1.DLIJob, resourceVersion string, changes ...func(*v1alpha1.DLIJob)) *v1alpha1.DLIJob {
	job := of.DeepCopy()
	job.ResourceVersion = resourceVersion
	for _, change := range changes {
		change(job)
	}
	return job
}

func emptied(job *v1alpha1.DLIJob) { job.Status = v1alpha1.DLIJobStatus{} }

// ownedJob returns what is known of a job that this process has written.
func ownedJob(state string) (*ownership, *v1alpha1.DLIJob) {
	o, job := &ownership{}, atVersion(newJob(read(answering(state))), "10")
	deriveConditions(job, poller.Snapshot{}, noon, stallAfter)
	o.of(job)
	o.stored(job)
	return o, job
}

func (o *ownership) of(job *v1alpha1.DLIJob) lastWrite { return o.lookup(job, noon) }

// sending and stored do what a write does before it is sent, and after its response.
func (o *ownership) sending(job *v1alpha1.DLIJob) {
	o.update(job, func(w *lastWrite) { w.own = append(w.own, digestOf(job)) })
}

func (o *ownership) stored(job *v1alpha1.DLIJob) {
	o.update(job, func(w *lastWrite) {
		w.writtenAt = noon
		w.accept(job, digestOf(job))
	})
}

func TestOwnership(t *testing.T) {
	t.Run("the first status that a process sees is its own", func(t *testing.T) {
		o, job := &ownership{}, newJob(read(answering("FINISHED")))
		if last := o.of(job); !last.isOwn(job) {
			t.Error("the status is foreign")
		}
	})
	t.Run("a write is known before its response", func(t *testing.T) {
		o, job := ownedJob("RUNNING")
		written := atVersion(job, "11", read(answering("FINISHED")))
		if !o.changed(job, written) {
			t.Error("an unknown status is its own")
		}
		o.sending(written)
		if o.changed(job, written) || o.isForeign(written) || o.changed(written, job) {
			t.Error("a write in doubt, or the status before it, is foreign")
		}
		o.stored(written)
		if !o.isForeign(job) {
			t.Error("the status before a write that was confirmed is still its own")
		}
	})
	t.Run("an outcome of somebody else is not kept when it is replaced", func(t *testing.T) {
		o, job := ownedJob("RUNNING")
		forged := atVersion(job, "11", read(answering("FINISHED")))
		o.changed(job, forged)
		o.changed(forged, atVersion(forged, "12", emptied))
		if last := o.of(job); last.replaced != nil {
			t.Errorf("kept: %+v", last.replaced)
		}
	})
	t.Run("a replaced outcome is kept, and nothing else is", func(t *testing.T) {
		for state, want := range map[string]bool{"FINISHED": true, "RUNNING": false} {
			o, job := ownedJob(state)
			if !o.changed(job, atVersion(job, "11", emptied)) {
				t.Errorf("%s: the change is not noticed", state)
			}
			if last := o.of(job); (last.replaced != nil) != want {
				t.Errorf("%s: replaced is %v", state, last.replaced)
			}
		}
	})
	t.Run("a poll or a label alone is no change", func(t *testing.T) {
		o, job := ownedJob("RUNNING")
		if o.changed(job, atVersion(job, "11", func(job *v1alpha1.DLIJob) {
			job.Labels, job.Status.LastPollTime = map[string]string{"a": "b"}, wholeSeconds(noon.Add(time.Hour))
		})) {
			t.Error("it counts as a change of the status")
		}
	})
	t.Run("a stale cache differs from a restored API server", func(t *testing.T) {
		o, job := ownedJob("RUNNING")
		o.stored(atVersion(job, "12"))
		if last := o.of(job); !last.isBehind(job) {
			t.Error("version 10 is not behind 12")
		}
	})
	t.Run("a copy stays as it is, and most objects share what they lack", func(t *testing.T) {
		o, job := ownedJob("RUNNING")
		before := o.of(job)
		o.update(job, func(w *lastWrite) { w.disputedAt = noon })
		if now := o.of(job); !before.disputedAt.IsZero() || now.disputedAt.IsZero() || *settled != (unsettled{}) {
			t.Errorf("%v became %v", before, now)
		}
		o.stored(job)
		for _, write := range o.byKey {
			if write.unsettled != settled {
				t.Error("it is not settled after a write")
			}
		}
	})
	t.Run("starts over for another object of the same name", func(t *testing.T) {
		o, job := ownedJob("RUNNING")
		again := atVersion(job, "5", emptied, func(job *v1alpha1.DLIJob) { job.UID = "another" })
		if last := o.of(again); last.isBehind(again) || !last.isOwn(again) {
			t.Errorf("it is known as %+v", last)
		}
	})
}

func TestWhoWroteAStatus(t *testing.T) {
	at := func(manager, subresource string, seconds int) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Subresource: subresource, Time: &metav1.Time{Time: noon.Add(time.Duration(seconds) * time.Second)}}
	}
	last := lastWrite{entry: noon}
	for name, test := range map[string]struct {
		fields []metav1.ManagedFieldsEntry
		want   bool
	}{
		"an operator, later":                     {[]metav1.ManagedFieldsEntry{at("dli-operator", "status", 1)}, true},
		"an operator, after somebody":            {[]metav1.ManagedFieldsEntry{at("kubectl", "status", 1), at("dli-operator", "status", 2)}, true},
		"somebody, after an operator":            {[]metav1.ManagedFieldsEntry{at("kubectl", "status", 2), at("dli-operator", "status", 1)}, false},
		"an operator, and somebody the spec":     {[]metav1.ManagedFieldsEntry{at("kubectl", "", 2), at("dli-operator", "status", 1)}, true},
		"somebody who removed fields of its own": {[]metav1.ManagedFieldsEntry{at("dli-operator", "status", 0)}, false},
		"nobody":                                 {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := last.isByOperator(test.fields); got != test.want {
				t.Errorf("by an operator: %v", got)
			}
		})
	}
}

func TestWaitToWrite(t *testing.T) {
	failed := func(job *v1alpha1.DLIJob) { failing("ServerError")(job) }
	running, finished := newJob(read(answering("RUNNING"))), newJob(read(answering("FINISHED")))
	unreadable := newJob(read(answering("RUNNING")), failed)
	for name, test := range map[string]struct {
		last        lastWrite
		stored, job *v1alpha1.DLIJob
		want        time.Duration
	}{
		"nobody else writes":                         {lastWrite{unsettled: settled}, running, unreadable, 0},
		"another operator has written once":          {lastWrite{unsettled: &unsettled{foreign: 1, foreignAt: noon}}, running, running, time.Minute},
		"another operator has written three times":   {lastWrite{unsettled: &unsettled{foreign: 3, foreignAt: noon}}, running, running, 4 * time.Minute},
		"another operator writes for ever":           {lastWrite{unsettled: &unsettled{foreign: 99, foreignAt: noon}}, running, running, time.Hour},
		"an outcome never waits":                     {lastWrite{unsettled: &unsettled{foreign: 9, foreignAt: noon}}, running, finished, 0},
		"a success replaces a failure":               {lastWrite{unsettled: &unsettled{foreign: 9, foreignAt: noon}}, unreadable, running, -(noon.Sub(time.Time{}.Add(time.Minute)))},
		"but at most once a minute":                  {lastWrite{writtenAt: noon, unsettled: &unsettled{foreign: 9, foreignAt: noon}}, unreadable, running, time.Minute},
		"a failure gives way to a success":           {lastWrite{unsettled: &unsettled{foreign: 1, foreignAt: noon}}, running, unreadable, 2 * time.Minute},
		"a failure gives way longer, the more often": {lastWrite{unsettled: &unsettled{foreign: 3, foreignAt: noon}}, running, unreadable, 8 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if got := max(test.last.waitToWrite(test.stored, test.job, noon), 0); got != max(test.want, 0) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestFlappingHealthIsWrittenLessOften(t *testing.T) {
	w, now, writes := lastWrite{unsettled: &unsettled{}}, noon, 0
	for now.Before(noon.Add(10 * time.Minute)) { // the health changes each second
		if w.waitToReport(now) == 0 {
			w.noteHealth(now)
			writes++
		}
		now = now.Add(time.Second)
	}
	if writes < 40 || writes > 46 {
		t.Errorf("written %d times in ten minutes, want about four times a minute", writes)
	}
	if wait := w.waitToReport(now.Add(flapWindow)); wait != 0 {
		t.Errorf("waits %v after a minute of calm", wait)
	}
}

func TestAdopted(t *testing.T) {
	o, job := ownedJob("RUNNING")
	now := noon
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		last := o.adopted(job, now)
		if got := last.backOff(); got != want {
			t.Errorf("backs off for %v, want %v", got, want)
		}
		now = now.Add(want)
	}
	now = now.Add(time.Hour)
	last := o.adopted(job, now)
	if got := last.backOff(); got != time.Minute {
		t.Errorf("backs off for %v after an hour without another operator", got)
	}
}

// A field that the digest leaves out would never be written.
func TestDigestHasEveryField(t *testing.T) {
	kind := reflect.TypeFor[v1alpha1.DLIJobStatus]()
	for i := range kind.NumField() {
		name := kind.Field(i).Name
		t.Run(name, func(t *testing.T) {
			stored := newJob(read(answering("FAILED")))
			current := stored.DeepCopy()
			change(t, reflect.ValueOf(&current.Status).Elem().Field(i))
			differs := digestOf(stored) != digestOf(current)
			if want := name != "LastPollTime"; differs != want {
				t.Errorf("the digests differ: %v", differs)
			}
		})
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
