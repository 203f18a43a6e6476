// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestWriteSlots(t *testing.T) {
	tooMany := apierrors.NewTooManyRequests("later", 1)
	conflict := apierrors.NewConflict(schema.GroupResource{}, "a", errors.New("changed"))
	for name, test := range map[string]struct {
		from, inUse int // slots in use when a write ends
		took        time.Duration
		err         error
		want        int
	}{
		"a fast write":                         {10, 10, slowWrite - 1, nil, 10},
		"a slow write, and others could begin": {10, 9, slowWrite, nil, 10},
		"a slow write, and no other can begin": {10, 10, slowWrite, nil, 11},
		"a slow write at the bound":            {40, 40, slowWrite, nil, 40},
		"a write that is refused":              {40, 40, slowWrite, tooMany, 39},
		"a write without a response":           {11, 1, time.Minute, errors.New("EOF"), 10},
		"a refused write at the usual limit":   {10, 10, slowWrite, tooMany, 10},
		"a conflict":                           {11, 11, slowWrite, conflict, 11},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWriteSlots(10)
			for s.limit < test.from {
				s.limit++
				s.free <- struct{}{}
			}
			for range test.inUse {
				s.acquire()
			}
			s.release(test.took, test.err)
			if free := test.want - test.inUse + 1; s.limit != test.want || len(s.free) != free {
				t.Errorf("%d slots, %d free; want %d, %d", s.limit, len(s.free), test.want, free)
			}
		})
	}
}
