/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

const examples = "../config/examples/"

// argoWorkflow is what the tests read of an Argo workflow.
type argoWorkflow struct {
	Spec struct {
		Templates []struct {
			Resource *struct {
				SuccessCondition string `json:"successCondition"`
				FailureCondition string `json:"failureCondition"`
				Manifest         string `json:"manifest"`
			} `json:"resource"`
		} `json:"templates"`
	} `json:"spec"`
}

func TestArgoWorkflowsOutcome(t *testing.T) {
	everyState.reach(t)
	var workflow argoWorkflow
	readYAML(t, examples+"argo-workflows.yaml", &workflow)
	for _, template := range workflow.Spec.Templates {
		resource := template.Resource
		if resource == nil {
			continue
		}
		for _, state := range states() {
			want := "waits"
			switch state.outcome {
			case "":
			case v1alpha1.OutcomeSucceeded:
				want = "succeeds"
			default:
				want = "fails"
			}
			object := fetch(t, "DLIJob", state.name)
			if got := argoWorkflowsVerdict(t, object, resource.SuccessCondition, resource.FailureCondition); got != want {
				t.Errorf("with DLIJob %s the template %s, want it %s", state.name, got, want)
			}
		}
		manifest := filepath.Join(t.TempDir(), "manifest.yaml")
		if err := os.WriteFile(manifest, []byte(strings.ReplaceAll(resource.Manifest, "{{inputs.parameters.job-id}}", "20171030")), 0o600); err != nil {
			t.Fatal(err)
		}
		kubectl(t, namespace, "create", "--dry-run=server", "-o", "json", "-f", manifest)
		return
	}
	t.Fatal("the example has no resource template")
}

