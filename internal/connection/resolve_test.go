// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// server is a cache or an API server with some DLIConnections and Namespaces.
type server struct {
	connections []*v1alpha1.DLIConnection
	// namespaces has their labels.
	namespaces map[string]map[string]string
	// reads counts the objects that were asked for.
	reads int
}

func (s *server) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.reads++
	switch into := into.(type) {
	case *v1alpha1.DLIConnection:
		for _, conn := range s.connections {
			if client.ObjectKeyFromObject(conn) == key {
				conn.DeepCopyInto(into)
				return nil
			}
		}
	case *metav1.PartialObjectMetadata:
		if labels, ok := s.namespaces[key.Name]; ok {
			into.Labels = labels
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (*server) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// A selector is parsed once per edit, not once per job.
func TestASelectorIsParsedOnce(t *testing.T) {
	r := NewRegistry(&server{}, &server{}, Options{}, fake(nil))
	edited := object("shared")
	edited.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
		From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}},
	}
	r.Configure(edited)
	if n := testing.AllocsPerRun(10, func() { r.selectorOf(edited) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// What was created together with a job may reach the cache later than the job: the API
// server is asked once before the job is told that it has no connection.
func TestResolveNewJobs(t *testing.T) {
	granted := object("shared")
	granted.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
		From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}},
	}
	namespace := map[string]map[string]string{"b": {"team": "b"}}
	complete := server{connections: []*v1alpha1.DLIConnection{granted}, namespaces: namespace}
	for name, test := range map[string]struct {
		cache, live server
		age         time.Duration
		reason      string
		reads       bool
	}{
		"from the cache if it has everything":            {cache: complete},
		"with a connection that the cache does not have": {cache: server{namespaces: namespace}, live: complete, reads: true},
		"with a namespace that the cache does not have": {
			cache: server{connections: complete.connections}, live: complete, reads: true,
		},
		"without a connection":             {reason: "ConnectionNotAllowed", reads: true},
		"of old ones from the cache alone": {live: complete, age: time.Hour, reason: "ConnectionNotAllowed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRegistry(&test.cache, &test.live, Options{}, fake(nil))
			job := &v1alpha1.DLIJob{ObjectMeta: metav1.ObjectMeta{
				Namespace: "b", CreationTimestamp: metav1.NewTime(time.Now().Add(-test.age)),
			}}
			job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Namespace: "team", Name: "shared"}
			conn, err := r.Resolve(t.Context(), job, time.Now())
			switch failure, _ := AsFailure(err); {
			case test.reason == "" && (err != nil || conn.Name != "shared"):
				t.Errorf("it uses %v: %v", conn, err)
			case test.reason != "" && (failure == nil || failure.Reason != test.reason):
				t.Errorf("the error is %v, want %s", err, test.reason)
			}
			if (test.live.reads > 0) != test.reads {
				t.Errorf("the API server was asked %d times", test.live.reads)
			}
		})
	}
}

// A selector is parsed once per edit, and may have only so many values.
func TestSelector(t *testing.T) {
	r, _ := registry(answering)
	selecting := func(values int) *v1alpha1.DLIConnection {
		o := object("a")
		requirement := metav1.LabelSelectorRequirement{Key: "team", Operator: metav1.LabelSelectorOpIn}
		for i := range values {
			requirement.Values = append(requirement.Values, fmt.Sprint("v", i))
		}
		o.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{requirement},
		}}
		return o
	}
	o := selecting(maxSelected)
	r.Configure(o)
	if parses := testing.AllocsPerRun(10, func() { r.selectorOf(o) }); parses > 0 {
		t.Errorf("%v allocations, so it is parsed each time", parses)
	}
	o = selecting(maxSelected + 1)
	o.Generation++
	conn := r.Configure(o)
	if health := conn.Health(noon); health.Reason != v1alpha1.ReasonSelectorInvalid || !strings.Contains(health.Message, "1001 values") {
		t.Errorf("with too many values it reports %+v", health)
	}
}
