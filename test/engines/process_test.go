// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"regexp"
	"slices"
	"testing"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// execute starts a program with the kubeconfig of a namespace, and kills it at the end of the
// test.
func execute(t *testing.T, namespace string, env []string, name string, args ...string) *testenv.Process {
	t.Helper()
	return testenv.Start(t, kubeconfigs[namespace], "env", slices.Concat(env, []string{name}, args)...)
}

// run starts a program whose exit code is the verdict, and that names the DLIJob if it
// fails.
func run(t *testing.T, j job, env []string, name string, args ...string) func() verdict {
	t.Helper()
	return naming(t, j, execute(t, j.namespace, env, name, args...))
}

// naming returns the verdict of a program, and checks once that its failure names the
// DLIJob.
func naming(t *testing.T, j job, p *testenv.Process) func() verdict {
	t.Helper()
	decided, checked := verdictOf(p), false
	return func() verdict {
		v := decided()
		if v != fails || checked {
			return v
		}
		checked = true
		if watched := j.watched(t); watched != nil && !isNamedIn(watched, testenv.Read(t, p.Log)) {
			t.Errorf("the failure does not name the DLIJob %s:\n%s", watched.Name, p.Said())
		}
		return v
	}
}

// isNamedIn reports whether a text names a DLIJob.
func isNamedIn(watched *v1alpha1.DLIJob, text string) bool {
	return regexp.MustCompile(`(?i)dlijob.*\b` + regexp.QuoteMeta(watched.Name) + `\b`).MatchString(text)
}

// verdictOf returns the verdict of a program by its exit code.
func verdictOf(p *testenv.Process) func() verdict {
	return func() verdict {
		switch {
		case p.Alive() == nil:
			return waits
		case p.ExitCode() != 0:
			return fails
		}
		return passes
	}
}
