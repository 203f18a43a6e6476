// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	previous   = "v9.9.8"
	published  = "v9.9.9"
	repository = "ghcr.io/dli-operator/dli-operator"
)

// This tests the files of make release and what users do with them. verify.sh checks
// that two runs produce the same bytes.
func TestAPublishedRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the managers of two platforms")
	}
	dir := filepath.Join(t.TempDir(), "dist")
	if out, err := testenv.Exec(t, nil, "", "../../hack/release/verify.sh", published, dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	chart := filepath.Join(dir, "dli-operator-"+strings.TrimPrefix(published, "v")+".tgz")

	t.Run("has the expected files and their checksums", func(t *testing.T) { checkFiles(t, dir) })
	t.Run("has the files that the READMEs link to", func(t *testing.T) { checkLinks(t, dir) })
	t.Run("installs the image of the release", func(t *testing.T) {
		checkObjects(t, parse(t, testenv.Read(t, filepath.Join(dir, "install.yaml"))))
		rendered, err := testenv.Exec(t, nil, "", helm(t), "template", "dli-operator", chart, "--namespace="+namespace)
		if err != nil {
			t.Fatal(err)
		}
		checkObjects(t, parse(t, rendered))
	})
	t.Run("has a chart that passes helm lint", func(t *testing.T) {
		if out, err := testenv.Exec(t, nil, "", helm(t), "lint", "--strict", chart); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("has an image with the name in the manifests", func(t *testing.T) {
		index := execute(t, nil, "tar", "-xOf", filepath.Join(dir, "dli-operator-"+published+"-image.tar"), "index.json")
		if want := `"` + repository + ":" + published + `"`; !strings.Contains(index, want) {
			t.Errorf("the archive does not name %s: %s", want, index)
		}
	})
	t.Run("has an SBOM of the manager", func(t *testing.T) { checkComponents(t, dir) })
	t.Run("is installed, upgraded, rolled back and removed without losing jobs", func(t *testing.T) {
		old := filepath.Join(t.TempDir(), "dist")
		if out, err := testenv.Exec(t, nil, "", "../../hack/release/release.sh", previous, old); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		upgradeAndRemove(t, filepath.Join(old, "dli-operator-"+strings.TrimPrefix(previous, "v")+".tgz"), chart, filepath.Join(dir, "install.yaml"))
	})
}

func checkFiles(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	want := []string{
		"checksums.txt",
		"crds.yaml",
		"dli-operator-9.9.9.tgz",
		"dli-operator-v9.9.9-image.tar",
		"dli-operator-v9.9.9-linux-amd64.cdx.json",
		"dli-operator-v9.9.9-linux-arm64.cdx.json",
		"dliconnection_v1alpha1.json",
		"dlijob_v1alpha1.json",
		"install.yaml",
		"release-notes.md",
	}
	if !slices.Equal(names, want) {
		t.Errorf("the files are %q, want %q", names, want)
	}
	if n := strings.Count(testenv.Read(t, filepath.Join(dir, "checksums.txt")), "\n"); n != len(want)-1 {
		t.Errorf("%d files have a checksum, want %d", n, len(want)-1)
	}
	if out, err := testenv.Exec(t, nil, "", "bash", "-c", `cd "$0" && { sha256sum --check checksums.txt || shasum -a 256 --check checksums.txt; }`, dir); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	notes := testenv.Read(t, filepath.Join(dir, "release-notes.md"))
	if !strings.HasPrefix(notes, "# "+published+"\n\n### ") || strings.Contains(notes, "\n## ") {
		t.Errorf("the notes are not one section of the changelog:\n%s", notes)
	}
}

// checkLinks checks the links of the READMEs to release files.
func checkLinks(t *testing.T, dir string) {
	t.Helper()
	for _, page := range []string{"../../README.md", "../../docs/README.zh-CN.md"} {
		links := regexp.MustCompile(`/releases/download/(v[^/]+)/(\S+)`).FindAllStringSubmatch(testenv.Read(t, page), -1)
		if len(links) < 2 {
			t.Errorf("%s links to only %d release files", page, len(links))
		}
		for _, link := range links {
			name := strings.ReplaceAll(link[2], strings.TrimPrefix(link[1], "v"), strings.TrimPrefix(published, "v"))
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("%s links to %s, which is not in the release", page, link[2])
			}
		}
	}
}

// checkObjects checks that the objects include the Deployment, with the image of the
// release.
func checkObjects(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, kind := range []string{"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "ServiceAccount", "Deployment"} {
		if find(objects, kind, "") == nil {
			t.Errorf("there is no %s", kind)
		}
	}
	if got := container(t, objects)["image"]; got != repository+":"+published {
		t.Errorf("the image is %v", got)
	}
}

func checkComponents(t *testing.T, dir string) {
	t.Helper()
	for _, platform := range []string{"linux-amd64", "linux-arm64"} {
		text := testenv.Read(t, filepath.Join(dir, "dli-operator-"+published+"-"+platform+".cdx.json"))
		var bom struct {
			BOMFormat string
			Metadata  struct {
				Component struct{ Name, Version string }
			}
			Components []struct{ Name, Version string }
		}
		if err := json.Unmarshal([]byte(text), &bom); err != nil {
			t.Fatal(err)
		}
		if bom.BOMFormat != "CycloneDX" || bom.Metadata.Component.Name != "github.com/dli-operator/dli-operator" || bom.Metadata.Component.Version != published {
			t.Errorf("%s: the SBOM describes %+v", platform, bom.Metadata)
		}
		listed := map[string]bool{}
		for _, component := range bom.Components {
			listed[component.Name] = component.Version != ""
		}
		for _, want := range []string{"std", "k8s.io/client-go", "sigs.k8s.io/controller-runtime"} {
			if !listed[want] {
				t.Errorf("%s: the SBOM does not list %s with a version", platform, want)
			}
		}
	}
}

// upgradeAndRemove goes through the life of two releases on a real API server.
func upgradeAndRemove(t *testing.T, old, current, manifest string) {
	t.Helper()
	c := newCluster(t, "")
	image := func() string {
		return c.Kubectl("", "get", "deployment", "dli-operator-controller-manager", "--namespace="+namespace,
			"--output=jsonpath={.spec.template.spec.containers[0].image}")
	}
	expect := func(step, version string) {
		if got := image(); got != repository+":"+version {
			t.Errorf("%s: the image is %s, want version %s", step, got, version)
		}
		c.Kubectl("", "get", "dlijob", "report")
	}

	c.helm("", "install", "dli-operator", old, "--namespace="+namespace, "--create-namespace")
	c.Kubectl("", "wait", "--for=condition=Established", "crd/dlijobs.dli.huaweicloud.com")
	c.Kubectl(job, "create", "-f", "-")
	expect("install", previous)
	c.helm("", "upgrade", "dli-operator", current, "--namespace="+namespace)
	expect("upgrade", published)
	c.helm("", "rollback", "dli-operator", "--namespace="+namespace)
	expect("rollback", previous)
	c.helm("", "uninstall", "dli-operator", "--namespace="+namespace)
	c.Kubectl("", "get", "dlijob", "report")

	// kubectl apply takes over the CRDs that helm uninstall keeps.
	c.Kubectl("", "apply", "--server-side", "--force-conflicts", "-f", manifest)
	expect("kubectl apply", published)
	c.follow("kubectl delete --ignore-not-found --namespace=")
	c.Kubectl("", "get", "dlijob", "report")
	if left := c.Kubectl("", "get", "clusterroles,clusterrolebindings", "--output=name"); strings.Contains(left, "dli") {
		t.Errorf("not removed: %s", left)
	}
	// Most objects are gone already; this removes the CRDs.
	c.Kubectl("", "delete", "-f", manifest, "--ignore-not-found", "--wait=false")
	c.Kubectl("", "wait", "--for=delete", "crd/dlijobs.dli.huaweicloud.com", "crd/dliconnections.dli.huaweicloud.com")
}

func TestInvalidReleaseVersions(t *testing.T) {
	for _, version := range []string{"latest", "dev", "0.2.0", "v0.2", "v01.2.0", "v0.2.0+build", "v0.2.0 ", ""} {
		dir := filepath.Join(t.TempDir(), "dist")
		if _, err := testenv.Exec(t, nil, "", "../../hack/release/release.sh", version, dir); err == nil {
			t.Errorf("%q is accepted as a version", version)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: files were written", version)
		}
	}
}
