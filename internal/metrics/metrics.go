// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics has the operator's metrics: what it counts and times while it works, and
// gauges over the cache and the connections, computed when scraped.
package metrics

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// Recorder counts and times what the operator does. The only label with
// user-defined values is connection, the namespace/name of an existing
// DLIConnection, and namespace: nothing else that the author of a DLIJob writes becomes a series.
type Recorder struct {
	requests     *prometheus.CounterVec
	differences  prometheus.Counter
	latency      *prometheus.HistogramVec
	pollLateness prometheus.Histogram
	endLateness  prometheus.Histogram
	ends         *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	writes       *prometheus.CounterVec
	bytes        *prometheus.CounterVec
	foreign      *prometheus.CounterVec

	mu sync.Mutex
	// connections are those whose series are kept: a request of a deleted one may still
	// return. namespaces are those that have series.
	connections map[string]*connectionSeries
	namespaces  map[string]bool
}

// connectionSeries are the series that most requests of a connection change: to find them by
// their labels would cost more than the rest of the metrics. successes are by call.
type connectionSeries struct {
	latency   prometheus.Observer
	successes map[string]prometheus.Counter
}

// maxNamespaces limits the namespaces that have series.
const maxNamespaces = 1000

// NewRecorder registers the metrics of an operator with a registry.
func NewRecorder(registry prometheus.Registerer, version string) *Recorder {
	create := promauto.With(registry)
	m := &Recorder{
		connections: map[string]*connectionSeries{},
		namespaces:  map[string]bool{},
		requests: create.NewCounterVec(prometheus.CounterOpts{
			Name: "dli_operator_requests_total",
			Help: "Requests to DLI, by connection, call (status: a single job, list: a page of jobs, progress: how much of a job is done), result (Success or the kind of error) and HTTP status code (0: no response, other: not a registered one).",
		}, []string{"connection", "call", "result", "code"}),
		differences: create.NewCounter(prometheus.CounterOpts{
			Name: "dli_operator_list_differences_total",
			Help: "Jobs for which a list and the status call differed: active jobs that the list lacked or showed in another state, or ended jobs that it showed as active.",
		}),
		latency: create.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "dli_operator_request_duration_seconds",
			Help:    "Time from sending a request to DLI until its response was read.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"connection"}),
		pollLateness: create.NewHistogram(prometheus.HistogramOpts{
			Name:    "dli_operator_poll_lateness_seconds",
			Help:    "Time from when a poll was due until it started.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300},
		}),
		endLateness: create.NewHistogram(prometheus.HistogramOpts{
			Name:    "dli_operator_job_end_lateness_seconds",
			Help:    "Time from the end of a job, by DLI's clock (start plus duration), until the operator saw it. Only jobs that it had seen active before.",
			Buckets: []float64{.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600},
		}),
		ends: create.NewCounterVec(prometheus.CounterOpts{
			Name: "dli_operator_job_ends_total",
			Help: "Jobs whose outcome was stored in their DLIJob, by namespace, connection, type and outcome. Each is counted once.",
		}, []string{"namespace", "connection", "type", "outcome"}),
		duration: create.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "dli_operator_job_duration_seconds",
			Help:    "How long jobs ran whose outcome was stored, as reported by DLI, by connection, type and outcome.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 24 * 3600},
		}, []string{"connection", "type", "outcome"}),
		writes: create.NewCounterVec(prometheus.CounterOpts{
			Name: "dli_operator_status_writes_total",
			Help: "Status writes of DLIJobs, by result: written, conflict or error.",
		}, []string{"result"}),
		bytes: create.NewCounterVec(prometheus.CounterOpts{
			Name: "dli_operator_status_written_bytes_total",
			Help: "Size of the statuses of DLIJobs that were written, as JSON, by connection (empty: no connection in use).",
		}, []string{"connection"}),
		foreign: create.NewCounterVec(prometheus.CounterOpts{
			Name: "dli_operator_foreign_status_writes_total",
			Help: "Status writes by another operator that this one has found, by kind: DLIJob or DLIConnection.",
		}, []string{"kind"}),
	}
	create.NewGauge(prometheus.GaugeOpts{
		Name: "dli_operator_build_info", Help: "Always 1, labelled with the operator's version.",
		ConstLabels: prometheus.Labels{"version": version},
	}).Set(1)
	// So that a rate sees the first one.
	for _, kind := range []string{"DLIJob", "DLIConnection"} {
		m.foreign.WithLabelValues(kind)
	}
	return m
}

// RegisterGauges registers the metrics that are computed when scraped: those of
// the DLIJobs that jobs lists from a cache, and of the connections in use. waiting
// counts the DLIJobs that wait for their turn at a connection.
func RegisterGauges(
	registry prometheus.Registerer, jobs client.Reader, connections *connection.Registry, waiting func(connection types.NamespacedName) int, clock clock.PassiveClock,
) error {
	return registry.Register(&collector{jobs, connections, waiting, clock})
}

