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
	"encoding/json"
	"hash/maphash"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// lastWrite is what this process knows about a DLIJob in addition to the object: what
// it has written, to distinguish its own writes from those of others. It is lost
// on a restart, which does no harm.
type lastWrite struct {
	uid types.UID
	// firstSeen is when this process first saw the object.
	firstSeen time.Time
	// version is the resource version of the last write, "" for none; digest is the
	// digest of the status that was written, or of the one that this process saw
	// first.
	version string
	digest  uint64
	// replaced is the status that something else has overwritten; nil if it was not
	// seen.
	replaced *v1alpha1.DLIJobStatus
	// restoredAt is when the status was last restored.
	restoredAt time.Time
	// recorded is when the outcome was recorded, by the monotonic clock.
	recorded time.Time
}

// ownership holds what is known of every job. The event handler and the workers share
// it.
type ownership struct {
	mu    sync.Mutex
	byKey map[types.NamespacedName]*lastWrite
}

// of returns a copy of what is known of a job at now, and creates it if necessary.
func (m *ownership) of(job *v1alpha1.DLIJob, now time.Time) lastWrite {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := client.ObjectKeyFromObject(job)
	known := m.byKey[key]
	if known == nil || known.uid != job.UID {
		if m.byKey == nil {
			m.byKey = map[types.NamespacedName]*lastWrite{}
		}
		known = &lastWrite{uid: job.UID, firstSeen: now, digest: digestOf(&job.Status)}
		m.byKey[key] = known
	}
	switch at := completedAt(job); {
	case at.IsZero():
		known.recorded = time.Time{}
	case known.recorded.IsZero():
		// From now on, the monotonic clock measures how long ago that was.
		known.recorded = now.Add(-max(now.Sub(at), 0))
	}
	return *known
}

// forget drops what is known of a deleted job.
func (m *ownership) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byKey, key)
}

// stored records that an object has the intended status, whether written by this
// process or found.
func (m *ownership) stored(job *v1alpha1.DLIJob, version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.byKey[client.ObjectKeyFromObject(job)]; known != nil && known.uid == job.UID {
		known.version, known.digest, known.replaced = version, digestOf(&job.Status), nil
	}
}

// restored records that a status was restored at now.
func (m *ownership) restored(job *v1alpha1.DLIJob, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.byKey[client.ObjectKeyFromObject(job)]; known != nil {
		known.restoredAt = now
	}
}

// noteReset records that the API server itself has gone back to an older version.
func (m *ownership) noteReset(job *v1alpha1.DLIJob) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.byKey[client.ObjectKeyFromObject(job)]; known != nil {
		known.version = job.ResourceVersion
	}
}

// changed handles an update of an object, and reports whether something else may
// have changed its status. It keeps the status that was replaced.
func (m *ownership) changed(before, after *v1alpha1.DLIJob) bool {
	is := digestOf(&after.Status)
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.byKey[client.ObjectKeyFromObject(after)]
	if known == nil || known.uid != after.UID || known.digest == is {
		return false
	}
	// The event of this process's own write can arrive before the write returns.
	// Then nothing was replaced, which the reconcile finds out.
	if digestOf(&before.Status) == known.digest {
		known.replaced = before.Status.DeepCopy()
	}
	return true
}

// isBehind reports whether an object is older than this process's last write of
// it.
func (m lastWrite) isBehind(job *v1alpha1.DLIJob) bool {
	if m.version == "" {
		return false
	}
	return isOlder(job, m.version)
}

// isOlder reports whether an object is older than a resource version.
func isOlder(job *v1alpha1.DLIJob, version string) bool {
	order, err := resourceversion.CompareResourceVersion(job.ResourceVersion, version)
	return err == nil && order < 0
}

// matches reports whether an object holds the status that this process knows.
func (m lastWrite) matches(job *v1alpha1.DLIJob) bool { return m.digest == digestOf(&job.Status) }

var digestSeed = maphash.MakeSeed()

func digestOf(status *v1alpha1.DLIJobStatus) uint64 {
	data, _ := json.Marshal(status) // a status can always be encoded
	return maphash.Bytes(digestSeed, data)
}
