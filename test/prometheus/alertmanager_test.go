// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// A job fails, and somebody is told which, why, and how to look further: by a real
// Prometheus with the shipped alerts and a real Alertmanager with the documented routes.
// What kube-state-metrics would expose is computed from its configuration.
func TestAlertsReachPeople(t *testing.T) {
	c := newCluster(t)
	dli := testenv.DLI(t, dlitest.WithStartOnRequest())
	dli.SetJob(dlitest.Query("nightly-load").Running(time.Second).Fails("DLI.0005: no such table"))
	dli.SetJob(dlitest.Insert("inserted").Running(time.Second).Inserts(3, 1))
	dli.SetJob(dlitest.Query("slow").Running(time.Hour))
	c.Kubectl("", "create", "namespace", "analytics")
	c.Connect("analytics", dli)
	c.watch("analytics", "nightly-load", v1alpha1.DLIJobSpec{})
	c.watch("analytics", "inserted", v1alpha1.DLIJobSpec{})
	c.watch("analytics", "slow", v1alpha1.DLIJobSpec{ActiveDeadlineSeconds: new(int64(2))})
	objectMetrics := readObjectMetrics(t)

	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, object := range dliJobs(t, c) {
			for _, series := range objectMetrics.seriesOf(object) {
				fmt.Fprintln(w, strings.Join(series, "\n"))
			}
		}
	}))
	t.Cleanup(exporter.Close)
	alertmanager, received := startAlertmanager(t)
	operator := c.operator("--metrics-secure=false")
	p := startPrometheus(t, 2, fmt.Sprintf(`
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs:
- job_name: kube-state-metrics
  honor_labels: true
  static_configs: [{targets: [%q]}]
- job_name: dli-operator
  honor_labels: true
  static_configs: [{targets: [%q]}]
`, alertmanager, strings.TrimPrefix(exporter.URL, "http://"), operator))

	message := received.await(t, "DLIJobFailed", "nightly-load")
	for _, want := range []string{
		"DLIJob analytics/nightly-load did not succeed: JobFailed.",
		"DLI.0005: no such table",
		"kubectl describe dlijob nightly-load --namespace analytics",
		"/docs/metrics.md#dlijobfailed",
	} {
		if !strings.Contains(message, want) {
			t.Errorf("the message does not say %q:\n%s", want, message)
		}
	}
	if message := received.await(t, "DLIJobLate", "slow"); !strings.Contains(message, "DLIJob analytics/slow runs longer than its deadline.") {
		t.Errorf("the message about the late job is:\n%s", message)
	}
	if message := received.find("DLIJobFailed", "inserted"); message != "" {
		t.Errorf("there is a message about a job that succeeded:\n%s", message)
	}

	// Nothing that kube-state-metrics is to read is missing from real DLIJobs.
	if missing := objectMetrics.pathsWithout(dliJobs(t, c)); len(missing) > 0 {
		t.Errorf("no DLIJob has %s", strings.Join(missing, ", "))
	}
	for query, want := range map[string]string{
		`dlijob_phase{name="inserted",phase="Succeeded"}`:         "1",
		`sum(dlijob_phase{name="inserted"})`:                      "1",
		`dlijob_result_rows{name="inserted"}`:                     "3",
		`dlijob_bad_rows{name="inserted"}`:                        "1",
		`time() - dlijob_completion_time_seconds < bool 600`:      "1",
		`count(dlijob_info{job_type="QUERY",namespace!~".*sys"})`: "2",
	} {
		eventually(t, query, func() error {
			if got, err := p.query(query); err != nil || slices.ContainsFunc(got, func(value string) bool { return value != want }) || len(got) == 0 {
				return fmt.Errorf("%v, %w", got, err)
			}
			return nil
		})
	}
}

// dliJobs returns the DLIJobs as kube-state-metrics sees them.
func dliJobs(t *testing.T, admin client.Client) (objects []any) {
	t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("DLIJobList"))
	if err := admin.List(t.Context(), list); err != nil {
		t.Error(err)
	}
	for _, item := range list.Items {
		objects = append(objects, item.Object)
	}
	return objects
}

// inbox keeps the alerts that a webhook received.
type inbox struct {
	mu     sync.Mutex
	alerts []alert
}

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func (i *inbox) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var message struct {
		Alerts []alert `json:"alerts"`
	}
	_ = json.NewDecoder(r.Body).Decode(&message) // without alerts, the test fails
	i.mu.Lock()
	defer i.mu.Unlock()
	i.alerts = append(i.alerts, message.Alerts...)
}

// find returns the annotations of an alert about a DLIJob; "" if there was none.
func (i *inbox) find(alertName, name string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, alert := range i.alerts {
		if alert.Labels["alertname"] == alertName && alert.Labels["name"] == name {
			return alert.Annotations["summary"] + "\n" + alert.Annotations["description"] + "\n" + alert.Annotations["runbook_url"]
		}
	}
	return ""
}

func (i *inbox) await(t *testing.T, alertName, name string) (message string) {
	t.Helper()
	eventually(t, alertName+" about "+name+" is received", func() error {
		if message = i.find(alertName, name); message == "" {
			i.mu.Lock()
			defer i.mu.Unlock()
			return fmt.Errorf("received %v", i.alerts)
		}
		return nil
	})
	return message
}

// startAlertmanager starts one with the configuration of docs/notifications.md, but one
// receiver, a webhook on this machine, and no waiting for more alerts. It returns its address.
func startAlertmanager(t *testing.T) (address string, received *inbox) {
	t.Helper()
	documented := testenv.CodeBlock(t, testenv.Read(t, root+"/docs/notifications.md"), "yaml", "route:")
	if out, err := testenv.Exec(t, nil, "", filepath.Join(testenv.Assets(t, "alertmanager"), "amtool"), "check-config", write(t, "documented.yaml", []byte(documented))); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	received = &inbox{}
	webhook := httptest.NewServer(received)
	t.Cleanup(webhook.Close)
	var configuration map[string]any
	if err := yaml.Unmarshal([]byte(documented), &configuration); err != nil {
		t.Fatal(err)
	}
	route := configuration["route"].(map[string]any)["routes"].([]any)[0].(map[string]any)
	route["group_wait"], route["group_interval"] = "1s", "1s"
	for _, receiver := range configuration["receivers"].([]any) {
		receiver := receiver.(map[string]any)
		isRouted := receiver["name"] == route["receiver"]
		clear(receiver)
		receiver["name"] = "default"
		if isRouted {
			receiver["name"], receiver["webhook_configs"] = route["receiver"], []any{map[string]any{"url": webhook.URL}}
		}
	}
	text, err := yaml.Marshal(configuration)
	if err != nil {
		t.Fatal(err)
	}
	address = freeAddress(t)
	testenv.Start(t, "", filepath.Join(testenv.Assets(t, "alertmanager"), "alertmanager"),
		"--config.file="+write(t, "alertmanager.yaml", text), "--storage.path="+t.TempDir(),
		"--web.listen-address="+address, "--cluster.listen-address=", "--log.level=warn")
	return address, received
}