// Requested implements connection.Recorder.
func (m *Recorder) Requested(name string, call string, took time.Duration, err *dli.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	series := m.connections[name]
	if series == nil {
		return
	}
	if series.latency == nil {
		series.latency = m.latency.WithLabelValues(name)
	}
	series.latency.Observe(took.Seconds())
	if err != nil {
		m.requests.WithLabelValues(name, call, string(err.Kind), dli.StatusLabel(err.HTTPStatus)).Inc()
		return
	}
	success := series.successes[call]
	if success == nil {
		success = m.requests.WithLabelValues(name, call, "Success", dli.StatusLabel(http.StatusOK))
		series.successes[call] = success
	}
	success.Inc()
}

// ListDiffered implements poller.Recorder.
func (m *Recorder) ListDiffered() { m.differences.Inc() }

// PollLateness implements poller.Recorder.
func (m *Recorder) PollLateness(late time.Duration) { m.pollLateness.Observe(late.Seconds()) }

// KeepConnection starts the series of a connection, or ends those of a deleted one.
func (m *Recorder) KeepConnection(name string, exists bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if exists {
		if m.connections[name] == nil {
			m.connections[name] = &connectionSeries{successes: map[string]prometheus.Counter{}}
		}
		return
	}
	delete(m.connections, name)
	for _, vec := range []interface {
		DeletePartialMatch(labels prometheus.Labels) int
	}{m.requests, m.latency, m.bytes, m.ends, m.duration} {
		vec.DeletePartialMatch(prometheus.Labels{"connection": name})
	}
}

// CountEnd counts the end of a job that has just been stored. connection is the one in use;
// "" if there is none.
func (m *Recorder) CountEnd(connection string, job *v1alpha1.DLIJob) {
	m.mu.Lock()
	defer m.mu.Unlock()
	namespace, jobType, outcome := job.Namespace, string(typeOf(job)), string(job.Status.Outcome)
	connection = m.labelOf(connection)
	if !m.namespaces[namespace] && len(m.namespaces) >= maxNamespaces {
		namespace = ""
	}
	m.namespaces[namespace] = true
	m.ends.WithLabelValues(namespace, connection, jobType, outcome).Inc()
	if milliseconds := job.Status.DurationMilliseconds; milliseconds != nil {
		m.duration.WithLabelValues(connection, jobType, outcome).Observe(float64(*milliseconds) / 1000)
	}
}

// typeOf returns the type of a job; that of one which is older than the field is SQL.
func typeOf(job *v1alpha1.DLIJob) v1alpha1.JobType { return cmp.Or(job.Spec.Type, v1alpha1.JobTypeSQL) }

// CountBytes counts a status of so many bytes that was written.
func (m *Recorder) CountBytes(connection string, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes.WithLabelValues(m.labelOf(connection)).Add(float64(size))
}

// labelOf returns the label for a connection: "" for one that was deleted meanwhile, whose
// series have ended.
func (m *Recorder) labelOf(connection string) string {
	if m.connections[connection] == nil {
		return ""
	}
	return connection
}

// CountForeignWrite counts a status of a kind of object that another operator wrote.
func (m *Recorder) CountForeignWrite(kind string) { m.foreign.WithLabelValues(kind).Inc() }

// CountWrite counts one write of a status.
func (m *Recorder) CountWrite(err error) {
	result := "written"
	switch {
	case apierrors.IsConflict(err):
		result = "conflict"
	case err != nil:
		result = "error"
	}
	m.writes.WithLabelValues(result).Inc()
}

// ObserveEnd measures how late the operator saw the end of a job that it had seen
// active before.
func (m *Recorder) ObserveEnd(result *poller.Result) {
	if result == nil || !result.Ended || result.Status.StartTime.IsZero() || result.Status.Duration == nil {
		return
	}
	seen := result.ArrivedAt
	if date := result.Status.Date; !date.IsZero() {
		seen = date // the same clock as the end's
	}
	m.endLateness.Observe(max(0, seen.Sub(result.Status.StartTime.Add(*result.Status.Duration)).Seconds()))
}

// fillTimeout is how long a scrape waits for a cache that is not filled yet.
const fillTimeout = time.Second

// collector counts the DLIJobs in the cache, and describes the connections in use, when
// scraped, so there are no counters to keep in sync with them.
type collector struct {
	jobs        client.Reader
	connections *connection.Registry
	waiting     func(connection types.NamespacedName) int
	clock       clock.PassiveClock
}

