// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// customResourceState is the configuration of kube-state-metrics for custom resources, as
// its documentation describes it, and what it makes of an object. kube-state-metrics itself
// is not to be had as a module.
type customResourceState struct {
	Kind string `json:"kind"`
	Spec struct {
		Resources []struct {
			GroupVersionKind struct {
				Group   string `json:"group"`
				Version string `json:"version"`
				Kind    string `json:"kind"`
			} `json:"groupVersionKind"`
			ResourcePlural   string          `json:"resourcePlural"`
			MetricNamePrefix string          `json:"metricNamePrefix"`
			LabelsFromPath   map[string]path `json:"labelsFromPath"`
			Metrics          []objectMetric  `json:"metrics"`
		} `json:"resources"`
	} `json:"spec"`
}

// objectMetric has one of gauge, stateSet and info, as its type says.
type objectMetric struct {
	Name string `json:"name"`
	Help string `json:"help"`
	Each struct {
		Type  string `json:"type"`
		Gauge *struct {
			Path path `json:"path"`
		} `json:"gauge"`
		StateSet *struct {
			Path      path     `json:"path"`
			LabelName string   `json:"labelName"`
			List      []string `json:"list"`
		} `json:"stateSet"`
		Info *struct {
			Path           path            `json:"path"`
			LabelsFromPath map[string]path `json:"labelsFromPath"`
		} `json:"info"`
	} `json:"each"`
}

// path leads to a value in an object; [key=value] is an element of a list.
type path []string

func (p path) in(value any) any {
	for _, part := range p {
		switch parent := value.(type) {
		case map[string]any:
			value = parent[part]
		case []any:
			key, want, _ := strings.Cut(strings.Trim(part, "[]"), "=")
			i := slices.IndexFunc(parent, func(element any) bool { return element.(map[string]any)[key] == want })
			if i < 0 {
				return nil
			}
			value = parent[i]
		default:
			return nil
		}
	}
	return value
}

// readObjectMetrics reads the shipped configuration. Unknown fields are errors.
func readObjectMetrics(t *testing.T) (c customResourceState) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(testenv.Read(t, config+"/prometheus/kube_state_metrics.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if c.Kind != "CustomResourceStateMetrics" || len(c.Spec.Resources) != 1 {
		t.Fatalf("%s has %d resources", c.Kind, len(c.Spec.Resources))
	}
	return c
}

// seriesOf returns the series of an object by the name of their metric.
func (c customResourceState) seriesOf(object any) map[string][]string {
	resource := c.Spec.Resources[0]
	common := labelsAt(object, resource.LabelsFromPath)
	series := map[string][]string{}
	for _, metric := range resource.Metrics {
		name := resource.MetricNamePrefix + "_" + metric.Name
		add := func(labels map[string]string, value float64) {
			var text []string
			for _, label := range slices.Sorted(maps.Keys(labels)) {
				text = append(text, label+"="+strconv.Quote(labels[label]))
			}
			series[name] = append(series[name], fmt.Sprintf("%s{%s} %v", name, strings.Join(text, ","), value))
		}
		switch each := metric.Each; {
		case each.Type == "Gauge" && each.Gauge != nil:
			if value := each.Gauge.Path.in(object); value != nil {
				add(common, number(value))
			}
		case each.Type == "StateSet" && each.StateSet != nil:
			for _, state := range each.StateSet.List {
				labels := maps.Clone(common)
				labels[each.StateSet.LabelName] = state
				add(labels, number(each.StateSet.Path.in(object) == state))
			}
		case each.Type == "Info" && each.Info != nil:
			labels := labelsAt(each.Info.Path.in(object), each.Info.LabelsFromPath)
			if len(labels) > 0 {
				maps.Copy(labels, common)
				add(labels, 1)
			}
		}
	}
	return series
}

func labelsAt(object any, paths map[string]path) map[string]string {
	labels := map[string]string{}
	for label, path := range paths {
		if value := path.in(object); value != nil {
			labels[label] = fmt.Sprint(value)
		}
	}
	return labels
}

// number is the value of a gauge: a number, a time or whether something is so.
func number(value any) float64 {
	switch value := value.(type) {
	case int64:
		return float64(value)
	case string:
		at, err := time.Parse(time.RFC3339, value)
		if err != nil {
			panic(err)
		}
		return float64(at.Unix())
	case bool:
		if value {
			return 1
		}
	}
	return 0
}

// pathsWithout returns the paths of the configuration that lead to nothing in any of the
// objects.
func (c customResourceState) pathsWithout(objects []any) (missing []string) {
	resource := c.Spec.Resources[0]
	paths := slices.Collect(maps.Values(resource.LabelsFromPath))
	for _, metric := range resource.Metrics {
		switch each := metric.Each; {
		case each.Gauge != nil:
			paths = append(paths, each.Gauge.Path)
		case each.StateSet != nil:
			paths = append(paths, each.StateSet.Path)
		case each.Info != nil:
			for _, label := range each.Info.LabelsFromPath {
				paths = append(paths, slices.Concat(each.Info.Path, label))
			}
		}
	}
	for _, path := range paths {
		if !slices.ContainsFunc(objects, func(object any) bool { return path.in(object) != nil }) {
			missing = append(missing, strings.Join(path, "."))
		}
	}
	return missing
}
