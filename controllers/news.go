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

package controllers

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// News carries what the work of one job tells about its connection to the
// reconcilers' queues: the connection's status to write, other jobs to wake.
type News struct {
	// Jobs lists the jobs that may use a connection.
	Jobs func(ctx context.Context, connection types.NamespacedName) []reconcile.Request

	mu                sync.Mutex
	jobs, connections queue
}

func (n *News) toJobs(_ context.Context, q queue) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.jobs = q
	return nil
}

func (n *News) toConnections(_ context.Context, q queue) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.connections = q
	return nil
}

// changed queues a connection and, if its jobs were woken, them too. It never
// blocks.
func (n *News) changed(ctx context.Context, connection types.NamespacedName, woken bool) {
	n.mu.Lock()
	jobs, connections := n.jobs, n.connections
	n.mu.Unlock()
	if connections != nil {
		connections.Add(reconcile.Request{NamespacedName: connection})
	}
	if !woken || jobs == nil {
		return
	}
	for _, job := range n.Jobs(ctx, connection) {
		jobs.Add(job)
	}
}
