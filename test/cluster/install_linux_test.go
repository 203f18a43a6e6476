// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	namespace  = "dli-operator-system"
	deployment = "deployment/dli-operator-controller-manager"
	chart      = "../../config/helm/dli-operator"
)

func TestCluster(t *testing.T) {
	build := func(t *testing.T, dir string) {
		t.Helper()
		buildImage(t, dir, "dli-operator:v0.1.1")
		buildReleases(t, dir)
	}
	inNamespaces(t, build, func(t *testing.T) {
		t.Helper()
		c := start(t)
		t.Run("release", c.testRelease)
		t.Run("kustomize", c.testKustomize)
		t.Run("helm", c.testHelm)
	})
}

// testKustomize installs config/default unchanged, then adds the flag that allows the
// simulated DLI.
func (c *cluster) testKustomize(t *testing.T) {
	run(t, "kubectl", "apply", "-k", "../../config/default")
	rolledOut(t)
	t.Run("runs without privileges", c.testSecurity)
	t.Run("its namespace enforces the restricted standard", func(t *testing.T) {
		out, err := try(t, "kubectl", "run", "unrestricted", "--image=pause:v1", "--namespace="+namespace, "--dry-run=server")
		if err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
			t.Errorf("a pod that violates the restricted standard is admitted: %v\n%s", err, out)
		}
	})
	addFlag(t, "--allowed-endpoint-hosts="+address)
	rolledOut(t)
	c.connect(t)
	t.Run("watches a job until it has finished", c.testJob)
	t.Run("the termination message names an invalid flag", c.testBadFlag)
	run(t, "kubectl", "delete", "-k", "../../config/default")
}

// testSecurity reads the security context from the kernel, not from the pods' specs.
func (c *cluster) testSecurity(t *testing.T) {
	for _, pod := range c.pods(t) {
		dir := fmt.Sprintf("/proc/%d/", manager(t, pod))
		status := testenv.Read(t, dir+"status")
		for field, want := range map[string]string{
			"Uid": "65532\t65532\t65532\t65532", "Gid": "65532\t65532\t65532\t65532",
			"NoNewPrivs": "1", "Seccomp": "2",
			"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
			"CapBnd": "0000000000000000", "CapAmb": "0000000000000000",
		} {
			if !strings.Contains(status, "\n"+field+":\t"+want+"\n") {
				t.Errorf("%s of %s is not %s:\n%s", field, pod.Name, want, status)
			}
		}
		if !regexp.MustCompile(`(?m)^\d+ \d+ \S+ \S+ / ro,`).MatchString(testenv.Read(t, dir+"mountinfo")) {
			t.Errorf("%s can write to its root:\n%s", pod.Name, testenv.Read(t, dir+"mountinfo"))
		}
	}
}

func (c *cluster) testJob(t *testing.T) {
	c.dli.SetJob(dlitest.Query("report").Launching(time.Second).Running(3 * time.Second).Finishes(4))
	c.watch(t, "report")
	run(t, "kubectl", "wait", "dlijob/report", "--for=condition=Completed", "--timeout=1m")
	if got := run(t, "kubectl", "get", "dlijob/report", "--output=jsonpath={.status.jobStatus} {.status.outcome} {.status.resultCount}"); got != "FINISHED Succeeded 4" {
		t.Errorf("the job is %s", got)
	}
	run(t, "kubectl", "delete", "dlijob/report")
}

// testBadFlag rolls out pods that fail to start. The old ones must keep running.
func (c *cluster) testBadFlag(t *testing.T) {
	before := c.pods(t)
	for flag, says := range map[string]string{"--poll-interval-min=soon": "-poll-interval-min", "--poll-interval-min=2m": "poll interval: the minimum (2m0s)"} {
		addFlag(t, flag)
		within(t, time.Minute, "a termination message explains "+flag, func() bool {
			return slices.ContainsFunc(c.pods(t), func(pod corev1.Pod) bool {
				return slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
					ended := cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated)
					return ended != nil && strings.Contains(ended.Message, says)
				})
			})
		})
		run(t, "kubectl", "rollout", "undo", deployment, "--namespace="+namespace)
		rolledOut(t)
	}
	for _, pod := range before {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(&pod), &corev1.Pod{}); err != nil {
			t.Errorf("a working pod was deleted: %v", err)
		}
	}
}

