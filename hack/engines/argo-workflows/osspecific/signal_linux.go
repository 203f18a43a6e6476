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
