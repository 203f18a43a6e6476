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

// Package operator puts the operator together and runs it: main.go and the suites of
// tests both start it with Run.
//
// Its files, in reading order:
//
//   - options.go: what can be configured, and the defaults
//   - manager.go: Run, which starts everything, and ends when nothing can be done anymore
//   - permissions.go: what the operator may read, asked at startup
//   - cache.go: which objects are cached, and waiting until they are
//   - transform.go: what is kept of each cached object
//   - logging.go: how many errors are logged
//   - memory.go: limits for the garbage collector
//   - lease.go: the leader election, and until when this process leads
package operator
