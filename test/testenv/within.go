// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import "time"

// Within waits for a condition, and reports whether it was met within the limit.
func Within(limit time.Duration, is func() bool) bool {
	return WithinEvery(20*time.Millisecond, limit, is)
}

// WithinEvery is Within with another interval between checks.
func WithinEvery(interval, limit time.Duration, is func() bool) bool {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	timeout := time.After(limit)
	for {
		if is() {
			return true
		}
		select {
		case <-tick.C:
		case <-timeout:
			return is()
		}
	}
}
