// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// stage has the measurements at one number of jobs.
type stage struct {
	jobs int
	creation
	polling
	effort
	writing
	reporting
	memory
	lateness
	recovery
}

// creation is the cost until all jobs were created and polled, per new job; CPU seconds
// are per 1000 jobs.
type creation struct{ seconds, writes, operator, controlPlane float64 }

func (c *creation) rows() []row {
	return []row{
		{"creation: seconds until all were polled", f(c.seconds, 0)},
		{"creation: status writes per job", f(c.writes, 2)},
		{"creation: operator CPU seconds per 1000 jobs", f(c.operator, 2)},
		{"creation: API server and etcd CPU seconds per 1000 jobs", f(c.controlPlane, 2)},
	}
}

type polling struct {
	polls, wanted, kept, done, failed float64
	late, lateMean                    float64
	dials                             float64 // per 1000 polls
	single, listed                    float64 // requests per second
}

func (p *polling) rows() []row {
	return []row{
		{"polls wanted per second", f(p.wanted, 1)},
		{"polls done per second", f(p.done, 1)},
		{"polls done of polls wanted", f(p.kept, 3)},
		{"of these: for one job, per second", f(p.single, 1)},
		{"of these: pages of lists, per second", f(p.listed, 1)},
		{"polls that failed", f(p.failed, 0)},
		{"polls begun late on average (s)", f(p.lateMean, 3)},
		{"99 % of the polls begun within (s)", f(p.late, 2)},
		{"TCP connections opened per 1000 polls", f(p.dials, 3)},
	}
}

// effort is in CPU seconds per 1000 polls.
type effort struct {
	cpu, floor, controlPlaneNet, controlPlaneGross, simulator float64

	// Milliseconds of CPU for each job in a minute.
	cpuPerJob, controlPlanePerJob float64

	spread    spread
	floorRate float64 // polls per second
	others    float64 // share of the machine that went elsewhere
}

// spread is the least and the most of all runs: of the operator's CPU time as a multiple of
// the bare client's, and of the control plane's above idle.
type spread struct{ leastFloor, mostFloor, leastPlane, mostPlane float64 }

// overFloor is the operator's CPU time as a multiple of the bare client's.
func (e *effort) overFloor() float64 { return e.cpu / e.floor }

func (e *effort) rows() []row {
	return []row{
		{"operator: CPU seconds per 1000 polls", f(e.cpu, 3)},
		{"bare client: CPU seconds per 1000 polls", f(e.floor, 3)},
		{"bare client: polls per second", f(e.floorRate, 1)},
		{"operator: times the bare client", f(e.overFloor(), 2)},
		{"the same in all runs, from", f(e.spread.leastFloor, 2)},
		{"the same in all runs, to", f(e.spread.mostFloor, 2)},
		{"API server and etcd: CPU seconds per 1000 polls", f(e.controlPlaneGross, 3)},
		{"the same above idle", f(e.controlPlaneNet, 3)},
		{"the same above idle in all runs, from", f(e.spread.leastPlane, 3)},
		{"the same above idle in all runs, to", f(e.spread.mostPlane, 3)},
		{"operator: CPU milliseconds per job and minute", f(e.cpuPerJob, 3)},
		{"API server and etcd above idle: CPU milliseconds per job and minute", f(e.controlPlanePerJob, 3)},
		{"simulator: CPU seconds per 1000 polls", f(e.simulator, 3)},
		{"CPU used by other processes (cores)", f(e.others, 2)},
	}
}

type writing struct{ changes, written, news, figures, conflicts, watch float64 }

// perChange is the number of status writes per change.
func (w *writing) perChange() float64 { return w.written / w.changes }

func (w *writing) rows() []row {
	return []row{
		{"changes made by DLI", f(w.changes, 0)},
		{"status writes", f(w.written, 0)},
		{"status writes per change", f(w.perChange(), 3)},
		{"of these: new state", f(w.news, 0)},
		{"of these: figures alone", f(w.figures, 0)},
		{"conflicts", f(w.conflicts, 0)},
		{"watch events", f(w.watch, 0)},
	}
}

// reporting is how much the operator says about jobs: Events and status writes per end of a job,
// with those of all else that happened to jobs in the window, and its own metric series.
type reporting struct{ events, writes, seriesBefore, seriesAfter, seriesPerJob float64 }

// reportingOf compares the operator's metrics before and after a window, with so many jobs.
func reportingOf(before, after testenv.Series, jobs int) reporting {
	grown := func(name string, labels ...string) float64 { return after.Growth(before, name, labels...) }
	ends := grown("dli_operator_job_ends_total")
	r := reporting{
		// Events are all that the operator creates.
		events:       grown("rest_client_requests_total", `method="POST"`) / ends,
		writes:       grown(writesTotal, `result="written"`) / ends,
		seriesBefore: float64(before.Count("dli_operator_")), seriesAfter: float64(after.Count("dli_operator_")),
	}
	r.seriesPerJob = r.seriesAfter / float64(jobs)
	return r
}

