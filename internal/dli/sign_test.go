// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// signatureOf is the simulator's signature of a request without a body.
func signatureOf(t *testing.T, host, path, query string, at time.Time, creds Credentials) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://"+host+path+"?"+query, http.NoBody)
	r.Header.Set("X-Project-Id", projectID)
	user := dlitest.User{AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey, SecurityToken: creds.SecurityToken}
	if err := dlitest.Sign(r, user, at); err != nil {
		t.Fatal(err)
	}
	_, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	return signature
}

func TestSignatures(t *testing.T) {
	midnight := time.Date(2026, 1, 1, 8, 0, 0, 0, time.FixedZone("CST", 8*60*60))
	client := clientOf(t, "https://dli.cn-north-4.myhuaweicloud.com", func(c *Config) {
		c.Now = func() time.Time { return midnight }
	})
	const job = "6d2146a0-c2d5-41bd-8ca0-ca9694ada992"

	otherSecret := Credentials{AccessKeyID: accessKey.AccessKeyID, SecretAccessKey: "another"}
	// What is remembered of a set of credentials must not be used for the next.
	for _, creds := range []Credentials{accessKey, accessKey, otherSecret, temporaryKey, accessKey} {
		r, signature, err := client.newRequest(background, creds, questionAbout(t, client, job))
		if err != nil {
			t.Fatal(err)
		}
		want, names := signatureOf(t, "dli.cn-north-4.myhuaweicloud.com", r.URL.Path, "", midnight, creds), "host;x-project-id;x-sdk-date"
		if creds.SecurityToken != "" {
			names += ";x-security-token"
		}
		if signature != want {
			t.Errorf("want %s, got %s", want, signature)
		}
		if got := r.Header.Get("Authorization"); got != "SDK-HMAC-SHA256 Access="+creds.AccessKeyID+", SignedHeaders="+names+", Signature="+want {
			t.Errorf("got Authorization: %s", got)
		}
		if got := r.Header.Get("X-Security-Token"); got != creds.SecurityToken {
			t.Errorf("got X-Security-Token: %s", got)
		}
	}
}

func TestHostHeader(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://dli.example.com":      "dli.example.com",
		"https://dli.example.com:443":  "dli.example.com",
		"https://dli.example.com:8443": "dli.example.com:8443",
		"https://dli.example.com:80":   "dli.example.com:80",
		"http://127.0.0.1:80":          "127.0.0.1",
		"https://[2001:db8::1]:443":    "[2001:db8::1]",
		"https://[2001:db8::1]":        "[2001:db8::1]",
	} {
		r, signature, err := clientOf(t, endpoint).newRequest(background, accessKey, question{path: "/v1.0/x"})
		if err != nil {
			t.Fatal(err)
		}
		if r.Host != want || signature != signatureOf(t, want, "/v1.0/x", "", noon, accessKey) {
			t.Errorf("%s: got the host %s, or it is not signed", endpoint, r.Host)
		}
	}
}

func TestUnusableCredentials(t *testing.T) {
	for _, tc := range []struct {
		name  string
		creds Credentials
		want  string
	}{
		{"an access key is good", accessKey, ""},
		{"a temporary access key is good", Credentials{AccessKeyID: "AK", SecretAccessKey: "SK", SecurityToken: "ST"}, ""},
		{"a token is good", Credentials{Token: "T"}, ""},
		{"nothing", Credentials{}, "holds no credentials"},
		{"half an access key", Credentials{AccessKeyID: "AK"}, "lacks secretAccessKey"},
		{"the other half", Credentials{SecretAccessKey: "SK"}, "lacks accessKeyID"},
		{"a security token alone", Credentials{SecurityToken: "ST"}, "lacks accessKeyID"},
		{"an access key and a token", Credentials{AccessKeyID: "AK", SecretAccessKey: "SK", Token: "T"}, "holds both an access key and a token"},
		{"a security token and a token", Credentials{SecurityToken: "ST", Token: "T"}, "holds both an access key and a token"},
		{"a newline", Credentials{AccessKeyID: "AK\n", SecretAccessKey: "SK"}, "has invalid characters in accessKeyID"},
		{"a blank", Credentials{AccessKeyID: "AK", SecretAccessKey: "S K"}, "has invalid characters in secretAccessKey"},
		{"a letter outside ASCII", Credentials{AccessKeyID: "AK", SecretAccessKey: "SK", SecurityToken: "钥"}, "has invalid characters in securityToken"},
		{"a header in a token", Credentials{Token: "T\r\nX-Evil: 1"}, "has invalid characters in token"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if err := tc.creds.Validate(); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("want %q, got %q", tc.want, got)
			}
		})
	}
}
