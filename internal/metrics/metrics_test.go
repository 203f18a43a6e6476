// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// The label reason has no other values than the reasons of a DLIJob.
func TestReasonsAreAClosedSet(t *testing.T) {
	ofJobs, _, _ := strings.Cut(testenv.Read(t, "../../api/v1alpha1/conditions.go"), "// Reasons of Ready of a DLIConnection")
	var defined []string
	for _, reason := range regexp.MustCompile(`(?m)^\tReason\w+ += "(\w+)"$`).FindAllStringSubmatch(ofJobs, -1) {
		if reason[1] != v1alpha1.ReasonPollSucceeded && reason[1] != v1alpha1.ReasonOutcomeContradicted { // only of Synced
			defined = append(defined, reason[1])
		}
	}
	if !slices.Equal(defined, readyReasons) {
		t.Errorf("the label knows %q, want %q", readyReasons, defined)
	}
}

// A write or a request of a deleted connection may end after it.
func TestSeriesEndWithTheirConnection(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewRecorder(registry, "test")
	count := func() {
		milliseconds := int64(1)
		m.Requested("a/b", "status", time.Second, nil)
		m.CountBytes("a/b", 1)
		m.CountEnd("a/b", &v1alpha1.DLIJob{Status: v1alpha1.DLIJobStatus{Outcome: v1alpha1.OutcomeSucceeded, DurationMilliseconds: &milliseconds}})
	}
	named := func() (n int) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				for _, label := range metric.GetLabel() {
					if label.GetValue() == "a/b" {
						n++
					}
				}
			}
		}
		return n
	}
	m.KeepConnection("a/b", true)
	count()
	if n := named(); n != 5 {
		t.Errorf("the connection has %d metrics, want 5", n)
	}
	m.KeepConnection("a/b", false)
	count()
	if n := named(); n != 0 {
		t.Errorf("the deleted connection has %d metrics", n)
	}
	m.KeepConnection("a/b", true)
	count()
	if n := named(); n != 5 {
		t.Errorf("a new connection of the same name has %d metrics, want 5", n)
	}
}

// A scrape right after the start has everything but the jobs.
func TestScrapesBeforeTheCacheIsFilled(t *testing.T) {
	scheme := runtime.NewScheme()
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("DLIJob"), meta.RESTScopeNamespace)
	jobs, err := cache.New(&rest.Config{}, cache.Options{Scheme: scheme, Mapper: mapper})
	if err := errors.Join(err, v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	NewRecorder(registry, "test")
	connections := connection.NewRegistry(jobs, jobs, connection.Options{}, nil)
	if err := RegisterGauges(registry, jobs, connections, nil, clock.RealClock{}); err != nil {
		t.Fatal(err)
	}
	if families, err := registry.Gather(); err != nil || len(families) == 0 {
		t.Errorf("%d metrics are served, %v", len(families), err)
	}
}
