// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"errors"

	"golang.org/x/sync/semaphore"
)

const (
	// smallBytes is what a response may take without more ado: a job's status and a page
	// of 100 typical jobs. Most are a few KiB.
	smallBytes = 256 << 10
	// largeBytes is what the largest response takes in addition, with its schema.
	largeBytes = maxBodyBytes + chunkBytes + maxDetailBytes
	// DefaultResponseBytes is the size of a budget that is shared by all clients.
	DefaultResponseBytes = 64 << 20
)

// ErrNoBudget is the error of a request whose response did not get its share of the
// budget in time. It says nothing about the job, the endpoint or the credentials.
var ErrNoBudget = errors.New("too many responses at once")

// ResponseBudget limits the memory of all responses that are read at the same time, by
// all clients that it is given to. Half of it is for the first 256 KiB of each response,
// so that large responses do not keep others waiting; the other half is for what is
// beyond.
type ResponseBudget struct{ small, large *semaphore.Weighted }

// NewResponseBudget returns a budget of so many bytes, but enough for one response of
// the largest size.
func NewResponseBudget(bytes int64) *ResponseBudget {
	return &ResponseBudget{
		small: semaphore.NewWeighted(max(bytes/2/smallBytes, 1)),
		large: semaphore.NewWeighted(max(bytes/2/largeBytes, 1)),
	}
}

// share is what one response has of a budget.
type share struct {
	budget                 *ResponseBudget
	holdsSmall, holdsLarge bool
}

// takeSmall waits for smallBytes. Its error is ErrNoBudget.
func (s *share) takeSmall(ctx context.Context) error {
	s.holdsSmall = s.budget.small.Acquire(ctx, 1) == nil
	if !s.holdsSmall {
		return ErrNoBudget
	}
	return nil
}

// takeLarge waits for largeBytes in addition. Its error is ErrNoBudget.
func (s *share) takeLarge(ctx context.Context) error {
	s.holdsLarge = s.budget.large.Acquire(ctx, 1) == nil
	if !s.holdsLarge {
		return ErrNoBudget
	}
	return nil
}

func (s *share) giveBack() {
	if s.holdsSmall {
		s.budget.small.Release(1)
	}
	if s.holdsLarge {
		s.budget.large.Release(1)
	}
}
