// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"encoding/json"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// lastWrite is what this process knows of the status of an object in addition to the
// object: what it has written, to tell its own writes from those of others. It is lost
// on a restart, which does no harm: the first status that a process sees is its own.
type lastWrite struct {
	uid types.UID
	// firstSeen is when this process first saw the object, and writtenAt when it last
	// wrote its status.
	firstSeen, writtenAt time.Time
	// version is the resource version of the last status that is this process's own, and
	// entry the time of that write in managedFields.
	version string
	entry   time.Time
	// own are the digests of that status, and of writes since then whose response was
	// lost: each of them may be stored, too.
	own []uint64
	*unsettled
}

// unsettled is what is known of an object while something is unusual about it.
type unsettled struct {
	// previous is the status before the first write whose response was lost: its Events are
	// due.
	previous *v1alpha1.DLIJobStatus
	// replaced is a status with an outcome that something else has overwritten; nil if
	// there is none.
	replaced *v1alpha1.DLIJobStatus
	// disputedAt is when a status that the operator did not write was found, until a
	// poll has shown what is true.
	disputedAt time.Time
	// foreign counts the writes of other operators, and foreignAt is when the last one
	// was found.
	foreign   int
	foreignAt time.Time
	// calmAt is when the changes of a connection's health will have been rare enough, if
	// there are no more.
	calmAt time.Time
	// listsPaused is why a connection does not list; the last Event said so.
	listsPaused string
}

// settled is shared by all objects about which nothing is unusual, which are most.
var settled = &unsettled{}

// maxOwn limits the digests that are remembered. Writes in doubt are few: each needs a
// connection that broke within a minute.
const maxOwn = 16

// isOwn reports whether this process has stored or adopted the status of an object.
func (w *lastWrite) isOwn(object client.Object) bool {
	return object.GetResourceVersion() == w.version || slices.Contains(w.own, digestOf(object))
}

// isBehind reports whether an object is older than its last status of this process.
func (w *lastWrite) isBehind(object client.Object) bool { return IsOlder(object, w.version) }

// accept makes the status of an object, which has a digest, this process's own.
func (w *lastWrite) accept(object client.Object, digest uint64) {
	w.version, w.own = object.GetResourceVersion(), []uint64{digest}
	if entry, _ := statusEntries(object.GetManagedFields()); !entry.IsZero() { // the cache drops managedFields
		w.entry = entry
	}
	w.previous, w.replaced, w.disputedAt = nil, nil, time.Time{}
}

// IsOlder reports whether an object is older than a resource version.
func IsOlder(object client.Object, version string) bool {
	order, err := resourceversion.CompareResourceVersion(object.GetResourceVersion(), version)
	return err == nil && order < 0
}

// How long an operator leaves a status alone that another one writes, too: at least a
// minute, twice as long after each further write, and at most an hour. Both do, so the
// object is written about once a minute at most. A success does not wait for as long to
// replace a failure, and a failure waits twice as long to replace a success: the
// operator that cannot read the job gives way.
const (
	backOffMin = time.Minute
	backOffMax = time.Hour
)

// backOff is how long this process leaves the object alone after another operator's
// write; 0 if there was none.
func (w *lastWrite) backOff() time.Duration {
	if w.foreign == 0 {
		return 0
	}
	return min(backOffMin<<min(w.foreign-1, 6), backOffMax)
}

// failuresFrom is when this process may report failures again after another operator's
// write; the zero time if there was none.
func (w *lastWrite) failuresFrom() time.Time { return w.foreignAt.Add(2 * w.backOff()) }

// waitToWrite is how long to wait before a status is replaced. An outcome never waits.
func (w *lastWrite) waitToWrite(stored, job *v1alpha1.DLIJob, now time.Time) time.Duration {
	isSynced, wasSynced := hasSynced(job), hasSynced(stored)
	switch {
	case w.foreign == 0, job.IsCompleted() && !stored.IsCompleted():
		return 0
	case isSynced && !wasSynced:
		return w.writtenAt.Add(backOffMin).Sub(now)
	case wasSynced && !isSynced:
		return w.failuresFrom().Sub(now)
	}
	return w.foreignAt.Add(w.backOff()).Sub(now)
}

// A connection whose health changes more than flapChanges times within flapWindow is
// written only that often, for as long as it does: an endpoint that answers for one of
// many jobs opens and closes the circuit each second.
const (
	flapChanges = 4
	flapWindow  = time.Minute
)

// noteHealth records that another health of a connection was written.
func (w *lastWrite) noteHealth(now time.Time) {
	if w.calmAt.Before(now) {
		w.calmAt = now
	}
	w.calmAt = w.calmAt.Add(flapWindow / flapChanges)
}

// waitToReport is how long to wait before another health of a connection is written.
func (w *lastWrite) waitToReport(now time.Time) time.Duration {
	return max(w.foreignAt.Add(w.backOff()).Sub(now), w.calmAt.Add(-flapWindow).Sub(now), 0)
}

