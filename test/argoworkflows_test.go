// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// argoWorkflow holds the parts of an Argo workflow that the tests use.
type argoWorkflow struct {
	Spec struct {
		Volumes   []corev1.Volume `json:"volumes"`
		Templates []struct {
			Name      string            `json:"name"`
			Container *corev1.Container `json:"container"`
			Resource  *argoResource     `json:"resource"`
		} `json:"templates"`
	} `json:"spec"`
}

// argoResource is a template that creates an object and waits for its outcome.
type argoResource struct {
	SuccessCondition string `json:"successCondition"`
	FailureCondition string `json:"failureCondition"`
	Manifest         string `json:"manifest"`

	success, failure labels.Requirements
}

// argoExample returns the container that submits the SQL, its volumes, and the template
// that waits.
func argoExample(t *testing.T) (corev1.Container, []corev1.Volume, argoResource) {
	t.Helper()
	var workflow argoWorkflow
	readYAML(t, examples+"argo-workflows.yaml", &workflow)
	var submit *corev1.Container
	var wait *argoResource
	for _, template := range workflow.Spec.Templates {
		if template.Name == "submit-to-dli" {
			submit = template.Container
		}
		if template.Resource != nil {
			wait = template.Resource
		}
	}
	if submit == nil || wait == nil {
		t.Fatal("the example has no container that submits, or no resource template")
	}
	wait.success, wait.failure = requirements(t, wait.SuccessCondition), requirements(t, wait.FailureCondition)
	return *submit, workflow.Spec.Volumes, *wait
}

// argoWorkflows runs the example like Argo Workflows does.
func argoWorkflows(t *testing.T) pipeline {
	t.Helper()
	submit, volumes, wait := argoExample(t)
	return pipeline{
		func(ctx context.Context, r *pipelineRun) error {
			var result bytes.Buffer
			err := r.container(ctx, submit, volumes, &result)
			r.known["{{inputs.parameters.job-id}}"] = strings.TrimSuffix(result.String(), "\n")
			return err
		},
		wait.run,
	}
}

// run does what the executor of Argo Workflows does with a resource template.
func (a argoResource) run(ctx context.Context, r *pipelineRun) error {
	manifest, err := r.expand(a.Manifest)
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
		return err
	}
	object.SetNamespace(r.namespace)
	if err := r.client.Create(ctx, object); err != nil {
		return err
	}
	fmt.Fprintln(&r.output, "created", object.GetName())
	verdict := ""
	if !testenv.Within(time.Minute, func() bool {
		err = r.client.Get(ctx, client.ObjectKeyFromObject(object), object)
		verdict = a.verdict(object)
		return err != nil || verdict != "waits"
	}) {
		return fmt.Errorf("no condition matched %v", object)
	}
	fmt.Fprintln(&r.output, object.Object["status"])
	if err != nil || verdict != "succeeds" {
		return fmt.Errorf("the template %s: %w", verdict, err)
	}
	return nil
}

// verdict evaluates the conditions like the executor does. They are label selectors
// whose labels are paths in the object. One matching failure condition is enough; all
// success conditions must match.
func (a argoResource) verdict(object *unstructured.Unstructured) string {
	for _, requirement := range a.failure {
		if requirement.Matches(scalars(object.Object)) {
			return "fails"
		}
	}
	for _, requirement := range a.success {
		if !requirement.Matches(scalars(object.Object)) {
			return "waits"
		}
	}
	return "succeeds"
}

func requirements(t *testing.T, condition string) labels.Requirements {
	t.Helper()
	selector, err := labels.Parse(condition)
	if err != nil {
		t.Fatal(err)
	}
	requirements, selectable := selector.Requirements()
	if !selectable || len(requirements) == 0 {
		t.Fatalf("%q selects nothing", condition)
	}
	return requirements
}

// scalars presents the strings of an object as labels, keyed by path. Argo Workflows
// looks them up with gjson, which returns the same for such simple paths.
type scalars map[string]any

func (s scalars) Lookup(path string) (string, bool) {
	value, found, err := unstructured.NestedString(s, strings.Split(path, ".")...)
	return value, found && err == nil
}

func (s scalars) Has(path string) bool { _, found := s.Lookup(path); return found }

func (s scalars) Get(path string) string { value, _ := s.Lookup(path); return value }

func TestArgoWorkflowsConditions(t *testing.T) {
	everyState.reach(t)
	_, _, wait := argoExample(t)
	for _, state := range states() {
		want := "waits"
		switch {
		case state.outcome == v1alpha1.OutcomeSucceeded:
			want = "succeeds"
		case state.argoCD == degraded:
			want = "fails"
		}
		if got := wait.verdict(fetch(t, "DLIJob", state.name)); got != want {
			t.Errorf("with DLIJob %s, the template %s; want %s", state.name, got, want)
		}
	}
}
