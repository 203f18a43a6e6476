// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"
)

// signatureOf is an independent implementation of the signature, for a request without a body
// whose path needs no escaping and whose query is canonical.
func signatureOf(host, path, query, date string, creds Credentials) string {
	headers, names := "host:"+host+"\nx-project-id:"+projectID+"\nx-sdk-date:"+date+"\n", "host;x-project-id;x-sdk-date"
	if creds.SecurityToken != "" {
		headers += "x-security-token:" + creds.SecurityToken + "\n"
		names += ";x-security-token"
	}
	canonical := "GET\n" + path + "/\n" + query + "\n" + headers + "\n" + names + "\n" + hexSHA256("")
	mac := hmac.New(sha256.New, []byte(creds.SecretAccessKey))
	mac.Write([]byte("SDK-HMAC-SHA256\n" + date + "\n" + hexSHA256(canonical)))
	return hex.EncodeToString(mac.Sum(nil))
}

func hexSHA256(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestSignatures(t *testing.T) {
	midnight := time.Date(2026, 1, 1, 8, 0, 0, 0, time.FixedZone("CST", 8*60*60))
	client := clientOf(t, "https://dli.cn-north-4.myhuaweicloud.com", func(c *Config) {
		c.Now = func() time.Time { return midnight }
	})
	const job = "6d2146a0-c2d5-41bd-8ca0-ca9694ada992"

	temporary := Credentials{AccessKeyID: "AKEXAMPLE", SecretAccessKey: "SKEXAMPLE", SecurityToken: "STEXAMPLE"}
	otherSecret := Credentials{AccessKeyID: accessKey.AccessKeyID, SecretAccessKey: "another"}
	// What is remembered of a set of credentials must not be used for the next.
	for _, creds := range []Credentials{accessKey, accessKey, otherSecret, temporary, accessKey} {
		r, signature, err := client.newRequest(background, creds, questionAbout(t, client, job))
		if err != nil {
			t.Fatal(err)
		}
		want, names := signatureOf("dli.cn-north-4.myhuaweicloud.com", r.URL.Path, "", "20260101T000000Z", creds), "host;x-project-id;x-sdk-date"
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
		if r.Host != want || signature != signatureOf(want, "/v1.0/x", "", "20260101T120000Z", accessKey) {
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
