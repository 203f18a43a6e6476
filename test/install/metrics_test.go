// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	certutil "k8s.io/client-go/util/cert"
)

// The operator serves metrics with the certificate of a mounted Secret, and with the next
// one as soon as the kubelet has replaced the files.
func TestMetricsCertificate(t *testing.T) {
	const serverName = manager + "-metrics." + namespace + ".svc"
	c := newCluster(t, "default")
	c.Kubectl("", "create", "serviceaccount", "scraper", "--namespace=default")
	c.Kubectl("", "create", "clusterrolebinding", "scraper", "--clusterrole=dli-operator-metrics-reader", "--serviceaccount=default:scraper")
	token := strings.TrimSpace(c.Kubectl("", "create", "token", "scraper", "--namespace=default"))

	mounted := t.TempDir()
	first := mountCertificate(t, mounted, "first", serverName)
	pod := c.deployed()[manager]
	pod.Containers[0].Args = append(pod.Containers[0].Args, "--metrics-cert-dir="+mounted)
	o := c.startPod(pod)

	// scrape returns the status of the response to a client that trusts a certificate.
	scrape := func(trusted []byte) (int, error) {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(trusted)
		scraper := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: serverName, MinVersion: tls.VersionTLS13},
		}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+o.metrics+"/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := scraper.Do(r)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	served := func(trusted []byte) func() bool {
		return func() bool {
			code, err := scrape(trusted)
			return err == nil && code == http.StatusOK
		}
	}
	c.Eventually("the metrics are served with the certificate", served(first))
	second := mountCertificate(t, mounted, "second", serverName)
	c.Eventually("the metrics are served with the renewed certificate", served(second))
	if _, err := scrape(first); err == nil {
		t.Error("the old certificate is still served")
	}
}

// mountCertificate puts a new certificate and its key where the kubelet puts those of a
// Secret: in a directory of their own, to which a link is changed at once.
func mountCertificate(t *testing.T, mounted, version, name string) (certificate []byte) {
	t.Helper()
	certificate, key, err := certutil.GenerateSelfSignedCertKey(name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(mounted, version), 0o700); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(mounted, version, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", file), filepath.Join(mounted, file)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	next := filepath.Join(mounted, "..data_tmp")
	if err := os.Symlink(version, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(mounted, "..data")); err != nil {
		t.Fatal(err)
	}
	return certificate
}
