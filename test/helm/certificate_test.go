// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestMetricsCertificate(t *testing.T) {
	const (
		monitored  = "metrics: {serviceMonitor: {enabled: true}}"
		serverName = "dli-operator-controller-manager-metrics." + namespace + ".svc"
	)
	for name, tt := range map[string]struct {
		values, secret string
		issuer         map[string]any
	}{
		"of the operator's own": {values: ""},
		"from a Secret":         {values: "{secretName: mine}", secret: "mine"},
		"self-signed":           {values: "{certManager: {enabled: true}}", secret: "dli-operator-metrics-certificate", issuer: map[string]any{"kind": "Issuer", "name": "dli-operator-metrics"}},
		"by an issuer":          {values: "{secretName: mine, certManager: {enabled: true, issuerRef: {name: ca}}}", secret: "mine", issuer: map[string]any{"name": "ca"}},
	} {
		t.Run(name, func(t *testing.T) {
			objects := mustRender(t, "dli-operator", monitored, "metrics: {certificate: "+tt.values+"}")
			verifies := map[string]any{"insecureSkipVerify": true}
			if tt.secret != "" {
				verifies = map[string]any{"serverName": serverName, "ca": map[string]any{"secret": map[string]any{"name": tt.secret, "key": "ca.crt"}}}
			}
			endpoints := at(find(objects, "ServiceMonitor", ""), "spec", "endpoints").([]any)
			if diff := cmp.Diff(verifies, endpoints[0].(map[string]any)["tlsConfig"]); diff != "" {
				t.Errorf("the ServiceMonitor's TLS settings (- want, + got):\n%s", diff)
			}
			if got, want := slices.Contains(arguments(t, objects), "--metrics-cert-dir=/metrics-certificate"), tt.secret != ""; got != want {
				t.Errorf("the operator is given a certificate: %t", got)
			}
			var mounted any
			if volumes, ok := at(find(objects, "Deployment", ""), "spec", "template", "spec", "volumes").([]any); ok {
				mounted = volumes[0].(map[string]any)["secret"].(map[string]any)["secretName"]
			}
			if tt.secret != "" && mounted != tt.secret {
				t.Errorf("the Secret %v is mounted, want %s", mounted, tt.secret)
			}
			certificate := find(objects, "Certificate", "")
			if (certificate != nil) != (tt.issuer != nil) {
				t.Fatalf("the Certificate is %v", certificate)
			}
			if certificate == nil {
				return
			}
			if diff := cmp.Diff(any(tt.issuer), at(certificate, "spec", "issuerRef")); diff != "" {
				t.Errorf("the issuer (- want, + got):\n%s", diff)
			}
			if names := at(certificate, "spec", "dnsNames").([]any); names[0] != serverName || at(certificate, "spec", "secretName") != tt.secret {
				t.Errorf("the Certificate is %v", certificate.Object["spec"])
			}
			if own := find(objects, "Issuer", "") != nil; own != (tt.issuer["kind"] == "Issuer") {
				t.Errorf("there is an Issuer of its own: %t", own)
			}
		})
	}
}

// at returns a field of an object; nil if there is none.
func at(o *unstructured.Unstructured, path ...string) any {
	value, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	return value
}
