// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	tektonTask = "../../config/examples/tekton-task.yaml"
	// tektonImage has Tekton's programs.
	tektonImage = "tekton:v1"
)

// Tekton, with its own manifests, runs the Task of config/examples in pods, with the image
// for pipelines, as docs/submitting.md says.
func TestTekton(t *testing.T) {
	inNamespaces(t, buildTekton, func(t *testing.T) {
		t.Helper()
		c := start(t)
		run(t, "kubectl", "apply", "-k", "../../config/default")
		addFlag(t, "--allowed-endpoint-hosts="+address)
		run(t, "kubectl", "apply", "--server-side", "-f", os.Getenv(insideEnv)+"/tekton.yaml")
		rolledOut(t)
		for _, name := range []string{"controller", "webhook"} {
			run(t, "kubectl", "rollout", "status", "deployment/tekton-pipelines-"+name, "--namespace=tekton-pipelines", "--timeout=2m")
		}
		c.connect(t)
		c.prepareTask(t)
		t.Run("its webhook checks the Task", testTaskIsChecked)
		t.Run("succeeds if the job does", func(t *testing.T) {
			c.runTask(t, dlitest.Query("").Running(3*time.Second).Finishes(4), "True", "Succeeded", "JobFinished")
		})
		t.Run("fails if the job does", func(t *testing.T) {
			c.runTask(t, dlitest.Query("").Running(3*time.Second).Fails("DLI.0005: no such table"), "False", "Failed", "no such table")
		})
	})
}

// prepareTask follows docs/submitting.md, and lets curl trust the simulated DLI.
func (c *cluster) prepareTask(t *testing.T) {
	t.Helper()
	sample := dlitest.SampleUser()
	user := newcomer{t, []string{"DLI_ENDPOINT=" + c.dli.url, "DLI_PROJECT_ID=" + sample.ProjectID,
		"DLI_ACCESS_KEY_ID=" + sample.AccessKeyID, "DLI_SECRET_ACCESS_KEY=" + sample.SecretAccessKey}, strings.NewReplacer()}
	user.follows("prepare", testenv.CodeBlock(t, testenv.Read(t, "../../docs/submitting.md"), "sh", "kubectl apply -f config/examples/rbac.yaml"))
	for object, patch := range map[string]any{
		"configmap/dli-pipeline": map[string]any{"data": map[string]string{"ca.crt": c.dli.caBundle}},
		"secret/dli-submit":      map[string]any{"stringData": map[string]string{"CURL_CA_BUNDLE": "/pipeline/ca.crt"}},
	} {
		text, err := json.Marshal(patch)
		if err != nil {
			t.Fatal(err)
		}
		run(t, "kubectl", "patch", object, "--patch="+string(text))
	}
	within(t, time.Minute, "Tekton accepts the Task", func() bool {
		_, err := try(t, "kubectl", "apply", "-f", tektonTask)
		return err == nil
	})
}

func testTaskIsChecked(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "task.yaml")
	write(t, wrong, strings.ReplaceAll(testenv.Read(t, tektonTask), "$(params.sql)", "$(params.query)"))
	out, err := try(t, "kubectl", "apply", "--dry-run=server", "-f", wrong)
	if err == nil || !strings.Contains(err.Error(), `webhook "validation.webhook.pipeline.tekton.dev" denied the request`) {
		t.Errorf("a Task with an unknown parameter is admitted: %v\n%s", err, out)
	}
}

