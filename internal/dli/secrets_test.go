// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// The endpoint of TestEchoedSecrets echoes the whole request in every text of its
// responses.
func TestEchoedSecrets(t *testing.T) {
	key := Credentials{AccessKeyID: "AK-0123456789", SecretAccessKey: "SK-0123456789", SecurityToken: "ST-0123456789"}
	token := Credentials{Token: "MIIT-0123456789"}
	echoOf := func(r *http.Request) string {
		_, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		return strings.Join([]string{"<", key.AccessKeyID, key.SecretAccessKey, key.SecurityToken, token.Token, "SIGNATURE", signature, ">"}, " ")
	}
	schema := func(echo string) string {
		return quote(`{"type":"struct","fields":[{"name":` + quote(echo) + `,"type":` + quote(strings.Repeat("x", 1000)+echo) + `}]}`)
	}
	for name, handler := range map[string]http.HandlerFunc{
		"a status": func(w http.ResponseWriter, r *http.Request) {
			echo := quote(echoOf(r))
			fmt.Fprintf(w, `{"job_id":%q,"status":%s,"job_type":%[3]s,"job_mode":%[3]s,"queue_name":%[3]s,"owner":%[3]s,"database_name":%[3]s,`+
				`"table_name":%[3]s,"result_path":%[3]s,"statement":%[3]s,"message":%[3]s,"detail":%[4]s}`, jobID, quote(key.SecretAccessKey), echo, schema(echoOf(r)))
		},
		"an escaped status": func(w http.ResponseWriter, r *http.Request) {
			echo := strings.NewReplacer("0", `\u0030`).Replace(quote(echoOf(r)))
			fmt.Fprintf(w, `{"job_id":%q,"status":"RUNNING","owner":%s,"message":%[2]s}`, jobID, echo)
		},
		"an unsuccessful response": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"is_success":false,"message":%s}`, quote(echoOf(r)))
		},
		"an error": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Request-Id", echoOf(r))
			w.Header().Set("Content-Type", "text/"+key.SecretAccessKey)
			w.WriteHeader(401)
			fmt.Fprintf(w, `{"error_code":%s,"error_msg":%s,"request_id":%[2]s}`, quote(key.AccessKeyID), quote(strings.Repeat("x", 480)+echoOf(r)))
		},
		"an error with control characters in between": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(401)
			fmt.Fprintf(w, `{"error_msg":"SK-01234\u000056789 MIIT-01234\u000056789"}`)
		},
		"an unsuccessful response with control characters in between": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"is_success":false,"message":"SK-01234\u000056789 MIIT-01234\u000056789"}`)
		},
		"an HTML page": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/"+key.SecretAccessKey)
			w.WriteHeader(500)
			fmt.Fprint(w, echoOf(r))
		},
		"a response that is not HTTP": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 %s\r\n\r\n", echoOf(r))
				_ = conn.Close()
			}
		},
	} {
		for _, creds := range []Credentials{key, token} {
			t.Run(name, func(t *testing.T) {
				client, _ := serve(t, handler)
				status, err := client.JobStatus(background, creds, jobID)
				shown := fmt.Sprintf("%+v %+v", status, err)
				if e, ok := AsError(err); ok {
					shown = fmt.Sprintf("%+v %v", *e, e.Err)
				}
				for _, secret := range []string{creds.AccessKeyID, creds.SecretAccessKey, creds.SecurityToken, creds.Token} {
					if secret != "" && strings.Contains(shown, secret) {
						t.Errorf("%s is shown in %s", secret, shown)
					}
				}
				if _, after, ok := strings.Cut(shown, "SIGNATURE "); ok && creds.Token == "" && !strings.HasPrefix(after, redacted) {
					t.Errorf("the signature is shown in %s", shown)
				}
			})
		}
	}
}

func TestShortSecretsAreNotRedacted(t *testing.T) {
	hide := secretsOf(Credentials{AccessKeyID: "test", SecretAccessKey: "default"}, "")
	if got := hide.in("test of default"); got != "test of default" {
		t.Errorf("got %q", got)
	}
}

func TestSecretInPieces(t *testing.T) {
	hide := secretsOf(Credentials{AccessKeyID: "AKEXAMPLE", SecretAccessKey: "SKEXAMPLE"}, "")
	a := answer{status: http.StatusOK, body: []byte(`{"job_id":"j","status":"FAILED","message":"SKEX\u0000AMPLE","statement":"select 'SKEX\u0007AMPLE'"}`)}
	status, failure := interpret(a, &hide, statusOf("j"))
	if failure != nil {
		t.Fatal(failure)
	}
	if shown := status.Message + status.Statement; strings.Contains(shown, "SKEXAMPLE") || strings.Count(shown, "[redacted]") != 2 {
		t.Errorf("the response shows %q", shown)
	}
}
