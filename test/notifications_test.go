// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// The exporter's templates get an Event of the core API, in which the operator's Events
// must be found as the page says.
func TestNotificationsNameTheJobAndItsError(t *testing.T) {
	w := world.New(t, controlPlane)
	w.DLI.SetJob(dlitest.Query("nightly-load").Running(time.Second).Fails("DLI.0005: no such table"))
	w.WatchJob("nightly-load")
	w.Options.Controllers.Schedule = quick()
	w.Start()

	var exporter struct {
		Route struct {
			Routes []struct {
				Match []struct{ Kind, Type, Receiver string }
			}
		}
		Receivers []struct {
			Name    string
			Webhook struct{ Layout map[string]any }
		}
	}
	block := testenv.CodeBlock(t, testenv.Read(t, "../docs/notifications.md"), "yaml", "logLevel")
	if err := yaml.Unmarshal([]byte(block), &exporter); err != nil {
		t.Fatal(err)
	}
	match := exporter.Route.Routes[0].Match
	if len(match) != len(exporter.Receivers) || len(match) < 4 {
		t.Fatalf("%d matches have %d receivers", len(match), len(exporter.Receivers))
	}
	var event corev1.Event
	if !eventually(func() bool {
		list := &corev1.EventList{}
		if err := admin.List(t.Context(), list, client.InNamespace(w.Namespace)); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Kind == match[0].Kind && e.Type == match[0].Type {
				event = e
				return true
			}
		}
		return false
	}) {
		t.Fatalf("there is no Event of kind %s and type %s", match[0].Kind, match[0].Type)
	}
	for i, receiver := range exporter.Receivers {
		if match[i].Receiver != receiver.Name || match[i].Kind != match[0].Kind || match[i].Type != match[0].Type {
			t.Errorf("the match of %s is %+v", receiver.Name, match[i])
		}
		layout, err := json.Marshal(receiver.Webhook.Layout)
		if err != nil {
			t.Fatal(err)
		}
		var message strings.Builder
		if err := template.Must(template.New(receiver.Name).Parse(string(layout))).Execute(&message, event); err != nil {
			t.Errorf("%s: %v", receiver.Name, err)
		}
		for _, want := range []string{w.Namespace + "/nightly-load", "JobFailed", "DLI.0005: no such table"} {
			if !strings.Contains(message.String(), want) {
				t.Errorf("the message to %s does not say %q: %s", receiver.Name, want, message.String())
			}
		}
	}
}

// An end is counted when it is stored: not again if its status is restored, or by the next
// leader. The series of a connection end with it.
func TestAnEndIsCountedOnce(t *testing.T) {
	t.Parallel()
	w := world.New(t, controlPlane)
	w.Options.Controllers.Schedule = quick()
	w.DLI.SetJob(dlitest.Query("fails").Running(2 * time.Second).Fails("DLI.0005: no such table"))
	job := w.WatchJob("fails")
	first := w.Start()
	w.AwaitReason(job, v1alpha1.ReasonJobFailed)
	failed := map[string]string{"namespace": w.Namespace, "connection": w.Namespace + "/default", "type": "SQL", "outcome": "Failed"}
	awaitEnds(t, first, 1, failed)
	if m := metricOf(t, first, "dli_operator_job_duration_seconds", map[string]string{"connection": failed["connection"], "type": "SQL", "outcome": "Failed"}); m.count != 1 || m.sum < 2 {
		t.Errorf("a job ran for 2 s, but the histogram has %+v", m)
	}
	world.ChangeStatus(w, job, func(job *v1alpha1.DLIJob) { job.Status = v1alpha1.DLIJobStatus{} })
	w.AwaitReason(job, v1alpha1.ReasonJobFailed)

	first.Stop()
	second := w.Start()
	w.Finishes("finishes")
	w.AwaitReason(w.WatchJob("finishes"), v1alpha1.ReasonJobFinished)
	succeeded := maps.Clone(failed)
	succeeded["outcome"] = "Succeeded"
	awaitEnds(t, second, 1, succeeded)
	for name, o := range map[string]*world.Operator{"the first": first, "the second": second} {
		want := map[string]float64{"the first": 1}[name]
		if n := metricOf(t, o, "dli_operator_job_ends_total", failed).value; n != want {
			t.Errorf("%s operator counted the end %v times, want %v", name, n, want)
		}
	}
	if err := w.Delete(t.Context(), &v1alpha1.DLIConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "default"}}); err != nil {
		t.Fatal(err)
	}
	awaitEnds(t, second, 0, succeeded)
}