func (r *reporting) rows() []row {
	return []row{
		{"Events per end of a job", f(r.events, 2)},
		{"status writes per end of a job", f(r.writes, 2)},
		{"metric series before the window", f(r.seriesBefore, 0)},
		{"metric series after it", f(r.seriesAfter, 0)},
		{"metric series per job", f(r.seriesPerJob, 3)},
	}
}

type memory struct {
	rss, peak, perJob, heap, heapPerJob, goroutines float64
	apiServerRSS, etcdRSS                           float64
}

func (m *memory) rows() []row {
	return []row{
		{"resident memory (MiB)", f(m.rss/mib, 1)},
		{"resident memory, high water (MiB)", f(m.peak/mib, 1)},
		{"high water per job above idle (KiB)", f(m.perJob/1024, 1)},
		{"live heap (MiB)", f(m.heap/mib, 1)},
		{"live heap per job above idle (KiB)", f(m.heapPerJob/1024, 1)},
		{"API server: resident memory (MiB)", f(m.apiServerRSS/mib, 0)},
		{"etcd: resident memory (MiB)", f(m.etcdRSS/mib, 0)},
		{"goroutines", f(m.goroutines, 0)},
	}
}

func (l *lateness) rows() []row {
	rows := []row{{"ends of jobs", f(float64(l.ends), 0)}}
	rows = slices.Concat(rows, l.seen.rows("seen"), l.stored.rows("stored"), []row{{"ends of short jobs", f(float64(l.shortEnds), 0)}})
	for _, short := range []struct {
		what string
		distribution
	}{{"seen", l.shortSeen}, {"stored", l.shortStored}} {
		rows = append(rows, row{"end of a short job " + short.what + " late (s): p50", f(short.p50, 2)},
			row{"end of a short job " + short.what + " late (s): max", f(short.max, 2)})
	}
	return rows
}

func (d *distribution) rows(what string) []row {
	return []row{
		{"ends not " + what + " in time", f(float64(d.missing), 0)},
		{"end " + what + " late (s): p50", f(d.p50, 2)},
		{"end " + what + " late (s): p99", f(d.p99, 2)},
		{"end " + what + " late (s): max", f(d.max, 2)},
		{"end " + what + " late (poll intervals): p50", f(d.shareP50, 2)},
		{"end " + what + " late (poll intervals): p99", f(d.shareP99, 2)},
		{"end " + what + " late (poll intervals): max", f(d.shareMax, 2)},
		{"end " + what + " beyond interval and jitter (s): p50", f(d.beyondP50, 2)},
		{"end " + what + " beyond interval and jitter (s): p99", f(d.beyondP99, 2)},
		{"end " + what + " beyond interval and jitter (s): max", f(d.beyondMax, 2)},
	}
}

// The operator's own counters: the simulator also counts the bare client's requests and
// connections.
const (
	requestsTotal = "dli_operator_requests_total"
	dialsTotal    = "dli_operator_connection_dials_total"
	writesTotal   = "dli_operator_status_writes_total"
)

// fill calculates the stage from the measurements of the window.
func (s *stage) fill(w *world, i idle, before, after snapshot) {
	seconds := after.at.Sub(before.at).Seconds()
	grown := func(name string, labels ...string) float64 {
		return after.metrics.Growth(before.metrics, name, labels...)
	}
	s.polls = asked(after.metrics) - asked(before.metrics)
	s.done = s.polls / seconds
	s.single, s.listed = grown(requestsTotal, `call="status"`)/seconds, grown(requestsTotal, `call="list"`)/seconds
	s.failed = s.polls - grown(requestsTotal, `result="Success"`)
	thousands := s.polls / 1000
	s.dials = grown(dialsTotal) / thousands
	const late = "dli_operator_poll_lateness_seconds"
	s.lateMean = grown(late+"_sum") / grown(late+"_count")
	s.late = after.metrics.Within(late, before.metrics, 0.99)

	all := float64(after.simulator.Requests - before.simulator.Requests)
	bare := all - s.polls
	s.floor, s.floorRate = (after.floor-before.floor)/bare*1000, bare/seconds
	s.cpu = (after.operator - before.operator) / thousands
	gross := after.apiServer + after.etcd - before.apiServer - before.etcd
	s.controlPlaneGross = gross / thousands
	s.controlPlaneNet = (gross - i.controlPlane*seconds) / thousands
	jobMinutes := float64(w.jobs.len()) * seconds / 60
	s.cpuPerJob = (after.operator - before.operator) / jobMinutes * 1000
	s.controlPlanePerJob = (gross - i.controlPlane*seconds) / jobMinutes * 1000
	s.simulator = (after.simulatorCPU - before.simulatorCPU) / all * 1000
	ours := after.operator - before.operator + gross + after.simulatorCPU - before.simulatorCPU + after.self - before.self + after.floor - before.floor
	s.others = (after.machine - before.machine - ours) / seconds

	s.changes = float64(w.jobs.changes(before.at, after.at))
	s.written, s.conflicts = grown(writesTotal, `result="written"`), grown(writesTotal, `result="conflict"`)
	s.reporting = reportingOf(before.metrics, after.metrics, w.jobs.len())
	s.watch = float64(after.events.all - before.events.all)
	s.news = float64(after.events.news - before.events.news)
	s.figures = float64(after.events.figures - before.events.figures)

	jobs := float64(w.jobs.len())
	s.rss, s.peak, s.heap = testenv.Memory(w.operator.PID()), testenv.PeakMemory(w.operator.PID()), heap(after.metrics)
	s.perJob, s.heapPerJob = (s.peak-i.rss)/jobs, (s.heap-i.heap)/jobs
	s.apiServerRSS, s.etcdRSS = testenv.Memory(w.apiServer), testenv.Memory(w.etcd)
	s.goroutines = after.metrics.Sum("go_goroutines")
}