var (
	jobsDesc = prometheus.NewDesc("dli_operator_jobs",
		"DLIJobs by connection (empty: no connection in use), phase, reason of the condition Ready, and status of the condition Synced.", []string{"connection", "phase", "reason", "synced"}, nil)
	longestRunDesc = prometheus.NewDesc("dli_operator_job_longest_run_seconds",
		"How long the job has been running that has been running longest, by connection and type.", []string{"connection", "type"}, nil)
	connectionReadyDesc = prometheus.NewDesc("dli_operator_connection_ready",
		"1 if the connection is usable, else 0, labelled with the reason.", []string{"connection", "reason"}, nil)
	connectionTokensDesc = prometheus.NewDesc("dli_operator_connection_rate_limit_tokens",
		"Requests that a connection's rate limit allows right now; negative while jobs wait for their turn.", []string{"connection"}, nil)
	connectionRateDesc = prometheus.NewDesc("dli_operator_connection_rate_limit",
		"Requests per second that a connection may currently send: its rateLimit, or less while DLI throttles it.", []string{"connection"}, nil)
	connectionInFlightDesc = prometheus.NewDesc("dli_operator_connection_requests_in_flight",
		"Requests of a connection that are waiting for DLI's response.", []string{"connection"}, nil)
	connectionDialsDesc = prometheus.NewDesc("dli_operator_connection_dials_total",
		"TCP connections that a connection has opened.", []string{"connection"}, nil)
)

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{jobsDesc, longestRunDesc, connectionReadyDesc, connectionTokensDesc, connectionRateDesc, connectionInFlightDesc, connectionDialsDesc} {
		ch <- desc
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	now := c.clock.Now()
	c.collectJobs(ch, now)
	for _, conn := range c.connections.All() {
		name, health, stats := conn.Key.String(), conn.Health(now), conn.Stats(now)
		gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{name}, labels...)...)
		}
		ready, tokens := 0.0, stats.Tokens
		if health.Ready {
			ready = 1
		}
		if tokens < 1 {
			tokens -= float64(c.waiting(conn.Key))
		}
		gauge(connectionReadyDesc, ready, health.Reason)
		gauge(connectionTokensDesc, tokens)
		gauge(connectionRateDesc, stats.Rate)
		gauge(connectionInFlightDesc, float64(stats.InFlight))
		ch <- prometheus.MustNewConstMetric(connectionDialsDesc, prometheus.CounterValue, float64(stats.Dialed), name)
	}
}

// readyReasons are the reasons of a DLIJob's Ready.
var readyReasons = []string{
	v1alpha1.ReasonPending, v1alpha1.ReasonJobLaunching, v1alpha1.ReasonJobRunning, v1alpha1.ReasonJobScaling,
	v1alpha1.ReasonJobRecovering, v1alpha1.ReasonJobStatusUnrecognized, v1alpha1.ReasonJobFinished, v1alpha1.ReasonJobFailed,
	v1alpha1.ReasonJobCancelled, v1alpha1.ReasonJobNotFound, v1alpha1.ReasonDeadlineExceeded, v1alpha1.ReasonSuspended,
	v1alpha1.ReasonEndpointUnreachable, v1alpha1.ReasonServerError, v1alpha1.ReasonRateLimited, v1alpha1.ReasonInvalidResponse,
	v1alpha1.ReasonCredentialsRejected, v1alpha1.ReasonPermissionDenied, v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonSecretInvalid,
	v1alpha1.ReasonConnectionNotFound, v1alpha1.ReasonConnectionNotAllowed, v1alpha1.ReasonEndpointMisconfigured,
	v1alpha1.ReasonRequestRejected,
}

// phases are the phases of a DLIJob; it has none before it was seen.
var phases = []v1alpha1.Phase{
	"", v1alpha1.PhasePending, v1alpha1.PhaseRunning, v1alpha1.PhaseSuspended, v1alpha1.PhaseStalled,
	v1alpha1.PhaseSucceeded, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled, v1alpha1.PhaseNotFound,
}

// oneOf returns a word if it is one of those known: a status may have been written by
// something else, and must not become a series.
func oneOf[T ~string](known []T, word T) T {
	if slices.Contains(known, word) {
		return word
	}
	return "other"
}

func (c *collector) collectJobs(ch chan<- prometheus.Metric, now time.Time) {
	list := &v1alpha1.DLIJobList{}
	//nolint:forbidigo // a scrape has no context to pass on
	ctx, cancel := context.WithTimeout(context.TODO(), fillTimeout)
	defer cancel()
	if err := c.jobs.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return // the cache is not filled yet: what is known is served without the jobs
	}
	counts, longest := map[[4]string]int{}, map[[2]string]float64{}
	for i := range list.Items {
		job := &list.Items[i]
		labels := [4]string{c.connections.NameInUse(job), string(oneOf(phases, job.Status.Phase))}
		if ready := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ReadyCondition); ready != nil {
			labels[2] = oneOf(readyReasons, ready.Reason)
		}
		if synced := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.SyncedCondition); synced != nil {
			labels[3] = string(synced.Status)
		}
		counts[labels]++
		if start := job.Status.StartTime; start != nil && job.Status.Phase == v1alpha1.PhaseRunning {
			kind := [2]string{labels[0], string(typeOf(job))}
			longest[kind] = max(longest[kind], now.Sub(start.Time).Seconds())
		}
	}
	for labels, seconds := range longest {
		ch <- prometheus.MustNewConstMetric(longestRunDesc, prometheus.GaugeValue, seconds, labels[:]...)
	}
	for labels, n := range counts {
		ch <- prometheus.MustNewConstMetric(jobsDesc, prometheus.GaugeValue, float64(n), labels[:]...)
	}
}
