// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package osspecific has what the module of Argo Workflows lacks for Linux.
// hack/build.sh adds it to a copy of the module.
package osspecific

import (
	"os"
	"syscall"
)

// Term asks a process to end.
var Term = syscall.SIGTERM

// CanIgnoreSignal reports whether a signal is not for the process that is run.
func CanIgnoreSignal(s os.Signal) bool { return s == syscall.SIGCHLD || s == syscall.SIGURG }

// Kill sends a signal to a process group.
func Kill(pid int, s syscall.Signal) error { return syscall.Kill(-pid, s) }

// Setpgid has a process be started in a group of its own.
func Setpgid(a *syscall.SysProcAttr) { a.Setpgid = true }

// Wait waits for the end of a process.
func Wait(process *os.Process) error {
	_, err := process.Wait()
	return err
}
