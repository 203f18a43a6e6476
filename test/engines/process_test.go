// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// process is a running program.
type process struct {
	command *exec.Cmd
	output  testenv.Buffer
	ended   chan struct{}
	err     error
}

// begin starts a program with the kubeconfig of a namespace. The end of the context kills
// it.
func begin(ctx context.Context, namespace string, env []string, name string, args ...string) *process {
	p := &process{command: exec.CommandContext(ctx, name, args...), ended: make(chan struct{})}
	p.command.Env = append(append(os.Environ(), "KUBECONFIG="+kubeconfigs[namespace]), env...)
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	if p.err = p.command.Start(); p.err != nil {
		close(p.ended)
		return p
	}
	go func() { p.err = p.command.Wait(); close(p.ended) }()
	return p
}

// serve starts an engine that runs until the end of the test.
func serve(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	p := begin(t.Context(), pipelines, env, name, args...)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the log of %s ends with:\n%s", filepath.Base(name), p.end())
		}
	})
}

// run starts a program whose exit code is the verdict, and that names the DLIJob if it
// fails.
func run(t *testing.T, j job, env []string, name string, args ...string) func() verdict {
	t.Helper()
	return naming(t, j, execute(t, j, env, name, args...))
}

// naming returns the verdict of a program, and checks once that its failure names the
// DLIJob.
func naming(t *testing.T, j job, p *process) func() verdict {
	t.Helper()
	checked := false
	return func() verdict {
		v := p.verdict()
		if v != fails || checked {
			return v
		}
		checked = true
		if watched := j.watched(t); watched != nil && !isNamedIn(watched, p.output.String()) {
			t.Errorf("the failure does not name the DLIJob %s:\n%s", watched.Name, p.end())
		}
		return v
	}
}

// isNamedIn reports whether a text names a DLIJob.
func isNamedIn(watched *v1alpha1.DLIJob, text string) bool {
	return regexp.MustCompile(`(?i)dlijob.*\b` + regexp.QuoteMeta(watched.Name) + `\b`).MatchString(text)
}

// execute starts a program, and kills it at the end of the test.
func execute(t *testing.T, j job, env []string, name string, args ...string) *process {
	t.Helper()
	p := begin(t.Context(), j.namespace, env, name, args...)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s ends with:\n%s", filepath.Base(name), strings.Join(args, " "), p.end())
		}
	})
	return p
}

func (p *process) verdict() verdict {
	select {
	case <-p.ended:
		if p.err != nil {
			return fails
		}
		return passes
	default:
		return waits
	}
}

func (p *process) kill() {
	if p.command.Process != nil {
		_ = p.command.Process.Kill()
	}
	<-p.ended
}

// end returns the end of the output.
func (p *process) end() string {
	text := p.output.String()
	return text[max(0, len(text)-5000):]
}
