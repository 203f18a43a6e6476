// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// Both ways of installing must result in the same operator.
func TestChartLikeKustomize(t *testing.T) {
	t.Run("by default", func(t *testing.T) {
		same(t, kustomize(t, filepath.Join(config, "default")), mustRender(t, "dli-operator", ""))
	})
	t.Run("with all optional components", func(t *testing.T) {
		same(t, kustomize(t, withComponents(t)), mustRender(t, "dli-operator", everything))
	})
	t.Run("with permissions for some namespaces only", func(t *testing.T) {
		same(t, kustomize(t, filepath.Join(config, "namespaced")), mustRender(t, "dli-operator", namespaced))
	})
}

// Helm logs a line for each symbolic link in a chart.
func TestHelmLogsNothing(t *testing.T) {
	command := exec.CommandContext(t.Context(), helm(t), "template", "dli-operator", chart)
	var logged bytes.Buffer
	command.Stderr = &logged
	if _, err := command.Output(); err != nil || logged.Len() > 0 {
		t.Errorf("%v\n%s", err, logged.String())
	}
}

func kustomize(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	return parse(t, testenv.Kubectl(t, "", "", "kustomize", dir))
}

// withComponents returns a copy of config/default with the optional components enabled.
func withComponents(t *testing.T) string {
	t.Helper()
	copied := t.TempDir()
	for _, part := range []string{"crd", "default", "manager", "network-policy", "prometheus", "rbac"} {
		if err := os.CopyFS(filepath.Join(copied, part), os.DirFS(filepath.Join(config, part))); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(copied, "default", "kustomization.yaml")
	text := regexp.MustCompile(`(?m)^#(components:|- )`).ReplaceAllString(testenv.Read(t, file), "$1")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(file)
}

func same(t *testing.T, kustomized, charted []*unstructured.Unstructured) {
	t.Helper()
	want, got := normalized(kustomized), normalized(charted)
	// The chart leaves the namespace to helm install --create-namespace.
	delete(want, "Namespace dli-operator-system")
	if len(want) < 9 {
		t.Fatalf("kustomize renders only %d objects", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kustomize (-) and the chart (+) differ:\n%s", diff)
	}
}

// normalized returns the objects by name, without the labels and annotations that Helm
// adds.
func normalized(objects []*unstructured.Unstructured) map[string]any {
	byName := map[string]any{}
	for _, o := range objects {
		o = o.DeepCopy()
		name := o.GetKind() + " " + o.GetName()
		if o.GetNamespace() != "" {
			name = o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
		}
		labels := o.GetLabels()
		for _, helms := range []string{"app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"} {
			delete(labels, helms)
		}
		o.SetLabels(labels)
		annotations := o.GetAnnotations()
		delete(annotations, "helm.sh/resource-policy")
		o.SetAnnotations(annotations)
		// Helm adds it to the selectors too, so that releases in one namespace do not
		// select each other's pods.
		withoutKey(o.Object, "app.kubernetes.io/instance")
		if metadata := o.Object["metadata"].(map[string]any); len(o.GetLabels()) == 0 {
			delete(metadata, "labels")
		}
		byName[name] = o.Object
	}
	return byName
}

// withoutKey removes a key at all levels.
func withoutKey(value any, key string) {
	switch value := value.(type) {
	case map[string]any:
		delete(value, key)
		for _, inner := range value {
			withoutKey(inner, key)
		}
	case []any:
		for _, inner := range value {
			withoutKey(inner, key)
		}
	}
}
