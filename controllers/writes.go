// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

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
