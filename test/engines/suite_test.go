// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package engines runs the tools that wait for DLIJobs in pipelines, against a real API
// server and the operator with default flags. It checks what each makes of a DLIJob, and
// measures how long that takes. Only DLI is simulated.
package engines

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

var (
	plane = &testenv.ControlPlane{CRDs: "../../config/crd/bases"}
	admin client.Client
	dli   *dlitest.Server
	// kubeconfigs has the paths of the administrator's kubeconfigs, by namespace.
	kubeconfigs = map[string]string{}
)

// The namespaces of DLIJobs; lockedOut has a wrong access key.
const (
	pipelines = "pipelines"
	lockedOut = "locked-out"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests mostly wait.
	must(flag.Set("test.parallel", "100"))
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if testing.Short() {
		fmt.Println("engines: not in short mode; make test-engines runs them")
		return 0
	}
	ctrl.SetLogger(logr.Discard())
	dir, err := os.MkdirTemp("", "dli-engines-")
	must(err)
	defer os.RemoveAll(dir)
	must(plane.Start())
	defer func() { must(plane.Close()) }()
	for _, namespace := range []string{pipelines, lockedOut} {
		kubeconfigs[namespace] = filepath.Join(dir, namespace)
		must(testenv.WriteKubeConfig(kubeconfigs[namespace], plane.Config(), namespace))
	}
	admin, err = client.New(plane.Config(), client.Options{Scheme: testenv.Scheme()})
	must(err)
	dli, err = dlitest.NewServer()
	must(err)
	defer dli.Close()
	must(connect(context.Background(), pipelines, dlitest.SampleUser()))
	must(connect(context.Background(), lockedOut, dlitest.User{AccessKeyID: "AKUNKNOWN", SecretAccessKey: "SKUNKNOWN"}))

	binary, err := testenv.Operator(context.Background())
	must(err)
	operator, err := testenv.StartProcess(filepath.Join(dir, "log"), []string{"KUBECONFIG=" + kubeconfigs[pipelines]}, binary,
		"--allow-insecure-endpoints", "--metrics-bind-address=0", "--health-probe-bind-address=0")
	must(err)
	defer operator.Kill()

	code := m.Run()
	if code != 0 {
		fmt.Printf("the operator's log ends with:\n%s\n", operator.Said())
	}
	fmt.Print(seen.table())
	page, err := os.ReadFile("../../docs/gating.md")
	must(err)
	for _, row := range seen.missing(string(page)) {
		code = 1
		fmt.Printf("docs/gating.md lacks the row %s\n", row)
	}
	return code
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// connect creates a namespace with a DLIConnection that has the credentials of a user.
func connect(ctx context.Context, namespace string, user dlitest.User) error {
	var failed error
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		testenv.Secret(namespace, "dli-credentials", user),
		testenv.Connection(namespace, "default", dli.URL(), "dli-credentials"),
	} {
		failed = errors.Join(failed, admin.Create(ctx, object))
	}
	return failed
}

// verdict is what an engine makes of a DLIJob.
type verdict string

const (
	passes verdict = "passes"
	fails  verdict = "fails"
	waits  verdict = "waits"
)

// scenario is the fate of a job.
type scenario struct {
	name      string
	namespace string
	// newJob returns a job without a timeline: dlitest.Query or dlitest.Batch.
	newJob func(id string) dlitest.Job
	// job adds the timeline in DLI; nil for a job that DLI does not have.
	job func(dlitest.Job) dlitest.Job
	// want is the verdict of a correct gate.
	want verdict
}

var scenarios = []scenario{
	{"finishes", pipelines, dlitest.Query, func(job dlitest.Job) dlitest.Job { return job.Running(2 * time.Second).Finishes(4) }, passes},
	{"runs 40 s", pipelines, dlitest.Query, func(job dlitest.Job) dlitest.Job { return job.Running(40 * time.Second).Finishes(4) }, passes},
	{"fails", pipelines, dlitest.Query, func(job dlitest.Job) dlitest.Job {
		return job.Running(2 * time.Second).Fails("DLI.0005: no such table")
	}, fails},
	{"not found", pipelines, dlitest.Query, nil, fails},
	{"wrong credentials", lockedOut, dlitest.Query, func(job dlitest.Job) dlitest.Job { return job.Running(2 * time.Second).Finishes(4) }, fails},
}

// sparkScenarios are additional ones, for gates with spark.
var sparkScenarios = []scenario{
	{"Spark job succeeds", pipelines, dlitest.Batch, func(job dlitest.Job) dlitest.Job { return job.Running(2 * time.Second).Finishes(0) }, passes},
	{"Spark job is dead", pipelines, dlitest.Batch, func(job dlitest.Job) dlitest.Job {
		return job.Running(2 * time.Second).Fails("DLI.0002: no such file")
	}, fails},
}

// job is a job that an engine waits for.
type job struct {
	scenario
	// id is the ID of the job, and the name of everything that is created for it.
	id string
}

// manifest returns a DLIJob for the job; further fields of the spec can be appended.
func (j job) manifest() string {
	jobType := v1alpha1.JobTypeSQL
	if j.newJob(j.id).Batch {
		jobType = v1alpha1.JobTypeSpark
	}
	return fmt.Sprintf(`apiVersion: dli.huaweicloud.com/v1alpha1
kind: DLIJob
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  jobID: %[1]s
  type: %[3]s
`, j.id, j.namespace, jobType)
}

// hook returns the manifest with an annotation.
func hook(j job, annotation string) string {
	return strings.Replace(j.manifest(), "}\nspec:", ", annotations: {"+annotation+"}}\nspec:", 1)
}