const mib = 1 << 20

// rows returns the values of a stage in the order of the output.
func (s *stage) rows() []row {
	return slices.Concat(s.polling.rows(), s.effort.rows(), s.writing.rows(), s.reporting.rows(), s.memory.rows(), s.lateness.rows(),
		s.recovery.rows(), s.creation.rows())
}

func (s *stage) print(out io.Writer) {
	fmt.Fprintf(out, "\njobs: %d\n", s.jobs)
	for _, r := range s.rows() {
		fmt.Fprintf(out, "%s: %s\n", r.name, r.value)
	}
}

type row struct{ name, value string }

// f formats a number; a dash if there is none.
func f(value float64, digits int) string {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return "–"
	}
	return fmt.Sprintf("%.*f", digits, value)
}

// report is the whole run.
type report struct {
	options options
	began   time.Time
	idle    idle
	stages  []stage
	restart restarted
}

// print prints what was not printed yet, and returns an error if a smoke test failed.
func (r *report) print(out io.Writer) error {
	fmt.Fprintf(out, "\nidle\n")
	for _, row := range []row{
		{"operator: resident memory (MiB)", f(r.idle.rss/mib, 1)},
		{"operator: live heap (MiB)", f(r.idle.heap/mib, 1)},
		{"operator: goroutines", f(r.idle.goroutines, 0)},
		{"operator: CPU (cores)", f(r.idle.operator, 3)},
		{"API server and etcd, before the operator starts: CPU (cores)", f(r.idle.controlPlane, 3)},
	} {
		fmt.Fprintf(out, "%s: %s\n", row.name, row.value)
	}
	if again := r.restart; again.jobs > 0 {
		fmt.Fprintf(out, "\nrestart at %d active jobs\n", again.jobs)
		for _, row := range []row{
			{"seconds to the first poll", f(again.firstPoll, 1)},
			{"seconds until every active job was polled", f(again.allPolled, 1)},
			{"most seconds without a poll of a job", f(again.longest, 1)},
			{"most polls in any second", f(again.peak, 0)},
			{"99 % of the polls begun within (s)", f(again.pollLate, 2)},
			{"operator: CPU seconds until then", f(again.startCPU, 2)},
			{"status writes", f(float64(again.writes), 0)},
			{"resident memory (MiB)", f(again.rss/mib, 1)},
			{"resident memory per job above idle (KiB)", f((again.rss-r.idle.rss)/float64(again.jobs)/1024, 1)},
			{"live heap per job above idle (KiB)", f((again.heap-r.idle.heap)/float64(again.jobs)/1024, 1)},
		} {
			fmt.Fprintf(out, "%s: %s\n", row.name, row.value)
		}
	}
	r.printTable(out)
	return r.printBudgets(out)
}

func (r *report) printTable(out io.Writer) {
	rows := make([][]row, len(r.stages))
	fmt.Fprint(out, "\n| |")
	for i := range r.stages {
		rows[i] = r.stages[i].rows()
		fmt.Fprintf(out, " %d jobs |", r.stages[i].jobs)
	}
	fmt.Fprintf(out, "\n|---|%s\n", strings.Repeat("---:|", len(r.stages)))
	for k := range rows[0] {
		fmt.Fprintf(out, "| %s |", rows[0][k].name)
		for i := range rows {
			fmt.Fprintf(out, " %s |", rows[i][k].value)
		}
		fmt.Fprintln(out)
	}
}
