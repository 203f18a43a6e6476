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

package lifecycle

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// The termination message of a container consists of the last lines of its log.
func TestInvalidFlagsAreLoggedLast(t *testing.T) {
	for flag, says := range map[string]string{
		"--poll-interval-min=soon": `invalid value "soon" for flag -poll-interval-min`,
		"--poll-interval-minimum":  "not defined: -poll-interval-minimum",
	} {
		out, err := exec.CommandContext(t.Context(), binary, flag).CombinedOutput()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%s exits with %v, want exit code 2", flag, err)
		}
		if !strings.Contains(string(out), says) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: want one line with %q:\n%s", flag, says, out)
		}
	}
	out, err := exec.CommandContext(t.Context(), binary, "--help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "-poll-interval-min duration") {
		t.Errorf("--help: %v\n%s", err, out)
	}
}
