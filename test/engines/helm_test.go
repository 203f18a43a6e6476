// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/test/testenv"
)

func TestHelm(t *testing.T) {
	helm := filepath.Join(testenv.Assets(t, "helm"), "helm")
	t.Parallel()
	install := func(t *testing.T, j job, template string, args ...string) *testenv.Process {
		t.Helper()
		return execute(t, j.namespace, []string{"HELM_CACHE_HOME=" + t.TempDir()}, helm, append([]string{
			"install", j.id, chart(t, template), "--timeout=10m", "--set=jobID=" + j.id,
		}, args...)...)
	}
	gate{name: "Helm 4, `--wait`", spark: true, begin: func(t *testing.T, j job) func() verdict {
		t.Helper()
		return naming(t, j, install(t, j, j.manifest(), "--wait"))
	}}.judge(t)

	example := testenv.Read(t, "../../config/examples/helm-hook.yaml")
	gate{name: "Helm, a Job as hook", begin: func(t *testing.T, j job) func() verdict {
		t.Helper()
		// Helm names the Job, and the Job's log the DLIJob.
		decided := verdictOf(install(t, j, example))
		playKubelet(t, j, j.id+"-wait-for-dli")
		return decided
	}}.judge(t)

	// These look like gates, but do not wait.
	open := map[string]verdict{}
	for _, s := range scenarios {
		open[s.name] = passes
	}
	gate{name: "Helm, `--wait=legacy`", unlike: open, begin: func(t *testing.T, j job) func() verdict {
		t.Helper()
		return verdictOf(install(t, j, j.manifest(), "--wait=legacy"))
	}}.judge(t)
	gate{name: "Helm, a DLIJob as hook", unlike: open, begin: func(t *testing.T, j job) func() verdict {
		t.Helper()
		return verdictOf(install(t, j, hook(j, "helm.sh/hook: pre-install")))
	}}.judge(t)
}

// chart returns the directory of a chart with one template.
func chart(t *testing.T, template string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"Chart.yaml":              "{apiVersion: v2, name: reports, version: 0.1.0}\n",
		"templates/template.yaml": template,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// playKubelet does what nodes do for a Job with one container: it runs the command, and
// writes the result to the status of the Job.
func playKubelet(t *testing.T, j job, name string) {
	t.Helper()
	work := &batchv1.Job{}
	key := client.ObjectKey{Namespace: j.namespace, Name: name}
	if !eventually(time.Minute, func() bool {
		err := admin.Get(t.Context(), key, work)
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		return err == nil
	}) {
		t.Fatal("Helm did not create the Job")
	}
	container := work.Spec.Template.Spec.Containers[0]
	var env []string
	for _, variable := range container.Env {
		env = append(env, variable.Name+"="+variable.Value)
	}
	env = append(env, "PATH="+os.Getenv("KUBEBUILDER_ASSETS")+string(os.PathListSeparator)+os.Getenv("PATH"))
	command := slices.Concat(container.Command, container.Args)
	ended := run(t, j, env, command[0], command[1:]...)
	told := make(chan struct{})
	go func() {
		defer close(told)
		if !eventually(within, func() bool { return ended() != waits }) {
			return
		}
		// In two steps, as the API server requires.
		now := metav1.Now()
		work.Status.StartTime = &now
		first, last := batchv1.JobSuccessCriteriaMet, batchv1.JobComplete
		if ended() == fails {
			first, last = batchv1.JobFailureTarget, batchv1.JobFailed
		} else {
			work.Status.Succeeded, work.Status.CompletionTime = 1, &now
		}
		for _, kind := range []batchv1.JobConditionType{first, last} {
			work.Status.Conditions = append(work.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
		}
		if err := admin.Status().Update(t.Context(), work); err != nil {
			t.Errorf("updating the status of the Job: %v", err)
		}
	}()
	t.Cleanup(func() { <-told })
}
