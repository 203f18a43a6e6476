// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// Options configure the controllers.
type Options struct {
	Schedule    poller.Schedule
	Connections connection.Options
	// MaxConcurrentPolls limits the concurrent requests to DLI, and
	// MaxConcurrentReconciles the jobs whose status is written concurrently, while the API
	// server is fast.
	MaxConcurrentPolls, MaxConcurrentReconciles int
	// ReportConnections says whether to write the status of DLIConnections.
	ReportConnections bool
	// Leads reports whether this process certainly leads at a time; nil if it is the
	// only one. The leader election alone cannot stop a process that was frozen for
	// longer than its lease before it writes.
	Leads func(now time.Time) bool
	// Restored is called when the API server has gone back to an earlier state, as
	// after a restore of etcd; it ends the process, and must not block.
	Restored func()
	// Version is shown by a metric.
	Version string
	// Registry registers the metrics.
	Registry prometheus.Registerer
}
