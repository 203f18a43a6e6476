// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ticksPerSecond is the unit of times in /proc on every Linux.
const ticksPerSecond = 100

// cpuOf returns the CPU seconds that a process has used.
func cpuOf(pid int) float64 {
	fields := statOf(pid)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond
}

// statOf returns the fields of /proc/PID/stat after the command's name.
func statOf(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// rssOf returns the resident memory of a process in bytes, and peakOf its high water.
func rssOf(pid int) float64  { return memoryOf(pid, "VmRSS:") }
func peakOf(pid int) float64 { return memoryOf(pid, "VmHWM:") }

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

// machineCPU returns the CPU seconds that everything on this machine has used.
func machineCPU() float64 {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	busy := 0.0
	for i, field := range strings.Fields(line)[1:] {
		// The fourth is idle, the fifth waiting for disks; guests are included in the
		// first two.
		if n, err := strconv.ParseFloat(field, 64); err == nil && i != 3 && i != 4 && i < 8 {
			busy += n
		}
	}
	return busy / ticksPerSecond
}
