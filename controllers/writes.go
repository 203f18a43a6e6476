// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/events"
	"github.com/dli-operator/dli-operator/internal/metrics"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// fieldOwner is the operator's name in managedFields, where the API server records
// who wrote each field.
const fieldOwner = client.FieldOwner("dli-operator")

// statusWriter is what the controllers have in common that write a status. Each is the
// only writer of its kind.
type statusWriter struct {
	client.Client
	Options
	Connections *connection.Registry
	Poller      *poller.Poller
	Recorder    *events.Recorder
	Clock       clock.PassiveClock
	Metrics     *metrics.Recorder

	ownership ownership
}

// patch replaces the status of an object if the object has not changed since it was read: an
// operator that has lost its lease without knowing it must not overwrite an outcome. The
// status is known as this process's own before it is sent: the response may be lost, or
// the watch be faster.
func (w *statusWriter) patch(ctx context.Context, object client.Object) error {
	digest := digestOf(object)
	w.ownership.update(object, func(last *lastWrite) {
		if len(last.own) < maxOwn && !slices.Contains(last.own, digest) {
			last.own = append(last.own, digest)
		}
	})
	err := w.send(ctx, object)
	if err == nil {
		w.ownership.update(object, func(last *lastWrite) {
			last.writtenAt = w.Clock.Now()
			last.accept(object, digest)
		})
	}
	return err
}

// send sends the status of an object, which becomes the stored version. Only its metadata is
// read back: the status is the one that was sent.
func (w *statusWriter) send(ctx context.Context, object client.Object) error {
	kind, err := w.GroupVersionKindFor(object)
	if err != nil {
		return err
	}
	status, err := json.Marshal(statusOf(object))
	if err != nil {
		return err
	}
	// Another resourceVersion than the stored one is a conflict.
	patch := fmt.Appendf(nil, `[{"op":"replace","path":"/metadata/resourceVersion","value":%q},{"op":"add","path":"/status","value":%s}]`,
		object.GetResourceVersion(), status)
	response := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: object.GetNamespace(), Name: object.GetName()}}
	response.SetGroupVersionKind(kind)
	if err := w.Status().Patch(ctx, response, client.RawPatch(types.JSONPatchType, patch), fieldOwner); err != nil {
		return err
	}
	object.SetResourceVersion(response.ResourceVersion)
	object.SetManagedFields(response.ManagedFields)
	return nil
}

const (
	// slowWrite is how long a write takes when latency is the limit: the API server could do
	// more at a time.
	slowWrite = 500 * time.Millisecond
	// maxGrowth is how many times as many writes may then be in flight as usual.
	maxGrowth = 4
)

// writeSlots limits the writes in flight. The limit grows while all slots are in use for
// slow writes, and shrinks to what it was when the API server refuses one or is down.
type writeSlots struct {
	free chan struct{}

	mu          sync.Mutex
	limit, base int
}

func newWriteSlots(base int) *writeSlots {
	s := &writeSlots{free: make(chan struct{}, maxGrowth*base), limit: base, base: base}
	for range base {
		s.free <- struct{}{}
	}
	return s
}

func (s *writeSlots) acquire() { <-s.free }

// release ends a write that took some time.
func (s *writeSlots) release(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	isRefused := err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && !apierrors.IsInvalid(err)
	switch {
	case isRefused && s.limit > s.base:
		s.limit--
		return
	case err == nil && took >= slowWrite && len(s.free) == 0 && s.limit < cap(s.free):
		s.limit++
		s.free <- struct{}{}
	}
	s.free <- struct{}{}
}
