// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dli-operator/dli-operator/internal/metrics"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// described is a metric in docs/metrics.md.
type described struct {
	kind   string
	labels []string
}

// documented returns the metrics in docs/metrics.md by name.
func documented(t *testing.T) map[string]described {
	t.Helper()
	heading := regexp.MustCompile("(?m)^### (dli_operator_\\w+)\n\n(Counter|Gauge|Histogram)(?:, by ((?:`\\w+`(?:, | and )?)+))?\\. ")
	metrics := map[string]described{}
	page := testenv.Read(t, root+"/docs/metrics.md")
	for _, found := range heading.FindAllStringSubmatch(page, -1) {
		labels := regexp.MustCompile(`\w+`).FindAllString(strings.ReplaceAll(found[3], " and ", " "), -1)
		slices.Sort(labels)
		metrics[found[1]] = described{strings.ToLower(found[2]), labels}
	}
	if n := strings.Count(page, "\n### dli_operator_"); n != len(metrics) {
		t.Errorf("docs/metrics.md has %d metrics, but only %d have a type and labels", n, len(metrics))
	}
	return metrics
}

// registered returns the labels of the metrics that the operator registers, by name.
func registered(t *testing.T) map[string][]string {
	t.Helper()
	r := &registry{}
	metrics.NewRecorder(r, "v1.2.3")
	if err := metrics.RegisterGauges(r, nil, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	description := regexp.MustCompile(`fqName: "(\w+)".*constLabels: \{(.*?)\}, variableLabels: \{(.*?)\}`)
	metrics := map[string][]string{}
	for _, desc := range r.descriptions {
		found := description.FindStringSubmatch(desc)
		if found == nil {
			t.Fatalf("cannot read %s", desc)
		}
		labels := regexp.MustCompile(`\w+`).FindAllString(regexp.MustCompile(`="[^"]*"`).ReplaceAllString(found[2]+","+found[3], ""), -1)
		slices.Sort(labels)
		metrics[found[1]] = labels
	}
	return metrics
}

// registry records the collectors.
type registry struct {
	prometheus.Registerer
	descriptions []string
}

func (r *registry) Register(c prometheus.Collector) error {
	descriptions := make(chan *prometheus.Desc, 100)
	c.Describe(descriptions)
	close(descriptions)
	for desc := range descriptions {
		r.descriptions = append(r.descriptions, desc.String())
	}
	return nil
}

func (r *registry) MustRegister(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		_ = r.Register(c)
	}
}

func TestEveryMetricIsDocumented(t *testing.T) {
	documented, registered := documented(t), registered(t)
	for name, labels := range registered {
		if got, ok := documented[name]; !ok {
			t.Errorf("docs/metrics.md lacks %s", name)
		} else if !slices.Equal(got.labels, labels) {
			t.Errorf("%s has the labels %v, but docs/metrics.md says %v", name, labels, got.labels)
		}
	}
	for name := range documented {
		if _, ok := registered[name]; !ok {
			t.Errorf("docs/metrics.md has %s, but the operator does not", name)
		}
	}
}

// A query for a metric that does not exist returns nothing, which looks like all is
// well.
func TestQueries(t *testing.T) {
	registered := registered(t)
	for _, file := range []string{"config/prometheus/rules.yaml", "config/prometheus/rules_test.yaml", "config/prometheus/dashboard.json", "docs/metrics.md"} {
		names := regexp.MustCompile(`\bdli_operator_\w+`).FindAllString(testenv.Read(t, root+"/"+file), -1)
		if len(names) == 0 {
			t.Errorf("%s uses no metrics", file)
		}
		for _, name := range names {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				name = strings.TrimSuffix(name, suffix)
			}
			if _, ok := registered[name]; !ok {
				t.Errorf("%s uses %s, which the operator does not have", file, name)
			}
		}
	}
}

// examples returns the example queries in docs/metrics.md.
func examples(t *testing.T) []string {
	t.Helper()
	page := testenv.Read(t, root+"/docs/metrics.md")
	var queries []string
	for _, found := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(page, -1) {
		queries = append(queries, found[1])
	}
	if len(queries) < len(documented(t)) {
		t.Errorf("docs/metrics.md has only %d examples", len(queries))
	}
	return queries
}
