// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"strings"
	"testing"

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
}

func (s *server) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
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

// A job that may not use a connection is told the same as if there were none.
func TestResolve(t *testing.T) {
	granted := object("shared")
	granted.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
		From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}},
	}
	connections := []*v1alpha1.DLIConnection{granted}
	for name, test := range map[string]struct {
		cache  server
		reason string
	}{
		"with a connection that allows its namespace":      {cache: server{connections: connections, namespaces: map[string]map[string]string{"b": {"team": "b"}}}},
		"with one that does not":                           {cache: server{connections: connections, namespaces: map[string]map[string]string{"b": {"team": "c"}}}, reason: "ConnectionNotAllowed"},
		"with one that allows a namespace that is unknown": {cache: server{connections: connections}, reason: "ConnectionNotAllowed"},
		"without a connection":                             {reason: "ConnectionNotAllowed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRegistry(&test.cache, nil, Options{}, fake(nil))
			job := &v1alpha1.DLIJob{ObjectMeta: metav1.ObjectMeta{Namespace: "b"}}
			job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Namespace: "team", Name: "shared"}
			conn, err := r.Resolve(t.Context(), job)
			switch failure, _ := AsFailure(err); {
			case test.reason == "" && (err != nil || conn.Name != "shared"):
				t.Errorf("it uses %v: %v", conn, err)
			case test.reason != "" && (failure == nil || failure.Reason != test.reason):
				t.Errorf("the error is %v, want %s", err, test.reason)
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
