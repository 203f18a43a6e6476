// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/test/testenv"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func usual() policy { return policy{min: 5 * time.Second, max: time.Minute, factor: 0.1} }

func TestPollIntervalGrowsWithAge(t *testing.T) {
	tests := []struct{ age, want time.Duration }{
		{10 * time.Second, 5 * time.Second},
		{5 * time.Minute, 30 * time.Second},
		{10 * time.Hour, time.Minute},
	}
	for _, test := range tests {
		if got := usual().interval(test.age); got != test.want {
			t.Errorf("a job that is %v old: got %v, want %v", test.age, got, test.want)
		}
	}
}

func TestSparkJobsAreSpread(t *testing.T) {
	w := &world{options: options{load: load{connections: 10, spark: 0.3}}}
	for connection := range w.connections {
		n := 0
		for k := range 10 {
			i := k*w.connections + connection
			if w.job(i, noon).Batch != w.isSpark(i) {
				t.Errorf("the simulator has job %d as another type", i)
			}
			if w.isSpark(i) {
				n++
			}
		}
		if n != 3 {
			t.Errorf("%d of ten jobs of connection %d are Spark jobs, want 3", n, connection)
		}
	}
}

func TestPopulationChanges(t *testing.T) {
	p := &population{policy: usual()}
	p.add(noon.Add(-time.Hour), false)
	p.created(0, noon.Add(-time.Minute)) // before the window
	p.willChange(0, noon.Add(10*time.Second))
	p.add(noon, true)
	p.created(1, noon.Add(time.Second))
	p.willBecome(1, noon.Add(4*time.Second))
	p.willChange(1, noon.Add(time.Hour)) // after the window
	if got := p.changes(noon, noon.Add(time.Minute)); got != 3 {
		t.Errorf("got %d changes, want the end of one job, the creation and the launch of the other", got)
	}
	if got := p.active(noon.Add(time.Minute)); got != 1 {
		t.Errorf("got %d active jobs, want 1", got)
	}
}