// argoWorkflowsVerdict does what Argo Workflows' executor does with the
// conditions of a resource template: they are label selectors, whose labels are
// paths in the object. One failure condition that matches is enough; of the
// success conditions all must.
func argoWorkflowsVerdict(t *testing.T, object *unstructured.Unstructured, success, failure string) string {
	t.Helper()
	for _, requirement := range requirements(t, failure) {
		if requirement.Matches(scalars(object.Object)) {
			return "fails"
		}
	}
	for _, requirement := range requirements(t, success) {
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

// scalars presents the strings of an object as labels by their path. Argo
// Workflows looks them up with gjson, which finds the same for paths of plain
// names.
type scalars map[string]any

func (s scalars) Lookup(path string) (string, bool) {
	value, found, err := unstructured.NestedString(s, strings.Split(path, ".")...)
	return value, found && err == nil
}

func (s scalars) Has(path string) bool { _, found := s.Lookup(path); return found }

func (s scalars) Get(path string) string { value, _ := s.Lookup(path); return value }

// recipe is the script of an example, and how its tool would run it.
type recipe struct {
	shell  []string
	script string
	// variables are those of the environment that the example sets, with the
	// tool's own expressions in them.
	variables map[string]string
}

// recipes reads the scripts out of the examples.
func recipes(t *testing.T) map[string]recipe {
	t.Helper()
	var task struct {
		Spec struct {
			Steps []struct {
				Script string
				Env    []struct{ Name, Value string }
			}
		}
	}
	readYAML(t, examples+"tekton-task.yaml", &task)
	step := task.Spec.Steps[0]
	tekton := recipe{shell: []string{"/bin/sh"}, script: step.Script, variables: map[string]string{}}
	for _, variable := range step.Env {
		tekton.variables[variable.Name] = variable.Value
	}
	if !strings.HasPrefix(step.Script, "#!/bin/sh\n") {
		t.Errorf("the Tekton step does not name its shell: %.20s", step.Script)
	}

	var workflow struct {
		Jobs map[string]struct {
			Steps []struct {
				Run string
				Env map[string]string
			}
		}
	}
	readYAML(t, examples+"github-actions.yml", &workflow)
	var github recipe
	for _, step := range workflow.Jobs["load"].Steps {
		if strings.Contains(step.Run, "kubectl wait") {
			// What a runner does with a step that names no shell.
			github = recipe{shell: []string{"bash", "-e"}, script: step.Run, variables: step.Env}
		}
	}

	var pipeline map[string]any
	readYAML(t, examples+"gitlab-ci.yml", &pipeline)
	lines, _, err := unstructured.NestedStringSlice(pipeline, "wait-for-dli", "script")
	if err != nil {
		t.Fatal(err)
	}
	variables, _, err := unstructured.NestedStringMap(pipeline, "wait-for-dli", "variables")
	if err != nil {
		t.Fatal(err)
	}
	gitlab := recipe{shell: []string{"bash", "-eo", "pipefail"}, script: strings.Join(lines, "\n"), variables: variables}
	// It comes from the job before, by way of dli.env.
	gitlab.variables["DLI_JOB_ID"] = "$SUBMITTED"
	return map[string]recipe{"Tekton": tekton, "GitHub Actions": github, "GitLab CI": gitlab}
}

// with returns the environment that the recipe runs in for a job, and fails
// for an expression that it does not know.
func (r recipe) with(t *testing.T, jobID, run string) []string {
	t.Helper()
	known := map[string]string{
		"$(params.job-id)":                   jobID,
		"${{ steps.submit.outputs.job-id }}": jobID,
		"$SUBMITTED":                         jobID,
		"${{ github.run_id }}":               run,
		"${{ github.run_attempt }}":          "1",
		"$CI_JOB_ID":                         run,
	}
	var environment []string
	for name, value := range r.variables {
		value = expression.ReplaceAllStringFunc(value, func(e string) string {
			if _, ok := known[e]; !ok {
				t.Errorf("the test does not know %s", e)
			}
			return known[e]
		})
		environment = append(environment, name+"="+value)
	}
	return environment
}

var expression = regexp.MustCompile(`\$\{\{[^}]*\}\}|\$\([^)]*\)|\$\w+`)

// A pipeline's step ends when its job ends, and well only if the job did. It
// runs with the rights that the examples ask for.
func TestCIRecipes(t *testing.T) {
	const namespace = "pipelines"
	server := startPipelines(t, namespace)
	all, jobs := recipes(t), 0
	for _, end := range []struct {
		name string
		// of is how the job ends; nil for a job that DLI does not know.
		of   func(dlitest.Job) dlitest.Job
		well bool
		says string
	}{
		{"FINISHED", func(job dlitest.Job) dlitest.Job { return job.Finishes(4) }, true, "JobFinished"},
		{"FAILED", func(job dlitest.Job) dlitest.Job { return job.Fails("DLI.0005: no such table") }, false, "no such table"},
		{"CANCELLED", func(job dlitest.Job) dlitest.Job { return job.Cancelled("Execution Timeout") }, false, "Execution Timeout"},
		{"not found", nil, false, "JobNotFound"},
	} {
		for tool, recipe := range all {
			jobs++
			// Digits only, which YAML takes for a number unless it is quoted.
			id := strconv.Itoa(20171030000 + jobs)
			t.Run(tool+" when the job is "+end.name, func(t *testing.T) {
				t.Parallel()
				if end.of != nil {
					server.SetJob(dlitest.Query(id).Running(time.Hour))
				}
				step := begin(t, recipe, namespace, id)
				atMost := 3
				if end.of != nil {
					step.awaitRunning(t, namespace, id)
					// One poll may be under way; the next one sees the end.
					atMost = server.Requests(id) + 2
					server.SetJob(end.of(dlitest.Query(id)))
				}
				well := step.wait(t)
				if asked := server.Requests(id); asked > atMost {
					t.Errorf("DLI was asked %d times until the end was seen, want %d at most", asked, atMost)
				}
				if well != end.well || !strings.Contains(step.output.String(), end.says) {
					t.Errorf("the step succeeds: %v, want %v and output that says %q:\n%s", well, end.well, end.says, step.output.String())
				}
			})
		}
	}
}

// startPipelines runs an operator for a namespace in which the ServiceAccount
// ci may do what config/rbac grants to editors of DLIJobs.
func startPipelines(t *testing.T, namespace string) *dlitest.Server {
	t.Helper()
	server, err := dlitest.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	objects := []client.Object{
		namespaceNamed(namespace),
		secretOf(namespace, "dli-credentials", dlitest.SampleUser()),
		connectionTo(server.URL(), namespace, "default", "dli-credentials"),
	}
	for _, role := range []string{"dlijob-viewer-role", "dlijob-editor-role"} {
		clusterRole := &rbacv1.ClusterRole{}
		readYAML(t, "../config/rbac/"+strings.ReplaceAll(role, "-", "_")+".yaml", clusterRole)
		objects = append(objects, clusterRole, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "ci"}},
		})
	}
	for _, object := range objects {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	stop, err := operator{schedule: quick(), cache: cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}}}.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// step is a recipe that runs.
