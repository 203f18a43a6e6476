// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package helm tests the chart of config/helm with the real Helm: it renders the same
// objects as config/default, a real API server accepts them, and invalid values are
// rejected. It also tests the files of a release, which include the chart.
package helm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	config    = "../../config"
	chart     = config + "/helm/dli-operator"
	namespace = "dli-operator-system"
)

// everything enables what is off by default.
const everything = `
metrics:
  serviceMonitor: {enabled: true}
  rules: {enabled: true}
  dashboard: {enabled: true}
networkPolicy: {enabled: true}
`

// namespaced renders the same objects as config/namespaced.
const namespaced = `
crds: {install: false}
watchNamespaces: [team-a, team-b]
rbac: {namespaced: true}
`

// render returns the objects of a release of the chart, without those of helm test. Each of
// values is YAML; later ones have precedence.
func render(t *testing.T, release string, values ...string) ([]*unstructured.Unstructured, error) {
	t.Helper()
	args := []string{"template", release, chart, "--namespace=" + namespace, "--skip-tests"}
	for i, text := range values {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("values-%d.yaml", i))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--values="+file)
	}
	text, err := testenv.Exec(t, nil, "", helm(t), args...)
	if err != nil {
		return nil, err
	}
	return parse(t, text), nil
}

func mustRender(t *testing.T, release string, values ...string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := render(t, release, values...)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func parse(t *testing.T, text string) (objects []*unstructured.Unstructured) {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(&object.Object); {
		case errors.Is(err, io.EOF):
			return objects
		case err != nil:
			t.Fatalf("not YAML: %v\n%s", err, text)
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}

// find returns the object of a kind whose name ends with suffix; nil if there is none.
func find(objects []*unstructured.Unstructured, kind, suffix string) *unstructured.Unstructured {
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GetKind() == kind && strings.HasSuffix(o.GetName(), suffix)
	})
	if i < 0 {
		return nil
	}
	return objects[i]
}

// helm returns the path of the helm command.
func helm(t *testing.T) string {
	t.Helper()
	return filepath.Join(testenv.Assets(t, "helm"), "helm")
}
