// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// allFaults are the faults of the files faults_*.go.
func allFaults() []fault {
	return slices.Concat(operatorFaults(), apiFaults(), dliFaults(), objectFaults())
}

// chooseFaults returns the faults with those names; all if empty.
func chooseFaults(names []string) ([]fault, error) {
	all := allFaults()
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

// plan yields the faults of each round: each fault alone, or in pairs, then several
// together, endlessly.
func plan(random *rand.Rand, of []fault, pairs bool) func() []fault {
	var queue []fault
	for _, n := range random.Perm(len(of)) {
		if !of[n].last {
			queue = append(queue, of[n])
		}
	}
	mixable := slices.Clone(queue)
	return func() []fault {
		if len(queue) == 0 {
			return mix(random, mixable, 2+random.IntN(2))
		}
		together := []fault{queue[0]}
		queue = queue[1:]
		if pairs {
			if at := slices.IndexFunc(queue, func(f fault) bool { return f.group != together[0].group }); at >= 0 {
				together = append(together, queue[at])
				queue = slices.Delete(queue, at, at+1)
			}
		}
		return together
	}
}

// mix takes up to n faults of different groups.
func mix(random *rand.Rand, of []fault, n int) (together []fault) {
	for _, at := range random.Perm(len(of)) {
		f := of[at]
		if len(together) < n && !slices.ContainsFunc(together, func(other fault) bool { return other.group == f.group }) {
			together = append(together, f)
		}
	}
	return together
}