// watched returns the DLIJob for the job; nil while there is none.
func (j job) watched(t *testing.T) *v1alpha1.DLIJob {
	t.Helper()
	list := &v1alpha1.DLIJobList{}
	if err := admin.List(t.Context(), list, client.InNamespace(j.namespace)); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list.Items, func(item v1alpha1.DLIJob) bool { return item.Spec.JobID == j.id })
	if i < 0 {
		return nil
	}
	return &list.Items[i]
}

// gate is a way to make an engine wait for a DLIJob.
type gate struct {
	name string
	// begin makes the engine wait for a job. It returns a function that returns the
	// verdict; waits until there is one.
	begin func(t *testing.T, j job) func() verdict
	// unlike has the verdicts that differ from those of a correct gate, by scenario.
	unlike map[string]verdict
	// spark is set for gates that are tried with Spark jobs, too.
	spark bool
}

// settled is how long an engine may take after the DLIJob has its outcome: Flux checks
// dependencies every 30 s.
const settled = time.Minute

// within is how long an engine may take in total, when all start at once.
const within = 5 * time.Minute

// judge makes the engine wait for a job of each scenario, in parallel.
func (g gate) judge(t *testing.T) {
	t.Helper()
	all := scenarios
	if g.spark {
		all = slices.Concat(scenarios, sparkScenarios)
	}
	for i, s := range all {
		t.Run(g.name+"/"+s.name, func(t *testing.T) {
			t.Parallel()
			j := job{s, fmt.Sprintf("%s-%d", identifier(g.name), i)}
			if s.job != nil {
				dli.SetJob(s.job(s.newJob(j.id)))
			}
			began := time.Now()
			decided := g.begin(t, j)
			got, over := waits, time.Time{}
			eventually(within, func() bool {
				got = decided()
				if over.IsZero() && isOver(j.watched(t)) {
					over = time.Now()
				}
				return got != waits || !over.IsZero() && time.Since(over) > settled
			})
			seen.note(g.name, s.name, got, time.Since(began))
			want, known := g.unlike[s.name]
			if !known {
				want = s.want
			}
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			// An earlier verdict does not depend on the DLIJob.
			if !known && got != waits && over.IsZero() && !isOver(j.watched(t)) {
				t.Errorf("got %s before the DLIJob had an outcome", got)
			}
		})
	}
}

// eventually waits for something that takes seconds. It checks rarely, because many wait
// in parallel.
func eventually(limit time.Duration, is func() bool) bool {
	return testenv.WithinEvery(500*time.Millisecond, limit, is)
}

// isOver reports whether there is nothing more to wait for: the job is completed, or
// requires user action.
func isOver(watched *v1alpha1.DLIJob) bool {
	return watched != nil && (watched.IsCompleted() || meta.IsStatusConditionTrue(watched.Status.Conditions, v1alpha1.StalledCondition))
}

// identifier turns the name of a gate into the name of an object.
func identifier(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name)), "-")
}

// results has the verdicts of all gates, by gate and scenario.
type results struct {
	mu    sync.Mutex
	gates []string
	cells map[[2]string]string
}

var seen = results{cells: map[[2]string]string{}}

func (r *results) note(gate, scenario string, v verdict, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.gates, gate) {
		r.gates = append(r.gates, gate)
		slices.Sort(r.gates)
	}
	r.cells[[2]string{gate, scenario}] = fmt.Sprintf("%s, %.0f s", v, took.Seconds())
	if v == waits {
		r.cells[[2]string{gate, scenario}] = string(v)
	}
}

// table returns the table of docs/gating.md.
func (r *results) table() string {
	var b strings.Builder
	b.WriteString("\n| |")
	all := slices.Concat(scenarios, sparkScenarios)
	for _, s := range all {
		b.WriteString(" " + s.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	for _, gate := range r.gates {
		b.WriteString("| " + gate + " |")
		for _, s := range all {
			b.WriteString(" " + cmp.Or(r.cells[[2]string{gate, s.name}], "not tried") + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// missing returns the rows that a page lacks, regardless of the times.
func (r *results) missing(page string) (rows []string) {
	times := regexp.MustCompile(`, \d+ s`)
	for row := range strings.Lines(r.table()) {
		row = times.ReplaceAllString(strings.TrimSpace(row), "")
		if !strings.Contains(times.ReplaceAllString(page, ""), row) {
			rows = append(rows, row)
		}
	}
	return rows
}

// enginesDir has the modules of the engines.
const enginesDir = "../../hack/engines/"

// directory returns the directory of a Go module, in the version of the engine's go.mod,
// or as module@version.
func directory(t *testing.T, engine, module string) string {
	t.Helper()
	out, err := testenv.Exec(t, nil, "", "go", "-C", enginesDir+engine, "mod", "download", "-json", module)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var downloaded struct{ Dir, Version string }
	if err := json.Unmarshal([]byte(out), &downloaded); err != nil {
		t.Fatal(err)
	}
	return downloaded.Dir
}

// install installs the CRDs of an engine.
func install(t *testing.T, paths ...string) {
	t.Helper()
	if _, err := envtest.InstallCRDs(plane.Config(), envtest.CRDInstallOptions{Paths: paths, ErrorIfPathMissing: true}); err != nil {
		t.Fatal(err)
	}
}

// apply applies manifests with kubectl.
func apply(t *testing.T, manifests string) {
	t.Helper()
	testenv.Kubectl(t, kubeconfigs[pipelines], manifests, "apply", "--server-side", "-f", "-")
}