type step struct {
	command *exec.Cmd
	output  buffer
	ended   chan error
}

// buffer may be read while a command still writes to it.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func begin(t *testing.T, r recipe, namespace, jobID string) *step {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(r.script), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &step{ended: make(chan error, 1)}
	s.command = exec.CommandContext(t.Context(), r.shell[0], append(r.shell[1:], script)...)
	s.command.Env = append(os.Environ(),
		"PATH="+os.Getenv("KUBEBUILDER_ASSETS")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"KUBECONFIG="+kubeconfig(t, namespace, "system:serviceaccount:"+namespace+":ci"))
	s.command.Env = append(s.command.Env, r.with(t, jobID, jobID)...)
	s.command.Stdout, s.command.Stderr = &s.output, &s.output
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.command.Wait() }()
	return s
}

// awaitRunning waits until the DLIJob of the step is reported to run. The step
// must not end before.
func (s *step) awaitRunning(t *testing.T, namespace, jobID string) {
	t.Helper()
	running := func() bool {
		select {
		case err := <-s.ended:
			t.Fatalf("the step ended (%v) before the job:\n%s", err, s.output.String())
		default:
		}
		jobs := &v1alpha1.DLIJobList{}
		if err := admin.List(t.Context(), jobs, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(jobs.Items, func(job v1alpha1.DLIJob) bool {
			return job.Spec.JobID == jobID && reasonOf(job.Status.Conditions) == v1alpha1.ReasonJobRunning
		})
	}
	if !eventually(running) {
		t.Fatalf("no DLIJob watches job %s:\n%s", jobID, s.output.String())
	}
}

// wait waits for the end of the step and reports whether it succeeded.
func (s *step) wait(t *testing.T) bool {
	t.Helper()
	select {
	case err := <-s.ended:
		return err == nil
	case <-time.After(time.Minute):
		t.Fatalf("the step does not end:\n%s", s.output.String())
		return false
	}
}

// What the documentation shows of other tools must at least be what they read.
func TestDocumentedManifests(t *testing.T) {
	page, err := os.ReadFile("../docs/gating.md")
	if err != nil {
		t.Skipf("no page: %v", err)
	}
	var gates int
	for i, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		for document := range strings.SplitSeq(block[1], "\n---\n") {
			var manifest any
			if err := yaml.UnmarshalStrict([]byte(document), &manifest); err != nil {
				t.Errorf("block %d: %v\n%s", i, err, document)
				continue
			}
			object, _ := manifest.(map[string]any)
			if object["kind"] != "Kustomization" {
				continue
			}
			waits, _, _ := unstructured.NestedBool(object, "spec", "wait")
			if _, bounded, _ := unstructured.NestedString(object, "spec", "timeout"); waits && bounded {
				gates++
			}
		}
	}
	if gates == 0 {
		t.Error("no Flux Kustomization waits, for as long as a job may take")
	}
}
