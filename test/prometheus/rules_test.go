// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// rule is an alert of config/prometheus/rules.yaml.
type rule struct {
	Alert       string            `json:"alert"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// rules returns the alerts, and writes them to a file for Prometheus.
func rules(t *testing.T) (alerts []rule, file string) {
	t.Helper()
	var object struct {
		Spec map[string]any `json:"spec"`
	}
	if err := yaml.Unmarshal([]byte(testenv.Read(t, config+"/prometheus/rules.yaml")), &object); err != nil {
		t.Fatal(err)
	}
	groups, err := yaml.Marshal(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Groups []struct {
			Rules []rule `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal(groups, &parsed); err != nil {
		t.Fatal(err)
	}
	for _, group := range parsed.Groups {
		alerts = append(alerts, group.Rules...)
	}
	return alerts, write(t, "groups.yaml", groups)
}

func TestAlertsFire(t *testing.T) {
	_, groups := rules(t)
	promtool := filepath.Join(testenv.Assets(t, "prometheus"), "promtool")
	if out, err := testenv.Exec(t, nil, "", promtool, "check", "rules", "--lint=all", "--lint-fatal", groups); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	cases := filepath.Join(filepath.Dir(groups), "rules_test.yaml")
	if err := os.WriteFile(cases, []byte(testenv.Read(t, config+"/prometheus/rules_test.yaml")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := testenv.Exec(t, nil, "", promtool, "test", "rules", cases); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAlertsHaveRunbooks(t *testing.T) {
	alerts, _ := rules(t)
	cases, page := testenv.Read(t, config+"/prometheus/rules_test.yaml"), testenv.Read(t, root+"/docs/metrics.md")
	for _, alert := range alerts {
		if severity := alert.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s: severity is %q", alert.Alert, severity)
		}
		for _, annotation := range []string{"summary", "description"} {
			if alert.Annotations[annotation] == "" {
				t.Errorf("%s has no %s", alert.Alert, annotation)
			}
		}
		if want := "/docs/metrics.md#" + strings.ToLower(alert.Alert); !strings.HasSuffix(alert.Annotations["runbook_url"], want) {
			t.Errorf("%s: the runbook is %s, want ...%s", alert.Alert, alert.Annotations["runbook_url"], want)
		}
		if !strings.Contains(page, "\n### "+alert.Alert+"\n") {
			t.Errorf("docs/metrics.md does not say what to do about %s", alert.Alert)
		}
		if !strings.Contains(cases, alert.Alert) {
			t.Errorf("rules_test.yaml does not test %s", alert.Alert)
		}
	}
	if headings := strings.Count(page, "\n### DLI"); headings != len(alerts) {
		t.Errorf("docs/metrics.md explains %d alerts, but there are %d", headings, len(alerts))
	}
}