func hasSynced(job *v1alpha1.DLIJob) bool {
	return meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.SyncedCondition)
}

// ownership holds the last write of every object of one kind. Event handlers and workers
// share it.
type ownership struct {
	mu    sync.Mutex
	byKey map[types.NamespacedName]*lastWrite
}

// hasForgedOutcome reports whether something else has written the outcome of a job: an operator
// writes the condition Completed with it.
func hasForgedOutcome(object client.Object) bool {
	job, isJob := object.(*v1alpha1.DLIJob)
	return isJob && job.IsCompleted() && recordedAt(job).IsZero()
}

// lookup returns a copy of what is known of an object. The status of one that is new to
// this process counts as its own, unless it cannot be an operator's.
func (o *ownership) lookup(object client.Object, now time.Time) lastWrite {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := client.ObjectKeyFromObject(object)
	write := o.byKey[key]
	if write == nil || write.uid != object.GetUID() {
		if o.byKey == nil {
			o.byKey = map[types.NamespacedName]*lastWrite{}
		}
		write = &lastWrite{uid: object.GetUID(), firstSeen: now, unsettled: settled}
		if !hasForgedOutcome(object) {
			write.change(func(w *lastWrite) { w.accept(object, digestOf(object)) })
		}
		o.byKey[key] = write
	}
	return *write
}

// update changes what is known of an object, if anything is.
func (o *ownership) update(object client.Object, change func(*lastWrite)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if write := o.byKey[client.ObjectKeyFromObject(object)]; write != nil && write.uid == object.GetUID() {
		write.change(change)
	}
}

// change changes what is known. unsettled is replaced, so copies stay as they are.
func (w *lastWrite) change(change func(*lastWrite)) {
	w.unsettled = new(*w.unsettled)
	change(w)
	if *w.unsettled == *settled {
		w.unsettled = settled
	}
}

// forget drops what is known of a deleted object.
func (o *ownership) forget(key types.NamespacedName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byKey, key)
}

// changed handles an update of a DLIJob, and reports whether something else may have
// written its status. It keeps an outcome that was replaced.
func (o *ownership) changed(before, after *v1alpha1.DLIJob) (foreign bool) {
	o.update(after, func(w *lastWrite) {
		foreign = !w.isOwn(after)
		if foreign && before.IsCompleted() && w.isOwn(before) {
			w.replaced = before.Status.DeepCopy()
		}
	})
	return foreign
}

// isForeign reports whether something else may have written the status of a DLIJob, and
// that has not been settled yet; of one that is new to this process, whether it must have.
func (o *ownership) isForeign(job *v1alpha1.DLIJob) (foreign bool) {
	foreign = hasForgedOutcome(job)
	o.update(job, func(w *lastWrite) { foreign = !w.isOwn(job) || !w.disputedAt.IsZero() })
	return foreign
}

// adopted records that another operator has written the status of an object.
func (o *ownership) adopted(object client.Object, now time.Time) (adopted lastWrite) {
	o.update(object, func(w *lastWrite) {
		if now.Sub(w.foreignAt) > 4*w.backOff() {
			w.foreign = 0 // the other one is gone
		}
		w.foreign, w.foreignAt = w.foreign+1, now
		w.accept(object, digestOf(object))
		adopted = *w
	})
	return adopted
}

// statusEntries returns when the operator last wrote the status of an object, and when
// anything else did, according to its managedFields; the zero time for never. Removing a
// field leaves no entry of its own.
func statusEntries(fields []metav1.ManagedFieldsEntry) (operator, others time.Time) {
	for _, f := range fields {
		if f.Subresource != "status" || f.Time == nil {
			continue
		}
		latest := &others
		if f.Manager == string(fieldOwner) {
			latest = &operator
		}
		if f.Time.After(*latest) {
			*latest = f.Time.Time
		}
	}
	return operator, others
}

// isByOperator reports whether an operator was the last to write the status of an object,
// after this process's own last write.
func (w *lastWrite) isByOperator(fields []metav1.ManagedFieldsEntry) bool {
	operator, others := statusEntries(fields)
	return operator.After(w.entry) && !others.After(operator)
}

var digestSeed = maphash.MakeSeed()

// statusOf returns a copy of the status of an object, as a pointer.
func statusOf(object client.Object) any {
	switch object := object.(type) {
	case *v1alpha1.DLIJob:
		return new(object.Status)
	case *v1alpha1.DLIConnection:
		return new(object.Status)
	}
	return nil
}

// digestOf is the digest of an object's status, without what is no reason to write and no
// evidence of anything: when the job was last polled, and the rejected credentials of a
// connection, which every operator that uses them adds to.
func digestOf(object client.Object) uint64 {
	status := statusOf(object)
	switch status := status.(type) {
	case *v1alpha1.DLIJobStatus:
		status.LastPollTime = nil
	case *v1alpha1.DLIConnectionStatus:
		status.RejectedCredentials = nil
	}
	data, _ := json.Marshal(status) // a status can always be encoded
	return maphash.Bytes(digestSeed, data)
}
