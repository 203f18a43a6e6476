// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/test/testenv"
)

const examples = "../config/examples/"

// A pipeline holds the stages of an example, which run in order until one fails.
type pipeline []func(context.Context, *pipelineRun) error

// pipelines returns the examples by tool.
func pipelines(t *testing.T) map[string]pipeline {
	t.Helper()
	return map[string]pipeline{
		"Argo Workflows":   argoWorkflows(t),
		"DolphinScheduler": dolphinScheduler(t),
		"GitHub Actions":   githubActions(t),
		"GitLab CI":        gitlabCI(t),
		"a Job":            kubernetesJob(t),
		"Tekton":           tekton(t),
	}
}

func githubActions(t *testing.T) (p pipeline) {
	t.Helper()
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct {
				ID, Uses, Run string
				Env           map[string]string
			}
		}
	}
	readYAML(t, examples+"github-actions.yml", &workflow)
	for _, step := range workflow.Jobs["load"].Steps {
		if step.Uses != "" {
			continue
		}
		p = append(p, func(ctx context.Context, r *pipelineRun) error {
			outputs := filepath.Join(r.dir, "outputs")
			variables := []string{"GITHUB_OUTPUT=" + outputs}
			for name, value := range step.Env {
				variables = append(variables, name+"="+value)
			}
			// The default shell of a runner.
			if err := r.script(ctx, []string{"bash", "-e"}, step.Run, variables, &r.output); err != nil {
				return err
			}
			return eachLine(outputs, func(name, value string) { r.known["${{ steps."+step.ID+".outputs."+name+" }}"] = value })
		})
	}
	return p
}

func gitlabCI(t *testing.T) (p pipeline) {
	t.Helper()
	type job struct {
		Script    []string
		Variables map[string]string
		Artifacts struct{ Reports struct{ Dotenv string } }
	}
	var file struct {
		Submit job
		Wait   job `json:"wait-for-dli"`
		Report job
	}
	readYAML(t, examples+"gitlab-ci.yml", &file)
	for _, job := range []job{file.Submit, file.Wait, file.Report} {
		p = append(p, func(ctx context.Context, r *pipelineRun) error {
			variables := []string{"DLI_ENDPOINT=${{ vars.DLI_ENDPOINT }}", "DLI_PROJECT_ID=${{ vars.DLI_PROJECT_ID }}",
				"DLI_ACCESS_KEY_ID=${{ secrets.DLI_ACCESS_KEY_ID }}", "DLI_SECRET_ACCESS_KEY=${{ secrets.DLI_SECRET_ACCESS_KEY }}"}
			for name, value := range job.Variables {
				variables = append(variables, name+"="+value)
			}
			if err := r.script(ctx, []string{"bash", "-eo", "pipefail"}, strings.Join(job.Script, "\n"), variables, &r.output); err != nil {
				return err
			}
			return eachLine(filepath.Join(r.dir, "dli.env"), func(name, value string) { r.env = append(r.env, name+"="+value) })
		})
	}
	return p
}

// dolphinScheduler passes the parameters that a task prints to the tasks after it.
func dolphinScheduler(t *testing.T) (p pipeline) {
	t.Helper()
	var file struct {
		Tasks []struct {
			Command     string
			Deps        []string
			LocalParams []struct{ Prop, Direct string } `json:"local_params"`
			Retries     int                             `json:"fail_retry_times"`
		}
	}
	readYAML(t, examples+"dolphinscheduler.yaml", &file)
	for i, task := range file.Tasks {
		if len(task.Deps) != min(i, 1) || task.Retries != 0 {
			t.Errorf("task %d does not follow the one before, or is retried: %+v", i, task)
		}
		p = append(p, func(ctx context.Context, r *pipelineRun) error {
			variables := []string{"DLI_ENDPOINT=${{ vars.DLI_ENDPOINT }}", "DLI_PROJECT_ID=${{ vars.DLI_PROJECT_ID }}",
				"DLI_ACCESS_KEY_ID=${{ secrets.DLI_ACCESS_KEY_ID }}", "DLI_SECRET_ACCESS_KEY=${{ secrets.DLI_SECRET_ACCESS_KEY }}"}
			var output testenv.Buffer
			err := r.script(ctx, []string{"bash"}, task.Command, variables, io.MultiWriter(&output, &r.output))
			for _, set := range regexp.MustCompile(`(?m)^#\{setValue\((\w+)=(.*)\)\}$`).FindAllStringSubmatch(output.String(), -1) {
				for _, param := range task.LocalParams {
					if param.Prop == set[1] && param.Direct == "OUT" {
						r.known["${"+param.Prop+"}"] = set[2]
					}
				}
			}
			return err
		})
	}
	return p
}

