// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a running program. Its methods are safe for concurrent use.
type Process struct {
	// Log is the path of the file with its output.
	Log string

	cmd   *exec.Cmd
	ended chan struct{}
}

// StartProcess starts a program with additional environment variables, and appends its
// output to the file log.
func StartProcess(log string, env []string, program string, args ...string) (*Process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p := &Process{Log: log, cmd: exec.Command(program, args...), ended: make(chan struct{})} //nolint:noctx // it lives until Stop
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = file, file, append(os.Environ(), env...)
	// Ctrl-C must only reach the program that started it, which then stops it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); close(p.ended) }()
	return p, nil
}

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended returns a channel that is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Alive returns an error, with the end of the log, if the process has ended.
func (p *Process) Alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s has ended: %s", p.cmd.Path, p.Said())
	default:
		return nil
	}
}

// ExitCode waits for the process to end and returns its exit code, -1 after a signal.
func (p *Process) ExitCode() int { <-p.ended; return p.cmd.ProcessState.ExitCode() }

// Said returns the end of the log, at most 3000 bytes.
func (p *Process) Said() string {
	text, _ := os.ReadFile(p.Log)
	return string(text[max(0, len(text)-3000):])
}

// Signal sends a signal, unless the process has ended.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Stop terminates the process, kills it if it has not ended after a time, and waits for it.
func (p *Process) Stop(after time.Duration) {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(after):
		p.Kill()
	}
}

// Kill kills the process and waits for it.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.ended
}

// Operator returns the path of the operator.
func Operator(ctx context.Context) (string, error) {
	dir, err := assets(ctx, "operator")
	return filepath.Join(dir, "manager"), err
}

// assets returns the directory of what hack/build.sh builds under a name, or of the one that
// the variable NAME_ASSETS names, like make test does for the operator.
func assets(ctx context.Context, name string) (string, error) {
	// go test keeps a result only while the variables that a test reads are the same.
	if dir := os.Getenv(strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_ASSETS"); dir != "" {
		return dir, nil
	}
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	build := exec.CommandContext(ctx, filepath.Join(filepath.Dir(string(module)), "hack", "build.sh"), name)
	build.Stderr = os.Stderr // the first time it takes minutes
	dir, err := build.Output()
	if err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	return strings.TrimSpace(string(dir)), nil
}

// BuildOperator builds the operator like for its image, with additional flags for go
// build.
func BuildOperator(ctx context.Context, output string, flags ...string) error {
	args := append([]string{"build", "-trimpath", "-o", output}, flags...)
	build := exec.CommandContext(ctx, "go", append(args, "github.com/dli-operator/dli-operator")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the operator: %w\n%s", err, out)
	}
	return nil
}

// FreeAddress returns a host and port on loopback without a listener.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed immediately
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
