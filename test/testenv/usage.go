// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// TicksPerSecond is the unit of times in /proc on every Linux.
const TicksPerSecond = 100

// CPU returns the CPU seconds that a process has used; 0 if it has ended.
func CPU(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name of the command, in brackets, may contain blanks.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / TicksPerSecond
}

// Memory returns the resident memory of a process in bytes, and PeakMemory its high
// water; 0 if it has ended.
func Memory(pid int) float64 { return memoryOf(pid, "VmRSS:") }

// PeakMemory is the high water of Memory.
func PeakMemory(pid int) float64 { return memoryOf(pid, "VmHWM:") }

func memoryOf(pid int, line string) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for text := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(text, line); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib * 1024
		}
	}
	return 0
}
