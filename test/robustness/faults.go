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
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// fault is a fault that lasts for a time between from and to.
type fault struct {
	name string
	// group is the resource that it needs exclusively: two faults of a group are never
	// injected together.
	group    string
	from, to time.Duration
	// last is set if it is injected once, after all others, and alone.
	last   bool
	inject func(ctx context.Context, i injection) error
}

// injection is one injection of a fault.
type injection struct {
	*world

	random *rand.Rand
	lasts  time.Duration
	// alone is set if no other fault is injected at the same time.
	alone bool
}

// The groups.
const (
	onOperators = "operators"
	onAPI       = "API server"
	onDLI       = "DLI"
	onObjects   = "objects"
)

func faults() []fault {
	return slices.Concat(operatorFaults(), apiFaults(), dliFaults(), objectFaults())
}

// chosen returns the faults with those names; all if empty.
func chosen(names []string) ([]fault, error) {
	all := faults()
	if len(names) == 0 {
		return all, nil
	}
	var some []fault
	for _, name := range names {
		at := slices.IndexFunc(all, func(f fault) bool { return f.name == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no fault %q", name)
		}
		some = append(some, all[at])
	}
	return some, nil
}

// during keeps up a state for the duration of the injection.
func (i injection) during(ctx context.Context, begin, end func()) error {
	begin()
	defer end()
	return wait(ctx, i.lasts)
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
