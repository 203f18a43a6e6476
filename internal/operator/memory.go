// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"io/fs"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// gcPercent is how much the heap may grow before the next collection: most of it is
	// the long-lived cache, so Go's default of 100 would nearly double the operator's
	// memory.
	gcPercent = 50
	// memoryShare is the share of the container's limit that Go may use, in percent: the
	// rest is for what it does not count, such as the program itself.
	memoryShare = 90
)

// TuneMemory makes Go collect garbage in time, before the container would be killed for
// its memory. The environment variables GOGC and GOMEMLIMIT win. root is the root of the
// file system.
func TuneMemory(root fs.FS, getenv func(name string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if limit, ok := containerLimit(root); ok && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 100 * memoryShare)
	}
}

// containerLimit returns the memory limit of this container in bytes; false if there is
// none. Version 1 of cgroups shows none as a number close to the greatest one.
func containerLimit(root fs.FS) (limit int64, ok bool) {
	for _, file := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		content, err := fs.ReadFile(root, file)
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
		return limit, err == nil && limit > 0 && limit < math.MaxInt64/2
	}
	return 0, false
}
