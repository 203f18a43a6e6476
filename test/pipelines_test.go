// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// A pipeline submits SQL, ends when the job ends, and succeeds only if the job did. It
// runs with the permissions, the Secret and the files that the examples ask for.
func TestPipelines(t *testing.T) {
	namespace, server := startPipelines(t)
	// A known key with wrong secrets would be locked for the others.
	const refused = "AKREFUSED"
	ends := []struct {
		name string
		// of ends the job; nil removes it from DLI.
		of   func(dlitest.Job) dlitest.Job
		well bool
		says string
		// polls is the maximum number of polls until the end is noticed.
		polls int
	}{
		{"FINISHED", func(job dlitest.Job) dlitest.Job { return job.Finishes(4) }, true, "JobFinished", 1},
		{"FAILED", func(job dlitest.Job) dlitest.Job { return job.Fails("DLI.0005: no such table") }, false, "no such table", 1},
		{"CANCELLED", func(job dlitest.Job) dlitest.Job { return job.Cancelled("Execution Timeout") }, false, "Execution Timeout", 1},
		{"forgotten", nil, false, "JobNotFound", 3},
	}
	runs := 0
	for tool, pipeline := range pipelines(t) {
		for _, end := range ends {
			runs++
			number := strconv.Itoa(runs)
			t.Run(tool+" when the job is "+end.name, func(t *testing.T) {
				t.Parallel()
				r := begin(t, pipeline, server, namespace, number)
				id := r.awaitRunning(t, "run"+number)
				if job, _ := server.Job(id); job.Statement != testenv.Read(t, examples+"load.sql") {
					t.Errorf("DLI received different SQL: %s", job.Statement)
				}
				// One poll may be in flight.
				atMost := server.Requests(id) + 1 + end.polls
				if end.of != nil {
					server.SetJob(end.of(dlitest.Query(id)))
				} else {
					server.RemoveJob(id)
				}
				well := r.wait(t) == nil
				if asked := server.Requests(id); asked > atMost {
					t.Errorf("the job was polled %d times until its end was noticed, want at most %d", asked, atMost)
				}
				if well != end.well || !strings.Contains(r.output.String(), end.says) {
					t.Errorf("the pipeline succeeded: %v, want %v and output with %q:\n%s", well, end.well, end.says, r.output.String())
				}
			})
		}
		t.Run(tool+" when DLI rejects the SQL", func(t *testing.T) {
			t.Parallel()
			r := begin(t, pipeline, server, namespace, "0", "DLI_SECRET_ACCESS_KEY=WRONG", "DLI_ACCESS_KEY_ID="+refused)
			err := r.wait(t)
			output := r.output.String()
			if err == nil || r.stage != 1 || !strings.Contains(output, "ak "+refused+" not exist") || strings.Contains(output, "created") {
				t.Errorf("got %v after %d stages, want the first to fail with the reason, and no DLIJob:\n%s", err, r.stage, output)
			}
		})
	}
}

