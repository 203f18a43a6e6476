// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// The termination message of a container consists of the last lines of its log.
func TestInvalidFlagsAreLoggedLast(t *testing.T) {
	for flag, says := range map[string]string{
		"--poll-interval-min=soon": `invalid value "soon" for flag -poll-interval-min`,
		"--poll-interval-minimum":  "not defined: -poll-interval-minimum",
	} {
		out, err := exec.CommandContext(t.Context(), testenv.Binary(t), flag).CombinedOutput()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%s exits with %v, want exit code 2", flag, err)
		}
		if !strings.Contains(string(out), says) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: want one line with %q:\n%s", flag, says, out)
		}
	}
	out, err := exec.CommandContext(t.Context(), testenv.Binary(t), "--help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "-poll-interval-min duration") {
		t.Errorf("--help: %v\n%s", err, out)
	}
}
