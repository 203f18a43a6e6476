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
