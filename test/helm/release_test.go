// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// This runs on a real API server. There are no nodes, so no pods run.
func TestReleases(t *testing.T) {
	c := newCluster(t, "testdata/prometheus-operator.yaml")

	c.install("dli-operator", "")
	c.Kubectl(job, "create", "-f", "-")
	c.install("dli-operator", everything)
	c.install("second", everyValue)
	c.install("third", custom+"crds: {install: false}")
	c.install("4", "crds: {install: false}")

	t.Run("the operator has the permissions it needs and no others", func(t *testing.T) {
		c.checkRights(t, "dli-operator-controller-manager", map[string]string{
			"get secrets": "yes", "list secrets": "no", "patch dlijobs --subresource=status": "yes", "patch dlijobs": "no",
			"create tokenreviews.authentication.k8s.io": "yes", "create leases.coordination.k8s.io": "yes",
		})
	})

	t.Run("a namespaced operator has permissions in its namespaces only", c.installNamespaced)

	t.Run("helm test finds out whether one of the replicas leads", c.testHook)

	for _, release := range []string{"namespaced", "4", "third", "second", "dli-operator"} {
		c.helm("", "uninstall", release, "--namespace="+namespace)
	}
	if left := c.Kubectl("", "get", "deployments,clusterroles,roles,rolebindings,serviceaccounts", "-A", "-o", "name", "-l", "app.kubernetes.io/name=dli-operator"); left != "" {
		t.Errorf("helm uninstall keeps %s", left)
	}
	if left := c.Kubectl("", "get", "dlijobs", "-o", "name"); !strings.Contains(left, "report") {
		t.Error("helm uninstall deletes the DLIJobs")
	}
	if going := c.Kubectl("", "get", "crd", "dlijobs.dli.huaweicloud.com", "-o", "jsonpath={.metadata.deletionTimestamp}"); going != "" {
		t.Error("helm uninstall deletes the CRDs, and so the DLIJobs")
	}
	c.install("dli-operator", "")
}

func (c cluster) installNamespaced(t *testing.T) {
	c.T = t
	for _, name := range []string{"team-a", "team-b", "shared"} {
		c.Kubectl("", "create", "namespace", name)
	}
	c.install("namespaced", namespaced+"defaultConnection: shared/dli")
	c.checkRights(t, "namespaced-dli-operator-controller-manager", map[string]string{
		"list dlijobs -n team-a": "yes", "get secrets -n team-b": "yes", "create events.events.k8s.io -n team-a": "yes",
		"create leases.coordination.k8s.io": "yes", "watch dliconnections -n shared": "yes", "get secrets -n shared": "yes", "list dlijobs -n shared": "no",
		"list dlijobs -A": "no", "list dliconnections -A": "no", "get secrets -n default": "no", "list secrets -n team-a": "no",
		"list namespaces": "no", "create tokenreviews.authentication.k8s.io": "no",
	})
}

// checkRights asks the API server what a ServiceAccount may do in the release's
// namespace, or in the one that the question names.
func (c cluster) checkRights(t *testing.T, account string, answers map[string]string) {
	t.Helper()
	for question, want := range answers {
		args := append([]string{"-n", namespace, "--as=system:serviceaccount:" + namespace + ":" + account}, strings.Fields(question)...)
		if got := testenv.CanI(t, c.Admin, args...); got != want {
			t.Errorf("may %s: %q, want %s", question, got, want)
		}
	}
}

const job = `
apiVersion: dli.huaweicloud.com/v1alpha1
kind: DLIJob
metadata: {name: report}
spec: {jobID: "1"}
`

type cluster struct {
	testenv.Cluster
	program string // helm's path
}

// newCluster starts a control plane with the CRDs of a file.
func newCluster(t *testing.T, crds string) cluster {
	t.Helper()
	return cluster{testenv.NewCluster(t, crds), helm(t)}
}

// install installs or upgrades a release. Fields that are unknown to the API server are
// errors.
func (c cluster) install(release, values string) {
	c.Helper()
	c.helm(values, "upgrade", "--install", release, chart, "--namespace="+namespace, "--create-namespace", "--values=-")
	rendered := c.helm(values, "template", release, chart, "--namespace="+namespace, "--values=-")
	c.Kubectl(rendered, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
	c.Kubectl("", "wait", "--for=condition=Established", "crd/dlijobs.dli.huaweicloud.com", "crd/dliconnections.dli.huaweicloud.com")
}

func (c cluster) helm(input string, args ...string) string {
	c.Helper()
	out, err := c.tryHelm(input, args...)
	if err != nil {
		c.Fatal(err)
	}
	return out
}

func (c cluster) tryHelm(input string, args ...string) (string, error) {
	c.Helper()
	return testenv.Exec(c.T, []string{"KUBECONFIG=" + c.Admin, "HOME=" + filepath.Dir(c.Admin)}, input, c.program, args...)
}

// everyValue sets every list and map.
const everyValue = `
image: {repository: "registry.example.com:5000/dli-operator", digest: "sha256:` + digest + `", pullPolicy: Always}
imagePullSecrets: [{name: registry}]
crds: {install: false}
replicas: 3
watchNamespaces: [team-a]
watchLabelSelector: tier=gold
defaultConnection: shared/dli
allowedEndpointHosts: ["*.example.com"]
extraArgs: [--zap-log-level=debug]
env: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}]
serviceAccount: {annotations: {example.com/agency: dli-reader}}
metrics:
  serviceMonitor: {enabled: true, interval: 15s, labels: {release: prometheus}}
  rules: {enabled: true, labels: {release: prometheus}}
  dashboard: {enabled: true, labels: {grafana: "yes"}}
networkPolicy: {enabled: true}
podDisruptionBudget: {maxUnavailable: 50%}
resources: {requests: {cpu: 100m}, limits: {memory: 1Gi}}
commonLabels: {example.com/platform: data}
reportConnections: false
deploymentAnnotations: {example.com/note: a}
podAnnotations: {example.com/note: a}
podLabels: {example.com/team: a}
podSecurityContext: {runAsUser: 1000700000, fsGroup: 1000700000}
securityContext: {runAsGroup: 1000700000}
strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
revisionHistoryLimit: 2
extraVolumes: [{name: ca, configMap: {name: corporate-ca}}]
extraVolumeMounts: [{name: ca, mountPath: /etc/ssl/certs/corporate.crt, subPath: ca.crt, readOnly: true}]
hostAliases: [{ip: 10.0.0.1, hostnames: [dli.internal.example.com]}]
dnsPolicy: None
dnsConfig: {nameservers: [10.0.0.2], searches: [example.com], options: [{name: ndots, value: "1"}]}
test: {image: "registry.example.com:5000/kubectl:v1.37.2"}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - {weight: 1, podAffinityTerm: {topologyKey: topology.kubernetes.io/zone, labelSelector: {matchLabels: {app.kubernetes.io/name: dli-operator}}}}
topologySpreadConstraints:
- {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app.kubernetes.io/name: dli-operator}}}
priorityClassName: system-cluster-critical
`

const digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