func TestPopulationNews(t *testing.T) {
	p := &population{policy: usual()}
	p.add(noon, false)
	p.show(0, "RUNNING", true, false, noon)
	p.show(0, "RUNNING", true, false, noon)
	p.show(0, "FINISHED", true, true, noon)
	p.show(7, "an unknown job", true, true, noon)
	if got, want := p.counted(), (eventCounts{all: 3, news: 2, figures: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := p.unpolled(); got != 0 {
		t.Errorf("got %d jobs that were not polled, want 0", got)
	}
}

func TestPopulationLateness(t *testing.T) {
	p := &population{policy: usual()}
	told := map[string]time.Time{}
	for _, late := range []time.Duration{30 * time.Second, 67 * time.Second, 0} {
		j := p.add(noon.Add(-time.Hour), false)
		p.willChange(j.index, noon)
		if late > 0 {
			told[nameOf(j.index)] = noon.Add(late - 10*time.Second)
			p.show(j.index, "FINISHED", true, true, noon.Add(late))
		}
	}
	p.seen(told)
	l := p.lateness(noon.Add(-time.Second), noon.Add(time.Second), noon.Add(90*time.Second))
	if d := l.stored; l.ends != 3 || d.missing != 1 || d.p50 != 67 || d.max != 90 || d.shareMax != 1.5 || d.beyondMax != 24 {
		t.Errorf("stored: got %d ends, %+v", l.ends, d)
	}
	if d := l.seen; d.missing != 1 || d.p50 != 57 || d.beyondP50 != -9 || d.max != 90 {
		t.Errorf("seen: got %+v", d)
	}
	if got := p.unstored(noon); got != 1 {
		t.Errorf("got %d ends that were not stored, want 1", got)
	}
	if ends, p50, last := p.storedAfter(noon.Add(60*time.Second), noon.Add(90*time.Second)); ends != 1 || p50 != 7 || last != 7 {
		t.Errorf("got %d, %v, %v, want the one that was reported before and stored 7 s after", ends, p50, last)
	}
}

func TestPopulationWantedPolls(t *testing.T) {
	p := &population{policy: usual()}
	p.add(noon.Add(-time.Hour), false)
	p.created(0, noon.Add(-time.Hour))
	if got := p.wanted(noon, noon.Add(10*time.Minute)); math.Abs(got-10) > 0.01 {
		t.Errorf("got %v polls in ten minutes, want 10", got)
	}
	p.willChange(0, noon.Add(4*time.Minute))
	if got := p.wanted(noon, noon.Add(10*time.Minute)); math.Abs(got-5) > 0.01 {
		t.Errorf("got %v polls of a job that ends after four minutes, want 4 and one after the end", got)
	}
}

func TestSeries(t *testing.T) {
	s, err := testenv.ReadSeries(strings.NewReader(`# TYPE writes counter
writes{result="written"} 7
writes{result="conflict"} 1
writes_total 9
late_bucket{le="0.1"} 90
late_bucket{le="0.5"} 99
late_bucket{le="+Inf"} 100
late_count 100
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Sum("writes"); got != 8 {
		t.Errorf("got %v writes, want 8", got)
	}
	if got := s.Sum("writes", `result="conflict"`); got != 1 {
		t.Errorf("got %v conflicts, want 1", got)
	}
	if got := s.Within("late", testenv.Series{}, 0.99); got != 0.5 {
		t.Errorf("got %v, want 99 %% within 0.5", got)
	}
}

func TestReporting(t *testing.T) {
	before := testenv.Series{
		`dli_operator_job_ends_total{outcome="Failed"}`: 1, `dli_operator_status_writes_total{result="written"}`: 10,
		`dli_operator_status_writes_total{result="conflict"}`: 1, `rest_client_requests_total{method="POST"}`: 5,
	}
	after := testenv.Series{
		`dli_operator_job_ends_total{outcome="Failed"}`: 2, `dli_operator_job_ends_total{outcome="Succeeded"}`: 3,
		`dli_operator_status_writes_total{result="written"}`: 20, `dli_operator_status_writes_total{result="conflict"}`: 9,
		`rest_client_requests_total{method="POST"}`: 11, `rest_client_requests_total{method="PATCH"}`: 70,
	}
	if got, want := reportingOf(before, after, 8), (reporting{events: 1.5, writes: 2.5, seriesBefore: 3, seriesAfter: 4, seriesPerJob: 0.5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	var printed strings.Builder
	(&stage{reporting: reportingOf(before, after, 8)}).print(&printed)
	for _, line := range []string{
		"Events per end of a job: 1.50", "status writes per end of a job: 2.50", "metric series before the window: 3", "metric series after it: 4", "metric series per job: 0.500",
	} {
		if !strings.Contains(printed.String(), "\n"+line+"\n") {
			t.Errorf("the report has no line %q", line)
		}
	}
	idle := reportingOf(before, before, 8)
	if got := idle.rows()[0].value; got != "–" {
		t.Errorf("%s Events per end without ends", got)
	}
}

func TestOnlyCountsFailTheSmokeTest(t *testing.T) {
	good := func() stage {
		return stage{polling: polling{kept: 1}, effort: effort{cpu: 9, floor: 1, controlPlaneNet: 9}, writing: writing{changes: 100, written: 100}}
	}
	for name, test := range map[string]struct {
		spoil func(*stage)
		fails bool
	}{
		"expensive polls": {func(*stage) {}, false},
		"too few polls":   {func(s *stage) { s.kept = 0.9 }, true},
		"too many writes": {func(s *stage) { s.written = 110 }, true},
		"too many dials":  {func(s *stage) { s.dials = 1000 }, true},
		"nothing counted": {func(s *stage) { s.kept = math.NaN() }, true},
	} {
		s := good()
		test.spoil(&s)
		r := report{options: options{smoke: true}, stages: []stage{s}, began: noon}
		if err := r.printBudgets(io.Discard); (err != nil) != test.fails {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// hack/pictures reads the output of the benchmark.
func TestPicturesReadTheOutput(t *testing.T) {
	s := stage{jobs: 4711}
	s.done, s.cpu, s.floor = 78.5, 0.4, 0.3
	s.stored.shareP50, s.stored.shareP99, s.stored.shareMax = 0.5, 1.0, 1.1
	r := report{stages: []stage{s}, began: noon}
	var printed strings.Builder
	s.print(&printed)
	if err := r.print(&printed); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	output, figures := filepath.Join(dir, "bench.log"), filepath.Join(dir, "performance.json")
	for path, text := range map[string]string{output: printed.String(), figures: "{}"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "go", "-C", "../../hack/pictures", "run", ".", "-dir="+dir, output).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got struct{ Operator []map[string]any }
	if err := json.Unmarshal([]byte(testenv.Read(t, figures)), &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{
		"jobs": 4711.0, "source": "make bench, 2026-11-22", "pollsPerSecond": 78.5,
		"cpuSecondsPer1000Polls": 0.4, "bareClientCPUSecondsPer1000Polls": 0.3,
		"lateP50": 0.5, "lateP99": 1.0, "lateMax": 1.1,
	}}
	if !reflect.DeepEqual(got.Operator, want) {
		t.Errorf("got %v, want %v", got.Operator, want)
	}
	if drawn, err := filepath.Glob(filepath.Join(dir, "*.svg")); err != nil || len(drawn) != 4 {
		t.Errorf("got the pictures %v, %v, want two for light and two for dark pages", drawn, err)
	}
}

func TestInvalidFlags(t *testing.T) {
	tests := map[string][]string{
		"numbers that are not ascending":       {"-jobs=10,10"},
		"a window shorter than an interval":    {"-window=30s"},
		"a range whose bounds are swapped":     {"-ages=2h-1h"},
		"a minimum interval above the maximum": {"-poll-interval-min=2m"},
		"a negative number of ends":            {"-ends-per-second=-1"},
		"more Spark jobs than jobs":            {"-spark=1.1"},
		"an argument":                          {"x"},
	}
	for name, args := range tests {
		if _, err := parse(args); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := parse(nil); err != nil {
		t.Errorf("the defaults are rejected: %v", err)
	}
	o, err := parse([]string{"-ends-per-second=100", "-writes-stopped=60s"})
	if want := 156 * time.Second; err != nil || o.window != want {
		t.Errorf("got a window of %v, %v, want %v", o.window, err, want)
	}
	if _, err := parse([]string{"-smoke"}); err != nil {
		t.Errorf("the smoke test is rejected: %v", err)
	}
}
