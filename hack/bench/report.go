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
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// stage is what was measured at one number of jobs.
type stage struct {
	jobs                                             int
	creating, writesPerNew                           float64
	operatorPerNew, controlPlanePerNew               float64 // CPU seconds per 1000 new jobs
	seconds, polls, wanted, kept, done, failed       float64
	cpu, floor, floorRate                            float64 // CPU seconds per 1000 polls
	controlPlane, controlPlaneGross, simulator       float64 // the same
	others                                           float64 // share of the machine that went elsewhere
	changes, writes, news, figures, conflicts, watch float64
	dials                                            float64 // per 1000 polls
	rss, perJob, heap, heapPerJob, goroutines        float64
	apiServerRSS, etcdRSS                            float64
	pollLate, pollLateMean                           float64
	lateness
}

// What the operator counts itself: the simulator counts the bare client's requests
// and connections too.
const (
	requestsTotal = "dli_operator_requests_total"
	dialsTotal    = "dli_operator_connection_dials_total"
)

// fill derives the stage from what was counted before and after the window.
func (s *stage) fill(w *world, i idle, before, after snapshot) {
	s.seconds = after.at.Sub(before.at).Seconds()
	s.polls = asked(after.metrics) - asked(before.metrics)
	all := float64(after.simulator.Requests - before.simulator.Requests)
	bare := all - s.polls
	s.done = s.polls / s.seconds
	thousands := s.polls / 1000
	good := `result="Success"`
	s.failed = s.polls - (after.metrics.sum(requestsTotal, good) - before.metrics.sum(requestsTotal, good))

	s.floor, s.floorRate = (after.floor-before.floor)/bare*1000, bare/s.seconds
	s.cpu = (after.operator - before.operator) / thousands
	gross := after.apiServer + after.etcd - before.apiServer - before.etcd
	s.controlPlaneGross = gross / thousands
	s.controlPlane = (gross - i.controlPlane*s.seconds) / thousands
	s.simulator = (after.simulatorCPU - before.simulatorCPU) / all * 1000
	ours := after.operator - before.operator + gross + after.simulatorCPU - before.simulatorCPU + after.self - before.self + after.floor - before.floor
	s.others = (after.machine - before.machine - ours) / s.seconds

	s.changes = float64(w.jobs.changes(before.at, after.at))
	count := func(result string) float64 {
		label := `result="` + result + `"`
		return after.metrics.sum("dli_operator_status_writes_total", label) - before.metrics.sum("dli_operator_status_writes_total", label)
	}
	s.writes, s.conflicts = count("written"), count("conflict")
	s.watch = float64(after.events.all - before.events.all)
	s.news = float64(after.events.news - before.events.news)
	s.figures = float64(after.events.figures - before.events.figures)
	s.dials = (after.metrics.sum(dialsTotal) - before.metrics.sum(dialsTotal)) / thousands

	active := float64(w.jobs.len())
	s.rss, s.heap = rssOf(w.operator.pid()), heap(after.metrics)
	s.perJob, s.heapPerJob = (s.rss-i.rss)/active, (s.heap-i.heap)/active
	s.apiServerRSS, s.etcdRSS = rssOf(w.apiServer), rssOf(w.etcd)
	s.goroutines = after.metrics.sum("go_goroutines")
	const late = "dli_operator_poll_lateness_seconds"
	s.pollLateMean = (after.metrics.sum(late+"_sum") - before.metrics.sum(late+"_sum")) / (after.metrics.sum(late+"_count") - before.metrics.sum(late+"_count"))
	s.pollLate = after.metrics.within(late, before.metrics, 0.99)
}

// overFloor is how many times the bare client's CPU time the operator takes.
func (s *stage) overFloor() float64 { return s.cpu / s.floor }

// perChange is how many status writes there were for each change.
func (s *stage) perChange() float64 { return s.writes / s.changes }

const mib = 1 << 20

// rows are the values of a stage as they are printed.
func (s *stage) rows() []row {
	return []row{
		{"polls wanted per second", f(s.wanted, 1)},
		{"polls done per second", f(s.done, 1)},
		{"polls done of polls wanted", f(s.kept, 3)},
		{"polls that failed", f(s.failed, 0)},
		{"polls begun late on average (s)", f(s.pollLateMean, 3)},
		{"99 % of the polls begun within (s)", f(s.pollLate, 2)},
		{"operator: CPU seconds per 1000 polls", f(s.cpu, 3)},
		{"bare client: CPU seconds per 1000 polls", f(s.floor, 3)},
		{"bare client: polls per second", f(s.floorRate, 1)},
		{"operator: times the bare client", f(s.overFloor(), 2)},
		{"API server and etcd: CPU seconds per 1000 polls", f(s.controlPlaneGross, 3)},
		{"the same above idle", f(s.controlPlane, 3)},
		{"simulator: CPU seconds per 1000 polls", f(s.simulator, 3)},
		{"CPU that others took meanwhile (cores)", f(s.others, 2)},
		{"changes made by DLI", f(s.changes, 0)},
		{"status writes", f(s.writes, 0)},
		{"status writes per change", f(s.perChange(), 3)},
		{"of these: new state", f(s.news, 0)},
		{"of these: figures alone", f(s.figures, 0)},
		{"conflicts", f(s.conflicts, 0)},
		{"watch events", f(s.watch, 0)},
		{"TCP connections opened per 1000 polls", f(s.dials, 3)},
		{"resident memory (MiB)", f(s.rss/mib, 1)},
		{"resident memory per job above idle (KiB)", f(s.perJob/1024, 1)},
		{"live heap (MiB)", f(s.heap/mib, 1)},
		{"live heap per job above idle (KiB)", f(s.heapPerJob/1024, 1)},
		{"API server: resident memory (MiB)", f(s.apiServerRSS/mib, 0)},
		{"etcd: resident memory (MiB)", f(s.etcdRSS/mib, 0)},
		{"goroutines", f(s.goroutines, 0)},
		{"ends of jobs", f(float64(s.ends), 0)},
		{"ends not stored before the window closed", f(float64(s.missing), 0)},
		{"end stored late (s): p50", f(s.p50, 2)},
		{"end stored late (s): p99", f(s.p99, 2)},
		{"end stored late (s): max", f(s.max, 2)},
		{"end stored late (poll intervals): p50", f(s.shareP50, 2)},
		{"end stored late (poll intervals): p99", f(s.shareP99, 2)},
		{"end stored late (poll intervals): max", f(s.shareMax, 2)},
		{"beyond interval and jitter (s): p99", f(s.beyondP99, 2)},
		{"beyond interval and jitter (s): max", f(s.beyondMax, 2)},
		{"creation: seconds until all were polled", f(s.creating, 0)},
		{"creation: status writes per job", f(s.writesPerNew, 2)},
		{"creation: operator CPU seconds per 1000 jobs", f(s.operatorPerNew, 2)},
		{"creation: API server and etcd CPU seconds per 1000 jobs", f(s.controlPlanePerNew, 2)},
	}
}

func (s *stage) print(out io.Writer) {
	fmt.Fprintf(out, "\njobs: %d\n", s.jobs)
	for _, r := range s.rows() {
		fmt.Fprintf(out, "%s: %s\n", r.name, r.value)
	}
}

type row struct{ name, value string }

// f writes a number, or a dash where there is none.
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

// print prints what was not printed yet, and fails if a smoke test did.
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
