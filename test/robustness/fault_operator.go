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
	"syscall"
	"time"
)

// operatorFaults are the faults of the operators themselves.
func operatorFaults() []fault {
	return []fault{
		{name: "leader-killed", group: onOperators, inject: func(ctx context.Context, i injection) error {
			leader, err := i.awaitLeader(ctx)
			if err != nil {
				return err
			}
			leader.kill()
			return nil
		}},
		{name: "both-killed", group: onOperators, inject: func(_ context.Context, i injection) error {
			for _, r := range i.replicas {
				r.kill()
			}
			return nil
		}},
		{name: "leader-terminated", group: onOperators, inject: func(ctx context.Context, i injection) error {
			leader, err := i.awaitLeader(ctx)
			if err != nil {
				return err
			}
			<-leader.signal(syscall.SIGTERM)
			return nil
		}},
		{name: "leader-frozen", group: onOperators, from: seconds(18), to: seconds(25), inject: frozen},
		{name: "stale-writer", group: onOperators, from: seconds(23), to: seconds(26), inject: staleWriter},
		{name: "crash-loop", group: onOperators, from: seconds(45), to: seconds(65), inject: crashLoop},
	}
}

// frozen stops the leader for longer than its lease, and then resumes it.
func frozen(ctx context.Context, i injection) error {
	leader, err := i.awaitLeader(ctx)
	if err != nil {
		return err
	}
	return i.during(ctx, func() { leader.signal(syscall.SIGSTOP) }, func() { leader.signal(syscall.SIGCONT) })
}

// staleWriter freezes the leader with writes in flight, which reach the API server
// after another leader has written the same objects.
func staleWriter(ctx context.Context, i injection) error {
	leader, err := i.awaitLeader(ctx)
	if err != nil {
		return err
	}
	leader.proxy.Delay(21*time.Second, "dlijobs/status")
	defer leader.proxy.Delay(0, "dlijobs/status")
	if err := wait(ctx, 2500*time.Millisecond); err != nil {
		return err
	}
	return i.during(ctx, func() { leader.signal(syscall.SIGSTOP) }, func() { leader.signal(syscall.SIGCONT) })
}

// crashLoop kills both every 20 seconds, or one of them.
func crashLoop(ctx context.Context, i injection) error {
	end := time.Now().Add(i.lasts)
	for time.Now().Before(end) {
		switch n := i.random.IntN(3); n {
		case 2:
			i.replicas[0].kill()
			i.replicas[1].kill()
		default:
			i.replicas[n].kill()
		}
		if err := wait(ctx, min(20*time.Second, time.Until(end))); err != nil {
			return err
		}
	}
	return nil
}
