// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strconv"
	"strings"

	"github.com/dli-operator/dli-operator/test/testenv"
)

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
	return busy / testenv.TicksPerSecond
}
