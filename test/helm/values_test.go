// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/dli-operator/dli-operator/test/testenv"
)

func TestInvalidValues(t *testing.T) {
	for values, says := range map[string]string{
		"replica: 1":    "replica",
		"replicas: -1":  "/replicas",
		"replicas: two": "/replicas",
		"replicas: 2\nleaderElection: {enabled: false}": "/replicas",
		"image: latest":                                           "/image",
		"image: {repository: ''}":                                 "/image/repository",
		"image: {repository: 'a:b'}":                              "/image/repository",
		"image: {tag: 'a b'}":                                     "/image/tag",
		"image: {digest: sha256:1}":                               "/image/digest",
		"image: {pullPolicy: Sometimes}":                          "/image/pullPolicy",
		"watchNamespaces: team-a":                                 "/watchNamespaces",
		"watchNamespaces: [Team_A]":                               "/watchNamespaces/0",
		"rbac: {scope: Namespaced}":                               "scope",
		"rbac: {namespaced: true}":                                "/watchNamespaces",
		namespaced + "metrics: {serviceMonitor: {enabled: true}}": "/metrics/serviceMonitor/enabled",
		"watchLabelSelector: {team: a}":                           "/watchLabelSelector",
		"defaultConnection: shared":                               "/defaultConnection",
		"allowedEndpointHosts: ['https://dli.internal']":          "/allowedEndpointHosts/0",
		"metrics: {secured: true}":                                "secured",
		"metrics: {serviceMonitor: true}":                         "/metrics/serviceMonitor",
		"metrics: {serviceMonitor: {interval: 30}}":               "/metrics/serviceMonitor/interval",
		"metrics: {certificate: {secretName: A}}":                 "/metrics/certificate/secretName",
		"metrics: {certificate: {certManager: {issuerRef: ca}}}":  "/metrics/certificate/certManager/issuerRef",
		"metrics: {secure: false, certificate: {secretName: a}}":  "/metrics/certificate/secretName",
		namespaced + "metrics: {certificate: {secretName: a}}":    "/metrics/certificate/secretName",
		"metrics: {rules: {enabled: 'yes'}}":                      "/metrics/rules/enabled",
		"networkPolicy: true":                                     "/networkPolicy",
		"podDisruptionBudget: {maxUnavailable: 0}":                "/podDisruptionBudget/maxUnavailable",
		"extraArgs: --zap-log-level=debug":                        "/extraArgs",
		"extraArgs: [zap-log-level=debug]":                        "/extraArgs/0",
		"resources: {limit: {}}":                                  "limit",
		"nodeSelector: {disk: 1}":                                 "/nodeSelector/disk",
		"tolerations: {key: a}":                                   "/tolerations",
		"affinity: {nodes: {}}":                                   "nodes",
		"priorityClassName: 1":                                    "/priorityClassName",
		"serviceAccount: {annotations: {a: 1}}":                   "/serviceAccount/annotations/a",
		"serviceAccount: {create: false}":                         "/serviceAccount/name",
		"crds: {install: 'false'}":                                "/crds/install",
		"fullnameOverride: DLI":                                   "/fullnameOverride",
		"fullnameOverride: 1dli":                                  "/fullnameOverride",
		"commonLabels: {team: 1}":                                 "/commonLabels/team",
		"reportConnections: 'no'":                                 "/reportConnections",
		"deploymentAnnotations: {a: 1}":                           "/deploymentAnnotations/a",
		"strategy: {type: Slowly}":                                "/strategy/type",
		"revisionHistoryLimit: -1":                                "/revisionHistoryLimit",
		"extraVolumes: {name: ca}":                                "/extraVolumes",
		"extraVolumeMounts: [{name: ca}]":                         "/extraVolumeMounts/0",
		"hostAliases: [{ip: 10.0.0.1}]":                           "/hostAliases/0",
		"dnsPolicy: Mine":                                         "/dnsPolicy",
		"dnsConfig: {servers: []}":                                "servers",
		"test: {image: ''}":                                       "/test/image",
	} {
		if _, err := render(t, "dli-operator", values); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error is %v, want one with %q", values, err, says)
		}
	}
}

