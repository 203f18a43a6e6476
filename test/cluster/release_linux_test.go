// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	readme = "../../README.md"
	// site has the releases that readme refers to.
	site = "https://github.com/dli-operator/dli-operator"
	// laterRelease is the one to upgrade to.
	laterRelease = "v9.9.9"
	// nightlyLoad is the job of the DLIJob in readme.
	nightlyLoad = "6d2146a0-c2d5-41bd-8ca0-ca9694ada992"
)

// firstRelease returns the release that README.md installs.
func firstRelease(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`/releases/download/(v[\d.]+)/`).FindStringSubmatch(testenv.Read(t, readme))
	if found == nil {
		t.Fatalf("%s installs no release", readme)
	}
	return found[1]
}

// buildReleases builds both releases in a directory with the paths of a release site.
func buildReleases(t *testing.T, dir string) {
	t.Helper()
	for _, version := range []string{firstRelease(t), laterRelease} {
		run(t, "../../hack/release/release.sh", version, filepath.Join(dir, "releases/download", version))
	}
}

// testRelease follows README.md from installing to uninstalling, with kubectl and then
// with Helm. It logs how long each step takes.
func (c *cluster) testRelease(t *testing.T) {
	page, submitting := testenv.Read(t, readme), testenv.Read(t, "../../docs/submitting.md")
	first, url := firstRelease(t), c.serveReleases(t)
	kubectl := testenv.CodeBlock(t, page, "shell", "kubectl apply -f "+site)
	helm := strings.TrimSpace(testenv.CodeBlock(t, page, "shell", "helm install ")) + " --set=allowedEndpointHosts={" + address + "}"
	ca := filepath.Join(t.TempDir(), "ca.crt")
	write(t, ca, c.dli.caBundle)
	sample := dlitest.SampleUser()
	env := []string{"CURL_CA_BUNDLE=" + ca, "DLI_ENDPOINT=" + c.dli.url, "DLI_PROJECT_ID=" + sample.ProjectID,
		"DLI_ACCESS_KEY_ID=" + sample.AccessKeyID, "DLI_SECRET_ACCESS_KEY=" + sample.SecretAccessKey}
	filled := func(version string) *strings.Replacer {
		return strings.NewReplacer(site, url, strings.TrimPrefix(first, "v"), strings.TrimPrefix(version, "v"),
			" install.yaml", " "+url+"/releases/download/"+version+"/install.yaml",
			"AKEXAMPLE", sample.AccessKeyID, "SKEXAMPLE", sample.SecretAccessKey,
			"region: cn-north-4", fmt.Sprintf("endpoint: %s\n  caBundle: %q", c.dli.url, c.dli.caBundle))
	}
	for _, way := range []struct{ name, install, upgrade, uninstall, left string }{
		{"kubectl", kubectl, kubectl, inline(t, page, "kubectl delete -f install.yaml"), ""},
		{
			"Helm", helm, strings.Replace(helm, "helm install ", "helm upgrade ", 1),
			inline(t, page, "helm uninstall dli-operator --namespace dli-operator-system"), nightlyLoad,
		},
	} {
		t.Run(way.name, func(t *testing.T) {
			began := time.Now()
			user := newcomer{t, env, filled(first)}
			user.follows("install", way.install)
			user.follows("wait for the rollout", testenv.CodeBlock(t, page, "shell", "kubectl rollout status"))
			user.applies("connect", testenv.CodeBlock(t, page, "yaml", "apiVersion: v1\nkind: Secret"))
			user.follows("submit, and wait", testenv.CodeBlock(t, submitting, "sh", "id=$(config/examples/submit-to-dli.sh"))

			c.dli.SetJob(dlitest.Query(nightlyLoad).Launching(time.Second).Running(20 * time.Second).Finishes(4))
			user.applies("create a DLIJob", testenv.CodeBlock(t, page, "yaml", "apiVersion: dli.huaweicloud.com/v1alpha1\nkind: DLIJob"))
			user.fill = filled(laterRelease)
			user.follows("upgrade", way.upgrade)
			user.follows("wait for the rollout", testenv.CodeBlock(t, page, "shell", "kubectl rollout status"))
			for _, pod := range c.pods(t) {
				if image := pod.Spec.Containers[0].Image; !strings.HasSuffix(image, ":"+laterRelease) {
					t.Errorf("after the upgrade, %s runs %s", pod.Name, image)
				}
			}
			user.follows("wait for the job", recipe(t, page, "kubectl"))
			user.follows("check the result", testenv.CodeBlock(t, page, "sh", "kubectl get dlijobs -o wide"))

			user.follows("uninstall", way.uninstall)
			// It fails if the CRD is gone.
			left, _ := try(t, "kubectl", "get", "dlijob", "nightly-load", "--output=jsonpath={.spec.jobID}")
			if left != way.left {
				t.Errorf("after uninstalling, nightly-load has job %q, want %q", left, way.left)
			}
			t.Logf("%5.1f s  in all", time.Since(began).Seconds())
		})
	}
	run(t, "kubectl", "delete", "crd", "--all")
	run(t, "kubectl", "delete", "namespace", namespace)
	run(t, "kubectl", "delete", "secret", "dli-credentials")
}

// serveReleases serves the releases and returns their URL. It adds the flag that the
// simulated DLI requires.
func (c *cluster) serveReleases(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv(insideEnv)
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if filepath.Ext(r.URL.Path) != ".yaml" {
			files.ServeHTTP(w, r)
			return
		}
		const flag = "- --leader-elect\n"
		text, _ := os.ReadFile(filepath.Join(dir, r.URL.Path))
		fmt.Fprint(w, strings.Replace(string(text), flag, flag+"        - --allowed-endpoint-hosts="+address+"\n", 1))
	}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// newcomer copies commands from the documentation.
type newcomer struct {
	t *testing.T
	// env has what the submit script requires.
	env []string
	// fill replaces what differs between users, and the release.
	fill *strings.Replacer
}

// follows runs commands in the root of the repository and logs how long they take.
func (n newcomer) follows(step, commands string) {
	n.t.Helper()
	n.run(step, n.fill.Replace(commands), "")
}

// applies creates or updates objects.
func (n newcomer) applies(step, objects string) {
	n.t.Helper()
	n.run(step, "kubectl apply -f -", n.fill.Replace(objects))
}

func (n newcomer) run(step, commands, input string) {
	n.t.Helper()
	began := time.Now()
	if out, err := testenv.Exec(n.t, n.env, input, "bash", "-euo", "pipefail", "-c", "cd ../..\n"+commands); err != nil {
		n.t.Fatalf("%s: %v\n%s", step, err, out)
	}
	n.t.Logf("%5.1f s  %s", time.Since(began).Seconds(), step)
}

// inline returns a command that a page has in its text.
func inline(t *testing.T, page, command string) string {
	t.Helper()
	if !strings.Contains(page, "`"+command+"`") {
		t.Fatalf("the page does not name the command %q", command)
	}
	return command
}

// recipe returns the command in the row of a tool.
func recipe(t *testing.T, page, tool string) string {
	t.Helper()
	found := regexp.MustCompile("(?m)^\\| " + tool + " \\| `(.+)` \\|$").FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("no table has a command for %s", tool)
	}
	return found[1]
}