// testHelm installs the chart in a namespace that enforces the restricted standard, as
// docs/operations.md describes.
func (c *cluster) testHelm(t *testing.T) {
	run(t, "kubectl", "apply", "--filename=../helm/testdata/prometheus-operator.yaml")
	values := []string{"--namespace=" + namespace, "--wait", "--set=allowedEndpointHosts={" + address + "}", "--set=metrics.serviceMonitor.enabled=true"}
	run(t, "helm", append([]string{"install", "dli-operator", chart, "--create-namespace"}, values...)...)
	run(t, "kubectl", "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
	c.connect(t)
	t.Run("watches a job until it has finished", c.testJob)
	t.Run("the token of the ServiceMonitor reads the metrics", c.testMetrics)
	c.testReplacements(t, values)
	run(t, "helm", "uninstall", "dli-operator", "--namespace="+namespace, "--wait")
	left := run(t, "kubectl", "get", "deployments,services,roles,rolebindings,poddisruptionbudgets,leases", "--namespace="+namespace, "--output=name")
	if left != "lease.coordination.k8s.io/dli-operator\n" {
		t.Errorf("helm uninstall leaves more than the lease:\n%s", left)
	}
}

// testMetrics scrapes both pods with the token that the ServiceMonitor names.
func (c *cluster) testMetrics(t *testing.T) {
	secret := &corev1.Secret{}
	within(t, time.Minute, "the Secret has a token", func() bool {
		err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "dli-operator-metrics-reader"}, secret)
		return err == nil && len(secret.Data["token"]) > 0
	})
	scraper := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // as the ServiceMonitor says
	for _, pod := range c.pods(t) {
		for token, want := range map[string]int{string(secret.Data["token"]): http.StatusOK, "": http.StatusUnauthorized} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+pod.Status.PodIP+":8443/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			if token != "" {
				request.Header.Set("Authorization", "Bearer "+token)
			}
			response, err := scraper.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != want {
				t.Errorf("with a token of %d bytes, %s answers %s, want %d", len(token), pod.Name, response.Status, want)
			}
		}
	}
}

// addFlag adds a flag to the operator's Deployment.
func addFlag(t *testing.T, flag string) {
	t.Helper()
	run(t, "kubectl", "patch", deployment, "--namespace="+namespace, "--type=json",
		`--patch=[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "`+flag+`"}]`)
}

func rolledOut(t *testing.T) {
	t.Helper()
	run(t, "kubectl", "rollout", "status", deployment, "--namespace="+namespace, "--timeout=2m")
}

// pods returns the operator's pods that are not being deleted.
func (c *cluster) pods(t *testing.T) (pods []corev1.Pod) {
	t.Helper()
	list := &corev1.PodList{}
	if err := c.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// manager returns the process ID of a pod's only container.
func manager(t *testing.T, pod corev1.Pod) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file)
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if strings.Contains(string(text), "/pod"+string(pod.UID)+"/") && strings.Contains(string(name), "--leader-elect") {
			var pid int
			if _, err := fmt.Sscanf(file, "/proc/%d/", &pid); err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("pod %s has no process", pod.Name)
	return 0
}

// connect creates the DLIConnection to the simulated DLI for DLIJobs in the namespace
// default.
func (c *cluster) connect(t *testing.T) {
	t.Helper()
	connection := testenv.Connection("default", "default", c.dli.url, "credentials")
	connection.Spec.CABundle, connection.Spec.RateLimit = c.dli.caBundle, v1alpha1.RateLimit{RequestsPerSecond: 500, Burst: 500}
	for _, object := range []client.Object{testenv.Secret("default", "credentials", dlitest.SampleUser()), connection} {
		if err := c.Create(t.Context(), object); client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
	}
}

// watch creates a DLIJob named like the job.
func (c *cluster) watch(t *testing.T, id string) {
	t.Helper()
	if err := c.Create(t.Context(), &v1alpha1.DLIJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: id},
		Spec:       v1alpha1.DLIJobSpec{JobID: id, PollIntervalSeconds: new(int32(1))},
	}); err != nil {
		t.Fatal(err)
	}
}
