// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// operatorFaults are the faults of the operators themselves.
func operatorFaults() []fault {
	return []fault{
		{name: "leader-killed", group: onOperators, inject: onLeader(func(_ context.Context, leader *operator, _ injection) error {
			leader.kill()
			return nil
		})},
		{name: "both-killed", group: onOperators, inject: func(_ context.Context, i injection) error {
			i.proxies((*operator).kill)
			return nil
		}},
		{name: "leader-terminated", group: onOperators, inject: onLeader(func(_ context.Context, leader *operator, _ injection) error {
			<-leader.signal(syscall.SIGTERM)
			return nil
		})},
		{name: "leader-frozen", group: onOperators, from: seconds(18), to: seconds(25), inject: onLeader(frozen)},
		{name: "stale-writer", group: onOperators, from: seconds(23), to: seconds(26), inject: onLeader(staleWriter)},
		{name: "crash-loop", group: onOperators, from: seconds(45), to: seconds(65), inject: crashLoop},
		{name: "second-operator-same-connection", group: onOperators, from: seconds(60), to: seconds(70), inject: sameConnection},
		{name: "second-operator-same-jobs", group: onOperators, from: seconds(60), to: seconds(70), inject: sameJobs},
	}
}

// frozen stops the leader for longer than its lease, and then resumes it.
func frozen(ctx context.Context, leader *operator, i injection) error {
	return i.during(ctx, func() { leader.signal(syscall.SIGSTOP) }, func() { leader.signal(syscall.SIGCONT) })
}

// staleWriter freezes the leader with writes in flight, which reach the API server
// after another leader has written the same objects.
func staleWriter(ctx context.Context, leader *operator, i injection) error {
	leader.proxy.Delay(21*time.Second, "dlijobs/status")
	defer leader.proxy.Delay(0, "dlijobs/status")
	return errors.Join(wait(ctx, 2500*time.Millisecond), frozen(ctx, leader, i))
}

// crashLoop kills both every 20 seconds, or one of them.
func crashLoop(ctx context.Context, i injection) error {
	end := time.Now().Add(i.lasts)
	for time.Now().Before(end) {
		switch n := i.random.IntN(3); n {
		case 2:
			i.proxies((*operator).kill)
		default:
			i.replicas[n].kill()
		}
		if err := wait(ctx, min(20*time.Second, time.Until(end))); err != nil {
			return err
		}
	}
	return nil
}

// sameConnection runs an operator with other jobs of a team's connection, which it cannot
// reach.
func sameConnection(ctx context.Context, i injection) error {
	t := i.team()
	for n := range 5 {
		foreign := anyType(i.random, fmt.Sprintf("foreign-%d-%d", time.Now().UnixNano(), n)).Running(time.Hour)
		i.dli.sim.SetJob(foreign)
		job := newDLIJob(t.namespace, foreign, "foreign")
		metav1.SetMetaDataLabel(&job.ObjectMeta, foreignLabel, "")
		if err := insist(ctx, "creating a DLIJob", func() error { return client.IgnoreAlreadyExists(i.client.Create(ctx, job)) }); err != nil {
			return err
		}
	}
	err := i.withSecondOperator(ctx, "--watch-label-selector="+foreignLabel)
	return errors.Join(err, insist(ctx, "deleting DLIJobs", func() error {
		return i.client.DeleteAllOf(ctx, &v1alpha1.DLIJob{}, client.InNamespace(t.namespace), client.HasLabels{foreignLabel})
	}))
}

// sameJobs runs an operator with the same jobs of a team, whose connection it cannot reach.
func sameJobs(ctx context.Context, i injection) error {
	i.history.Shared(true)
	defer i.history.Shared(false)
	return i.withSecondOperator(ctx, "--watch-namespaces="+i.team().namespace)
}

// withSecondOperator runs an operator of another release, without leader election, that
// cannot reach DLI.
func (i injection) withSecondOperator(ctx context.Context, flags ...string) error {
	if err := buildOperator(ctx, secondOperator, i.dir, i.overlay); err != nil {
		return err
	}
	i.dli.begin(secondOperator, lie{func(c call) bool { return c.replica == secondOperator }, resets})
	defer i.dli.end(secondOperator)
	second, err := startOperator(secondOperator, i.dir, i.plane.Config(), flags...)
	if err != nil {
		return err
	}
	defer second.close()
	err = wait(ctx, i.lasts)
	second.checkLog(i.history)
	return err
}