// runTask runs the documented TaskRun on a job, and checks how it ends and what it prints.
func (c *cluster) runTask(t *testing.T, job dlitest.Job, succeeded, outcome, says string) {
	t.Helper()
	c.dli.SetTemplate(job)
	manifest := filepath.Join(t.TempDir(), "run.yaml")
	write(t, manifest, testenv.CodeBlock(t, testenv.Read(t, "../../docs/submitting.md"), "yaml", "apiVersion: tekton.dev/v1\nkind: TaskRun"))
	began := time.Now()
	task := strings.TrimSpace(run(t, "kubectl", "create", "--output=name", "-f", manifest))
	_, err := try(t, "kubectl", "wait", task, "--timeout=2m", `--for=jsonpath={.status.conditions[?(@.type=="Succeeded")].status}=`+succeeded)
	t.Logf("it took %.0f s", time.Since(began).Seconds())
	output, _ := try(t, "kubectl", "logs", "--selector=tekton.dev/taskRun="+filepath.Base(task), "--all-containers", "--tail=-1")
	if err != nil || !strings.Contains(output, says) {
		t.Errorf("want an output with %q, and Succeeded %s: %v\n%s\n%s", says, succeeded, err, output, run(t, "kubectl", "get", task, "--output=yaml"))
	}
	id := run(t, "kubectl", "get", task, `--output=jsonpath={.status.results[?(@.name=="job-id")].value}`)
	watched := run(t, "kubectl", "get", "dlijobs", "--output=jsonpath={range .items[*]}{.spec.jobID} {.status.outcome}{\"\\n\"}{end}")
	if id == "" || !strings.Contains(watched, id+" "+outcome+"\n") {
		t.Errorf("the TaskRun has the job %q; the DLIJobs are\n%s", id, watched)
	}
}

// buildTekton writes Tekton's image, the image for pipelines, and Tekton's manifests with
// these images.
func buildTekton(t *testing.T, dir string) {
	t.Helper()
	programs := testenv.Assets(t, "tekton")
	writeImage(t, filepath.Join(dir, "tekton.tar"), tektonImage, filepath.Join(programs, "controller"),
		filepath.Join(programs, "webhook"), filepath.Join(programs, "entrypoint"))
	pipelines := regexp.MustCompile(`image: (\S+/dli-pipelines:\S+)`).FindStringSubmatch(testenv.Read(t, tektonTask))
	if pipelines == nil {
		t.Fatalf("%s does not use the image for pipelines", tektonTask)
	}
	buildImage(t, dir, pipelines[1], "-pipelines")

	source := strings.TrimSpace(run(t, "go", "-C", "../../hack/engines/tekton", "list", "-m", "-f", "{{.Dir}}", "github.com/tektoncd/pipeline"))
	var manifests strings.Builder
	for _, pattern := range []string{"100-namespace/*", "20[01]-*", "300-crds/*", "500-webhooks", "config-*", "controller", "webhook"} {
		files, err := filepath.Glob(filepath.Join(source, "config", pattern+".yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no manifests %s: %v", pattern, err)
		}
		for _, file := range files {
			manifests.WriteString(testenv.Read(t, file) + "\n---\n")
		}
	}
	text := regexp.MustCompile(`(?m)^( +)image: ko://github.com/tektoncd/pipeline/cmd/(\w+)$`).
		ReplaceAllString(manifests.String(), "${1}image: "+tektonImage+"\n${1}command: [/ko-app/$2]")
	text = regexp.MustCompile(`"ko://[^"]+"`).ReplaceAllString(text, `"`+tektonImage+`"`)
	text = regexp.MustCompile(`"-shell-image", "[^"]+"`).ReplaceAllString(text, `"-shell-image", "`+pipelines[1]+`"`)
	write(t, filepath.Join(dir, "tekton.yaml"), text)
}

// writeImage writes an image with programs in /ko-app, in the format of docker save.
func writeImage(t *testing.T, path, image string, programs ...string) {
	t.Helper()
	files := map[string]string{}
	for _, program := range programs {
		files["ko-app/"+filepath.Base(program)] = testenv.Read(t, program)
	}
	var layer, archive bytes.Buffer
	testenv.Tar(t, &layer, files)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"User": "65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := json.Marshal([]any{map[string]any{
		"Config": "config.json", "RepoTags": []string{"docker.io/library/" + image}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	testenv.Tar(t, &archive, map[string]string{"config.json": string(config), "layer.tar": layer.String(), "manifest.json": string(manifest)})
	write(t, path, archive.String())
}