// eachLine calls do for each name=value line of a file, if the file exists.
func eachLine(path string, do func(name, value string)) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		do(name, value)
	}
	return err
}

func tekton(t *testing.T) (p pipeline) {
	t.Helper()
	var task struct {
		Spec struct {
			Volumes []corev1.Volume
			Steps   []struct {
				corev1.Container
				Script string
			}
		}
	}
	readYAML(t, examples+"tekton-task.yaml", &task)
	for _, step := range task.Spec.Steps {
		if !strings.HasPrefix(step.Script, "#!/bin/sh\n") {
			t.Errorf("the step %s does not name its shell", step.Name)
		}
		step.Command = []string{"/bin/sh", "-c", step.Script}
		p = append(p, func(ctx context.Context, r *pipelineRun) error {
			return r.container(ctx, step.Container, task.Spec.Volumes, &r.output)
		})
	}
	return p
}

func kubernetesJob(t *testing.T) pipeline {
	t.Helper()
	var job batchv1.Job
	readYAML(t, examples+"kubernetes-job.yaml", &job)
	pod := job.Spec.Template.Spec
	if *job.Spec.BackoffLimit != 0 || pod.RestartPolicy != corev1.RestartPolicyNever {
		t.Error("the Job may submit the SQL more than once")
	}
	return pipeline{func(ctx context.Context, r *pipelineRun) error {
		return r.container(ctx, pod.Containers[0], pod.Volumes, &r.output)
	}}
}

// A pipelineRun is one run of a pipeline.
type pipelineRun struct {
	// client and env have the permissions of the pipeline.
	client    client.Client
	namespace string
	env       []string
	// dir is the working directory of the scripts, with the files of a repository.
	dir string
	// known holds the expressions that the tool replaces, and their values.
	known map[string]string
	// last overrides the tool's variables.
	last []string
	// stage is the number of stages that were started, once the run has ended.
	stage  int
	output testenv.Buffer
	ended  chan error
}

func (r *pipelineRun) script(ctx context.Context, shell []string, script string, variables []string, stdout io.Writer) error {
	return r.execute(ctx, append(slices.Clone(shell), "-c", script), variables, stdout)
}

// container runs the command of a container, with the environment and volumes that the
// API server has for it.
func (r *pipelineRun) container(ctx context.Context, c corev1.Container, volumes []corev1.Volume, stdout io.Writer) error {
	var variables []string
	for _, variable := range c.Env {
		variables = append(variables, variable.Name+"="+variable.Value)
	}
	for _, from := range c.EnvFrom {
		secret := &corev1.Secret{}
		if err := admin.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: from.SecretRef.Name}, secret); err != nil {
			return err
		}
		for name, value := range secret.Data {
			variables = append(variables, name+"="+string(value))
		}
	}
	command := slices.Concat(c.Command, c.Args)
	for _, mount := range c.VolumeMounts {
		i := slices.IndexFunc(volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		files := &corev1.ConfigMap{}
		if err := admin.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: volumes[i].ConfigMap.Name}, files); err != nil {
			return err
		}
		dir := filepath.Join(r.dir, mount.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for name, content := range files.Data {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				return err
			}
		}
		for i := range command {
			command[i] = strings.ReplaceAll(command[i], mount.MountPath+"/", dir+"/")
		}
	}
	return r.execute(ctx, command, variables, stdout)
}

func (r *pipelineRun) execute(ctx context.Context, args, variables []string, stdout io.Writer) error {
	for _, words := range [][]string{args, variables} {
		for i := range words {
			expanded, err := r.expand(words[i])
			if err != nil {
				return err
			}
			words[i] = expanded
		}
	}
	command := exec.CommandContext(ctx, args[0], args[1:]...)
	command.Dir, command.Env = r.dir, slices.Concat(r.env, variables, r.last)
	command.Stdout, command.Stderr = stdout, &r.output
	return command.Run()
}

// expand replaces the tool's expressions. Unknown ones are an error.
func (r *pipelineRun) expand(text string) (string, error) {
	for expression, value := range r.known {
		text = strings.ReplaceAll(text, expression, value)
	}
	if unknown := expression.FindString(text); unknown != "" {
		return "", fmt.Errorf("unknown expression %s", unknown)
	}
	return text, nil
}

var expression = regexp.MustCompile(`\$?\{\{[^}]*\}\}|\$\((params|results)\.[^)]*\)`)
