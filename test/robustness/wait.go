// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// say prints progress.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// wait waits for a time, or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// until waits for a condition; false if it is not met within limit.
func until(ctx context.Context, limit time.Duration, is func() bool) bool {
	for end := time.Now().Add(limit); !is(); {
		if wait(ctx, 200*time.Millisecond) != nil || time.Now().After(end) {
			return is()
		}
	}
	return true
}

// insist retries an operation on the API server until it succeeds, because other faults may
// interfere.
func insist(ctx context.Context, what string, do func() error) error {
	var err error
	if !until(ctx, 90*time.Second, func() bool { err = do(); return err == nil }) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