// A chart that has this one as a dependency may make it conditional, and has values for all
// of its charts.
func TestParentChart(t *testing.T) {
	parent := t.TempDir()
	for name, content := range map[string]string{
		"Chart.yaml": `{apiVersion: v2, name: parent, version: 1.0.0, dependencies: [
  {name: dli-operator, version: 0.1.0, condition: dli-operator.enabled}]}`,
		"values.yaml": "global: {region: cn-north-4}\ndli-operator: {enabled: true, replicas: 1}",
	} {
		if err := os.WriteFile(filepath.Join(parent, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(parent, "charts", "dli-operator"), os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	for enabled, want := range map[string]bool{"true": true, "false": false} {
		text, err := testenv.Exec(t, nil, "", helm(t), "template", "parent", parent, "--set=dli-operator.enabled="+enabled)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := find(parse(t, text), "Deployment", "") != nil; got != want {
			t.Errorf("enabled=%s renders a Deployment: %t", enabled, got)
		}
	}
}

// custom sets every value that becomes a flag.
const custom = `
fullnameOverride: dli-team-a
replicas: 1
watchNamespaces: [team-a, team-b]
watchLabelSelector: tier in (gold, silver)
defaultConnection: shared/dli
allowedEndpointHosts: ["*.example.com"]
metrics: {secure: false}
reportConnections: false
extraArgs: [--zap-log-level=debug]
`

func TestValuesBecomeFlags(t *testing.T) {
	objects := mustRender(t, "a", custom)
	want := []string{
		"--leader-elect",
		"--leader-election-id=dli-team-a",
		"--health-probe-bind-address=:8081",
		"--metrics-bind-address=:8443",
		"--metrics-secure=false",
		"--watch-namespaces=team-a,team-b",
		"--watch-label-selector=tier in (gold, silver)",
		"--default-connection=shared/dli",
		"--allowed-endpoint-hosts=*.example.com",
		"--report-connections=false",
		"--zap-log-level=debug",
	}
	got := arguments(t, objects)
	if !slices.Equal(got, want) {
		t.Errorf("the flags are %q, want %q", got, want)
	}

	source := testenv.Read(t, "../../main.go")
	for _, arg := range got {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if known := strings.Contains(source, `"`+name+`", `); !known && !strings.HasPrefix(name, "zap-") {
			t.Errorf("the operator has no flag --%s", name)
		}
	}
}

func container(t *testing.T, objects []*unstructured.Unstructured) map[string]any {
	t.Helper()
	containers, _, err := unstructured.NestedSlice(find(objects, "Deployment", "").Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) != 1 {
		t.Fatalf("want one container, got %v, %v", containers, err)
	}
	return containers[0].(map[string]any)
}

func arguments(t *testing.T, objects []*unstructured.Unstructured) []string {
	t.Helper()
	args, _, err := unstructured.NestedStringSlice(container(t, objects), "args")
	if err != nil {
		t.Fatal(err)
	}
	return args
}

func TestDisabledObjects(t *testing.T) {
	all := mustRender(t, "dli-operator", everything)
	for values, absent := range map[string][][2]string{
		"crds: {install: false}":                      {{"CustomResourceDefinition", ""}},
		"leaderElection: {enabled: false}":            {{"Role", ""}, {"RoleBinding", ""}},
		"metrics: {enabled: false}":                   {{"Service", ""}, {"ServiceMonitor", ""}, {"PrometheusRule", ""}, {"ConfigMap", ""}, {"ClusterRole", "metrics-reader"}},
		"metrics: {secure: false}":                    {{"ClusterRole", "metrics-reader"}, {"ClusterRole", "metrics-auth-role"}, {"ClusterRoleBinding", "metrics-auth-rolebinding"}, {"Secret", "metrics-reader"}},
		"networkPolicy: {enabled: false}":             {{"NetworkPolicy", ""}},
		"podDisruptionBudget: {enabled: false}":       {{"PodDisruptionBudget", ""}},
		"serviceAccount: {create: false, name: mine}": {{"ServiceAccount", ""}},
	} {
		// Without leader election, only one replica is allowed.
		objects := mustRender(t, "dli-operator", values+"\nreplicas: 1")
		for _, what := range absent {
			if find(all, what[0], what[1]) == nil {
				t.Fatalf("%s %s is never rendered", what[0], what[1])
			}
			if found := find(objects, what[0], what[1]); found != nil {
				t.Errorf("%s: renders %s %s", values, what[0], found.GetName())
			}
		}
	}
}

// Users with access to some namespaces only cannot install cluster-scoped objects.
func TestNamespacedRelease(t *testing.T) {
	for _, more := range []string{
		"networkPolicy: {enabled: true}\nmetrics: {rules: {enabled: true}, dashboard: {enabled: true}}",
		"metrics: {secure: false, serviceMonitor: {enabled: true}}",
		"defaultConnection: shared/dli",
	} {
		for _, o := range mustRender(t, "dli-operator", namespaced+more) {
			if o.GetNamespace() == "" {
				t.Errorf("%s: renders %s %s", more, o.GetKind(), o.GetName())
			}
		}
	}
}

func TestTwoReleases(t *testing.T) {
	first := mustRender(t, "a", everything)
	second := mustRender(t, "b", "crds: {install: false}\n"+everything)
	names := map[string]bool{}
	for _, o := range first {
		names[o.GetKind()+" "+o.GetName()] = true
	}
	for _, o := range second {
		if names[o.GetKind()+" "+o.GetName()] {
			t.Errorf("both releases have the %s %s", o.GetKind(), o.GetName())
		}
	}
	selector := func(objects []*unstructured.Unstructured) string {
		found, _, _ := unstructured.NestedString(find(objects, "Deployment", "").Object, "spec", "selector", "matchLabels", "app.kubernetes.io/instance")
		return found
	}
	if selector(first) == selector(second) {
		t.Errorf("both releases select pods of instance %s", selector(first))
	}
}

// Helm reads 1 as a number, y as true, and Services may not begin with a digit.
func TestNamesThatAreNotWords(t *testing.T) {
	service := regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	for _, release := range []string{"1", "0x1f", "1e3", "y", "null", "a.b", "2-dli-operator", strings.Repeat("9", 53)} {
		for _, o := range mustRender(t, release, everything) {
			if got := o.GetLabels()["app.kubernetes.io/instance"]; got != release {
				t.Errorf("%s: the instance of %s %s is %q", release, o.GetKind(), o.GetName(), got)
			}
			if o.GetKind() == "Service" && !service.MatchString(o.GetName()) {
				t.Errorf("%s: no Service may have the name %s", release, o.GetName())
			}
		}
	}
}

func TestCommonLabels(t *testing.T) {
	const values = `
commonLabels: {team: data, tier: all, app.kubernetes.io/name: mine}
podLabels: {tier: pods}
metrics: {dashboard: {labels: {tier: dashboard}}}
`
	objects := mustRender(t, "dli-operator", everything+"commonLabels: {team: data}")
	for _, o := range objects {
		if o.GetLabels()["team"] != "data" {
			t.Errorf("%s %s has the labels %v", o.GetKind(), o.GetName(), o.GetLabels())
		}
	}
	objects = mustRender(t, "dli-operator", everything, values)
	deployment := find(objects, "Deployment", "")
	pods, _, _ := unstructured.NestedStringMap(deployment.Object, "spec", "template", "metadata", "labels")
	for key, want := range map[string]string{"team": "data", "tier": "pods", "app.kubernetes.io/name": "dli-operator"} {
		if pods[key] != want {
			t.Errorf("the pods' label %s is %q, want %q", key, pods[key], want)
		}
	}
	if got := find(objects, "ConfigMap", "dashboard").GetLabels()["tier"]; got != "dashboard" {
		t.Errorf("the dashboard's own label is %q", got)
	}
}

func TestUninstall(t *testing.T) {
	for values, want := range map[string]string{"": "keep", "crds: {keep: false}": ""} {
		for _, o := range mustRender(t, "dli-operator", values) {
			if got := o.GetAnnotations()["helm.sh/resource-policy"]; o.GetKind() == "CustomResourceDefinition" && got != want {
				t.Errorf("%q: the policy of %s is %q, want %q", values, o.GetName(), got, want)
			}
		}
	}
}

func TestHelmLint(t *testing.T) {
	if out, err := testenv.Exec(t, nil, "", helm(t), "lint", "--strict", chart); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
