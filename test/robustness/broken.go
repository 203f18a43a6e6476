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

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// panicOnResponse makes the operator panic while it handles a response about some jobs. It
// is applied to all operators, also to those that are not broken.
var panicOnResponse = edit{"main.go", "func main() {", "func main() {"}

// broken is an operator that is broken on purpose, with the faults that expose the bug. The
// checks must detect it, or they prove nothing.
type broken struct {
	name   string
	edits  []edit
	faults []string
}

var brokenOperators = []broken{}

// runBroken runs each broken operator, and fails unless it finds a violation.
func runBroken(ctx context.Context, o options, out io.Writer) error {
	var errs []error
	for _, b := range brokenOperators {
		if len(o.operators) > 0 && !slices.Contains(o.operators, b.name) {
			continue
		}
		say("an operator with %s", b.name)
		o.faults, o.untilViolation, o.duration, o.active = b.faults, true, 90*time.Second, 40
		found, err := runOnce(ctx, o, b.edits...)
		if err == nil && len(found.violations) == 0 {
			err = fmt.Errorf("no violation was found in %v", found.took)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
			continue
		}
		fmt.Fprintf(out, "| %s | %v | %s |\n", b.name, found.took.Round(time.Second), found.violations[0])
	}
	return errors.Join(errs...)
}
