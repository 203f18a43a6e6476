// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package operator puts the operator together and runs it: main.go and the suites of
// tests both start it with Run.
//
// Its files, in reading order:
//
//   - options.go: what can be configured, and the defaults
//   - manager.go: Run, which starts everything, and ends when nothing can be done anymore
//   - permissions.go: what the operator may read, asked at startup
//   - cache.go: which objects are cached, what is kept of each, and whether all are
//   - logging.go: the logger, and how many errors it logs
//   - memory.go: limits for the garbage collector
//   - lease.go: the leader election, and until when this process leads
package operator