func awaitEnds(t *testing.T, o *world.Operator, want float64, labels map[string]string) {
	t.Helper()
	count := func() float64 { return metricOf(t, o, "dli_operator_job_ends_total", labels).value }
	if !eventually(func() bool { return count() == want }) {
		t.Fatalf("%v ends are counted for %v, want %v", count(), labels, want)
	}
}

// The job that has been running longest is measured for each connection and type, for as long
// as it runs.
func TestTheLongestRun(t *testing.T) {
	t.Parallel()
	w := world.New(t, controlPlane)
	w.Options.Controllers.Schedule = quick()
	started := time.Now()
	for name, ago := range map[string]time.Duration{"long": 10 * time.Minute, "longer": 20 * time.Minute} {
		job := dlitest.Query(name).Running(time.Hour)
		job.Start = started.Add(-ago)
		w.DLI.SetJob(job)
		w.WatchJob(name)
	}
	o := w.Start()
	longest := func() time.Duration {
		labels := map[string]string{"connection": w.Namespace + "/default", "type": "SQL"}
		return time.Duration(metricOf(t, o, "dli_operator_job_longest_run_seconds", labels).value) * time.Second
	}
	isFor := func(runtime time.Duration) func() bool {
		return func() bool { return longest() >= runtime && longest() <= runtime+time.Since(started) }
	}
	if !eventually(isFor(20 * time.Minute)) {
		t.Errorf("the longest of 10 and 20 minutes is %v", longest())
	}
	w.Finishes("longer")
	if !eventually(isFor(10 * time.Minute)) {
		t.Errorf("the longest run is %v once that of 20 minutes has ended", longest())
	}
	w.Finishes("long")
	if !eventually(func() bool { return longest() == 0 }) {
		t.Errorf("the longest run is %v once both have ended", longest())
	}
}

// metric is the value of a counter or a gauge, or what a histogram has counted.
type metric struct {
	value, sum float64
	count      uint64
}

// metricOf returns the metric of a name with these labels; zero if there is none.
func metricOf(t *testing.T, o *world.Operator, name string, labels map[string]string) metric {
	t.Helper()
	families, err := o.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			has := map[string]string{}
			for _, label := range m.GetLabel() {
				has[label.GetName()] = label.GetValue()
			}
			if family.GetName() == name && maps.Equal(has, labels) {
				return metric{m.GetCounter().GetValue() + m.GetGauge().GetValue(), m.GetHistogram().GetSampleSum(), m.GetHistogram().GetSampleCount()}
			}
		}
	}
	return metric{}
}

// Recovery is news, of a job and of a connection: each has one Event per transition.
func TestRecoveryIsNews(t *testing.T) {
	t.Parallel()
	w := world.New(t, controlPlane)
	w.Options.Controllers.Schedule = quick()
	var jobs []*v1alpha1.DLIJob
	for _, name := range []string{"steady", "broken"} {
		w.Runs(name)
		jobs = append(jobs, w.WatchJob(name))
	}
	w.Start()
	for _, job := range jobs {
		w.AwaitReason(job, v1alpha1.ReasonJobRunning)
	}
	events := func(name string, want ...string) {
		t.Helper()
		var got []string
		if !eventually(func() bool {
			// Whether there is time to report a connection before its first response is chance.
			got = slices.DeleteFunc(w.Events(name), func(event string) bool { return event == "Normal Configured" })
			return slices.Equal(got, want)
		}) {
			t.Errorf("the Events of %s are %q, want %q", name, got, want)
		}
	}
	w.DLI.SetResponse("broken", &dlitest.Response{Status: http.StatusForbidden, Body: `{"error_code":"DLI.0003","error_msg":"no permission"}`})
	w.AwaitReason(jobs[1], v1alpha1.ReasonPermissionDenied)
	w.DLI.SetResponse("broken", nil)
	w.AwaitReason(jobs[1], v1alpha1.ReasonJobRunning)
	events("broken", "Normal JobRunning", "Warning PermissionDenied", "Normal PollSucceeded")
	events("steady", "Normal JobRunning")
	events("default", "Normal Connected")

	w.DLI.SetUsers()
	if !eventually(func() bool { return w.ConnectionReady("default").Reason == v1alpha1.ReasonCredentialsRejected }) {
		t.Fatalf("the connection is %+v", w.ConnectionReady("default"))
	}
	events("default", "Normal Connected", "Warning CredentialsRejected")
}
