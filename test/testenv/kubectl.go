// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// WriteKubeConfig writes a kubeconfig with the server and user of a config, for a
// namespace; the default one if empty.
func WriteKubeConfig(path string, config *rest.Config, namespace string) error {
	const name = "test"
	file := clientcmdapi.NewConfig()
	file.Clusters[name] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	file.AuthInfos[name] = &clientcmdapi.AuthInfo{
		ClientCertificateData: config.CertData, ClientKeyData: config.KeyData,
		Token: config.BearerToken, Impersonate: config.Impersonate.UserName,
	}
	file.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name, Namespace: namespace}
	file.CurrentContext = name
	return clientcmd.WriteToFile(*file, path)
}

// KubeConfig writes a kubeconfig into a temporary directory of the test, and returns
// its path.
func KubeConfig(t testing.TB, config *rest.Config, namespace string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := WriteKubeConfig(path, config, namespace); err != nil {
		t.Fatal(err)
	}
	return path
}

// AccountKubeConfig is KubeConfig for a ServiceAccount, with a token of its own.
func AccountKubeConfig(t testing.TB, config *rest.Config, namespace, name string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	request := &authenticationv1.TokenRequest{}
	if err := Client(t, config).SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	user := rest.AnonymousClientConfig(config)
	user.BearerToken = request.Status.Token
	return KubeConfig(t, user, "")
}

// Kubectl runs kubectl with input on its standard input and returns its standard output.
// The test fails if kubectl does.
func Kubectl(t testing.TB, kubeconfig, input string, args ...string) string {
	t.Helper()
	out, err := TryKubectl(t, kubeconfig, input, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryKubectl is Kubectl for commands that may fail: it returns the standard output even
// with an error, which includes the standard error.
func TryKubectl(t testing.TB, kubeconfig, input string, args ...string) (string, error) {
	t.Helper()
	program := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")
	return Exec(t, []string{"KUBECONFIG=" + kubeconfig}, input, program, args...)
}

// CanI returns the output of kubectl auth can-i: yes or no.
func CanI(t testing.TB, kubeconfig string, args ...string) string {
	t.Helper()
	out, _ := TryKubectl(t, kubeconfig, "", append([]string{"auth", "can-i"}, args...)...)
	return strings.TrimSpace(out)
}
