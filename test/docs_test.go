// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// documents returns the project's documents by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/zh-CN/*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no documents: %v", err)
		}
		for _, path := range paths {
			pages[path] = testenv.Read(t, path)
		}
	}
	return pages
}

// A block that starts with ```sh is for readers to copy: it must work unchanged with
// the objects of config/samples. Blocks that need a registry or build something start
// with ```shell.
func TestDocumentedCommands(t *testing.T) {
	w := world.NewBare(t, controlPlane)
	namespace, server := w.Namespace, w.DLI
	for _, job := range dlitest.SampleJobs() {
		job.Timeline = job.Timeline[len(job.Timeline)-1:] // the last state
		server.SetJob(job)
	}
	server.SetTemplate(dlitest.Query("").Finishes(4))
	applySamples(t, namespace, server.URL())
	w.Options.Controllers.Schedule = quick()
	w.Start()

	ran, pages := 0, documents(t)
	// In order, so that none lists right after another has applied the CRDs anew, when the API
	// server may have no objects for a moment.
	for _, path := range slices.Sorted(maps.Keys(pages)) {
		if strings.Contains(path, "/zh-CN/") {
			continue // the same commands as in English, see TestChinesePages
		}
		for _, commands := range documentedCommands(pages[path]) {
			ran++
			t.Run(filepath.Base(path)+": "+strings.SplitN(commands, "\n", 2)[0], func(t *testing.T) {
				follow(t, commands, namespace, server)
			})
		}
	}
	if ran == 0 {
		t.Error("no commands found")
	}
}

func documentedCommands(page string) (blocks []string) {
	for _, found := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		blocks = append(blocks, found[1])
	}
	return blocks
}

// follow runs commands like a reader would, in a namespace, with the variables that are
// needed to submit to a server.
func follow(t *testing.T, commands, namespace string, server *dlitest.Server) {
	t.Helper()
	user := dlitest.SampleUser()
	shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	shell.Dir = ".."
	shell.Env = append(os.Environ(),
		"KUBECONFIG="+kubeconfig(t, namespace, ""), "PATH="+os.Getenv("KUBEBUILDER_ASSETS")+":"+os.Getenv("PATH"),
		"DLI_ENDPOINT="+server.URL(), "DLI_PROJECT_ID="+user.ProjectID,
		"DLI_ACCESS_KEY_ID="+user.AccessKeyID, "DLI_SECRET_ACCESS_KEY="+user.SecretAccessKey)
	if out, err := shell.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, commands, out)
	}
}

// applySamples applies config/samples, with the endpoint replaced.
func applySamples(t *testing.T, namespace, endpoint string) {
	t.Helper()
	samples := kubectl(t, namespace, "kustomize", "../config/samples")
	if !strings.Contains(samples, sampleEndpoint) {
		t.Fatalf("the samples do not name %s", sampleEndpoint)
	}
	path := filepath.Join(t.TempDir(), "samples.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(samples, sampleEndpoint, endpoint)), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, namespace, "apply", "-f", path)
}

const sampleEndpoint = "http://127.0.0.1:18080"

func TestDocumentLinks(t *testing.T) {
	link := regexp.MustCompile(`(?:\]\(|\bsrc="|\bsrcset=")([^)"\s]+)[)"]`)
	heading := regexp.MustCompile(`(?m)^#+ (.+)$`)
	anchors := func(text string) map[string]bool {
		found := map[string]bool{}
		for _, h := range heading.FindAllStringSubmatch(text, -1) {
			anchor := strings.ReplaceAll(strings.ToLower(h[1]), " ", "-")
			found[regexp.MustCompile("[`,.:()'’?!/]").ReplaceAllString(anchor, "")] = true
		}
		return found
	}
	for path, text := range documents(t) {
		if filepath.Base(path) == "api.md" {
			continue // generated, with links to the documentation of Kubernetes
		}
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, "://") {
				continue // tests have no internet access
			}
			page := path
			if target != "" {
				page = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(page); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, found[1])
				continue
			}
			if anchor == "" {
				continue
			}
			if linked, err := os.ReadFile(page); err != nil || !anchors(string(linked))[anchor] {
				t.Errorf("%s links to %s, which has no such heading", path, found[1])
			}
		}
	}
}

// The documented manifests must at least be valid YAML. The Kustomizations wait, and not for ever.
func TestDocumentedManifests(t *testing.T) {
	for page, least := range map[string]int{"gating": 1, "notifications": 6} {
		blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(testenv.Read(t, "../docs/"+page+".md"), -1)
		if len(blocks) < least {
			t.Errorf("%s.md has only %d manifests", page, len(blocks))
		}
		gates := 0
		for _, block := range blocks {
			for document := range strings.SplitSeq(block[1], "\n---\n") {
				var content any
				if err := yaml.UnmarshalStrict([]byte(document), &content); err != nil {
					t.Errorf("%s.md: %v\n%s", page, err, document)
				}
				manifest, _ := content.(map[string]any)
				waits, _, _ := unstructured.NestedBool(manifest, "spec", "wait")
				if _, bounded, _ := unstructured.NestedString(manifest, "spec", "timeout"); manifest["kind"] == "Kustomization" && waits && bounded {
					gates++
				}
			}
		}
		if page == "gating" && gates == 0 {
			t.Error("no Flux Kustomization has both wait and timeout")
		}
	}
}

func TestEveryReasonIsExplained(t *testing.T) {
	reasons := regexp.MustCompile(`(?m)^\tReason\w+ += "(\w+)"$`).FindAllStringSubmatch(testenv.Read(t, "../api/v1alpha1/conditions.go"), -1)
	if len(reasons) < 20 {
		t.Fatalf("found only %d reasons", len(reasons))
	}
	for page, entry := range map[string]string{
		"../docs/reasons.md":       "(?m)^### %s$",
		"../docs/zh-CN/reasons.md": "(?m)^### %s$",
		"../docs/README.zh-CN.md":  "(?m)^\\| `%s` \\| \\S.* \\|$",
	} {
		text := testenv.Read(t, page)
		for _, reason := range reasons {
			if !regexp.MustCompile(fmt.Sprintf(entry, reason[1])).MatchString(text) {
				t.Errorf("%s does not explain %s", page, reason[1])
			}
		}
	}
}

func TestEveryFlagIsDocumented(t *testing.T) {
	source, documented := testenv.Read(t, "../main.go"), testenv.Read(t, "../docs/operations.md")
	for _, flag := range regexp.MustCompile(`flags\.\w+\((?:&[\w.]+, )?"([\w-]+)"`).FindAllStringSubmatch(source, -1) {
		name := "--" + flag[1]
		if !strings.Contains(documented, name) {
			t.Errorf("docs/operations.md does not name %s", name)
		}
	}
}