// startPipelines prepares a namespace for the examples and starts an operator, and a
// DLI whose jobs run until the test ends them.
func startPipelines(t *testing.T) (namespace string, server *dlitest.Server) {
	t.Helper()
	w := world.NewBare(t, controlPlane)
	namespace, server = w.Namespace, w.DLI
	server.SetTemplate(dlitest.Query("").Running(time.Hour))
	objects := []client.Object{
		testenv.Secret(namespace, "dli-credentials", dlitest.SampleUser()),
		connectionTo(server.URL(), namespace, "default", "dli-credentials"),
	}
	for _, object := range objects {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	for _, commands := range documentedCommands(testenv.Read(t, "../docs/submitting.md")) {
		if strings.Contains(commands, "dli-submit") {
			follow(t, commands, namespace, server)
		}
	}
	for _, role := range installedRoles(t) {
		if err := client.IgnoreAlreadyExists(admin.Create(t.Context(), role)); err != nil {
			t.Fatal(err)
		}
	}
	w.Options.Controllers.Schedule = quick()
	w.Start()
	return namespace, server
}

// installedRoles returns the ClusterRoles that config/default installs.
// TestChartLikeKustomize checks that the chart installs the same.
func installedRoles(t *testing.T) (roles []*rbacv1.ClusterRole) {
	t.Helper()
	for document := range strings.SplitSeq(kubectl(t, "default", "kustomize", "../config/default"), "\n---\n") {
		role := &rbacv1.ClusterRole{}
		if err := yaml.Unmarshal([]byte(document), role); err == nil && role.Kind == "ClusterRole" {
			roles = append(roles, role)
		}
	}
	return roles
}

func TestDocumentedRolesAreInstalled(t *testing.T) {
	installed := map[string]bool{}
	for _, role := range installedRoles(t) {
		installed[role.Name] = true
	}
	files, err := filepath.Glob(examples + "*.*")
	if err != nil {
		t.Fatal(err)
	}
	texts := documents(t)
	for _, file := range files {
		texts[file] = testenv.Read(t, file)
	}
	named := 0
	for path, text := range texts {
		for _, name := range regexp.MustCompile(`\b[a-z-]*dli(job|connection)-(editor|viewer)-role\b`).FindAllString(text, -1) {
			named++
			if !installed[name] {
				t.Errorf("%s mentions the ClusterRole %s, which is not installed", path, name)
			}
		}
	}
	if named < 2 {
		t.Errorf("only %d ClusterRoles are mentioned", named)
	}
}

// begin starts a pipeline. Each run uses its own database, which identifies its DLIJob.
func begin(t *testing.T, p pipeline, server *dlitest.Server, namespace, number string, last ...string) *pipelineRun {
	t.Helper()
	as := "system:serviceaccount:" + namespace + ":dli-pipeline"
	config := controlPlane.Config()
	config.Impersonate.UserName = as
	r := &pipelineRun{
		client: testenv.Client(t, config), namespace: namespace, dir: t.TempDir(), ended: make(chan error, 1),
		env: append(os.Environ(),
			"PATH="+os.Getenv("KUBEBUILDER_ASSETS")+string(os.PathListSeparator)+os.Getenv("PATH"),
			"KUBECONFIG="+kubeconfig(t, namespace, as)),
		last: append(last, "DLI_DATABASE=run"+number),
	}
	for _, file := range []string{"submit-to-dli.sh", "load.sql"} {
		if err := os.WriteFile(filepath.Join(r.dir, file), []byte(testenv.Read(t, examples+file)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	dli := dlitest.SampleUser()
	r.known = map[string]string{
		"${{ vars.DLI_ENDPOINT }}":             server.URL(),
		"${{ vars.DLI_PROJECT_ID }}":           dli.ProjectID,
		"${{ secrets.DLI_ACCESS_KEY_ID }}":     dli.AccessKeyID,
		"${{ secrets.DLI_SECRET_ACCESS_KEY }}": dli.SecretAccessKey,
		"${{ github.run_id }}":                 number,
		"${{ github.run_attempt }}":            "1",
		"$CI_JOB_ID":                           number,
		"$(params.sql)":                        testenv.Read(t, examples+"load.sql"),
		"$(results.job-id.path)":               filepath.Join(r.dir, "job-id"),
		"/opt/pipeline/":                       r.dir + "/",
	}
	go func() {
		var err error
		for r.stage = 0; r.stage < len(p) && err == nil; r.stage++ {
			err = p[r.stage](t.Context(), r)
		}
		r.ended <- err
	}()
	return r
}

// awaitRunning waits until the DLIJob of the run is running, and returns its job ID.
// The test fails if the run ends before.
func (r *pipelineRun) awaitRunning(t *testing.T, database string) (id string) {
	t.Helper()
	running := func() bool {
		select {
		case err := <-r.ended:
			t.Fatalf("the pipeline ended (%v) before its job:\n%s", err, r.output.String())
		default:
		}
		jobs := &v1alpha1.DLIJobList{}
		if err := admin.List(t.Context(), jobs, client.InNamespace(r.namespace)); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(jobs.Items, func(job v1alpha1.DLIJob) bool {
			return job.Status.DatabaseName == database && reasonOf(job.Status.Conditions) == v1alpha1.ReasonJobRunning
		})
		if i >= 0 {
			id = jobs.Items[i].Spec.JobID
		}
		return i >= 0
	}
	if !eventually(running) {
		t.Fatalf("no DLIJob watches the job:\n%s", r.output.String())
	}
	return id
}

// wait waits for the run to end and returns its error.
func (r *pipelineRun) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(time.Minute):
		t.Fatalf("the pipeline does not end:\n%s", r.output.String())
		return nil
	}
}
