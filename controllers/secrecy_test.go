// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/world"
)

// echo is an endpoint that echoes everything it knows about its clients in every field
// of a response. The path selects the kind of response.
type echo struct {
	key, token []string // what it knows about users of each kind

	mu       sync.Mutex
	asked    map[string]int
	captured []string // the credentials in requests
}

var answersOfEcho = map[string]int{
	"runs": 200, "fails": 200, "refuses": 200, "is-html": 200, "redirects": 302, "rejects": 401, "forbids": 403,
	"has-nothing": 404, "throttles": 429, "stumbles": 500,
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := strings.Split(r.URL.Path, "/")[1]
	authorization := r.Header.Get("Authorization")
	_, signature, _ := strings.Cut(authorization, "Signature=")
	e.mu.Lock()
	e.asked[kind]++
	for _, secret := range []string{authorization, signature} {
		if secret != "" {
			e.captured = append(e.captured, secret)
		}
	}
	e.mu.Unlock()

	known := e.token
	if authorization != "" {
		known = append(slices.Clone(e.key), authorization, signature)
	}
	told := strings.Join(known, " ")
	for _, header := range []string{"X-Request-Id", "X-Trace", "Server", "Location", "Www-Authenticate"} {
		w.Header().Set(header, told)
	}
	id := strings.Split(r.URL.Path, "/jobs/")[1]
	answer := map[string]any{
		"is_success": kind != "refuses", "job_id": strings.TrimSuffix(id, "/status"), "status": "RUNNING", "message": told,
		"error_msg": told, "request_id": told, "error_code": known[0], "error": map[string]any{"code": known[0], "message": told},
		"detail": `{"type":"struct","fields":[{"name":"` + told + `","type":"` + known[0] + `","nullable":true,"metadata":{}}]}`,
	}
	for _, field := range []string{"job_type", "job_mode", "queue_name", "owner", "database_name", "table_name", "statement", "result_path"} {
		answer[field] = told
	}
	switch kind {
	case "runs":
		answer["status"] = known[0] // an unknown status
	case "fails":
		answer["status"], answer["duration"], answer["start_time"] = "FAILED", 1000, 1509335108918
	}
	body, _ := json.Marshal(answer)
	if kind == "is-html" {
		body = []byte("<html>" + told)
		w.Header().Set("Content-Type", told)
	}
	w.WriteHeader(answersOfEcho[kind])
	_, _ = w.Write(body)
}

func TestSecrecy(t *testing.T) {
	w := newBareWorld(t)
	const key, secret, securityToken, token = "HIDDENACCESSKEYID01", "HIDDENsecretACCESSkey02", "HIDDENsecurityTOKEN03", "HIDDENiamTOKEN04"
	odd := map[string]map[string]string{
		"odd-line-end": {"accessKeyID": "HIDDENodd05", "secretAccessKey": "HIDDENodd06\nHIDDENodd07"},
		"odd-control":  {"token": "HIDDENodd08\x00\x1b[31m"},
		"odd-both":     {"accessKeyID": "HIDDENodd09", "secretAccessKey": "HIDDENodd10", "token": "HIDDENodd11"},
		"odd-half":     {"secretAccessKey": "HIDDENodd12"},
		"odd-keys":     {"HIDDENkey13": "HIDDENodd14"},
	}
	endpoint := &echo{key: []string{key, secret, securityToken}, token: []string{token}, asked: map[string]int{}}
	server := httptest.NewServer(endpoint)
	t.Cleanup(server.Close)

	secrets := map[string]map[string]string{
		"key":   {"accessKeyID": key, "secretAccessKey": secret, "securityToken": securityToken},
		"token": {"token": token},
	}
	var jobs []*v1alpha1.DLIJob
	connect := func(name, secret, kind string) {
		w.MustCreate(connect(w, name, secret, func(spec *v1alpha1.DLIConnectionSpec) { spec.Endpoint = server.URL + "/" + kind }))
		jobs = append(jobs, w.WatchJob("job", named(name), of("", name)))
	}
	for name, data := range secrets {
		w.MustCreate(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}, StringData: data})
		for kind := range answersOfEcho {
			connect(name+"-"+kind, name, kind)
		}
	}
	for name, data := range odd {
		w.MustCreate(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}, StringData: data})
		connect(name, name, "runs")
	}
	w.Verbosity = 10
	operator := w.Start()
	for _, job := range jobs {
		w.Await(job, world.Patience, "reported", func(job *v1alpha1.DLIJob) bool { return reasonOf(job) != "" && reasonOf(job) != "Pending" })
	}
	for kind := range answersOfEcho {
		if !eventually(func() bool { endpoint.mu.Lock(); defer endpoint.mu.Unlock(); return endpoint.asked[kind] >= 2 }) {
			t.Fatalf("the endpoint that %s received %d requests", kind, endpoint.asked[kind])
		}
	}
	operator.Stop()

	shown := map[string]string{"the log": w.Log.String()}
	for name, list := range map[string]client.ObjectList{
		"DLIJobs": &v1alpha1.DLIJobList{}, "DLIConnections": &v1alpha1.DLIConnectionList{}, "Events": &eventsv1.EventList{},
	} {
		if err := w.List(t.Context(), list, client.InNamespace(w.Namespace)); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		shown[name] = string(text)
	}
	families, err := operator.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown["the metrics"] = fmt.Sprint(families)

	// Finding nothing only proves something if the texts have the expected content.
	for where, has := range map[string]string{
		"the log": "Response Body", "DLIJobs": "[redacted]", "DLIConnections": "[redacted]", "Events": "[redacted]", "the metrics": "dli_operator_requests_total",
	} {
		if !strings.Contains(shown[where], has) {
			t.Errorf("%s do not contain %q", where, has)
		}
	}
	hidden := append([]string{key, secret, securityToken, token}, endpoint.captured...)
	for _, data := range odd {
		for name, value := range data {
			hidden = append(hidden, value)
			if strings.HasPrefix(name, "HIDDEN") {
				hidden = append(hidden, name)
			}
			for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return r <= ' ' }) {
				hidden = append(hidden, part)
			}
		}
	}
	for where, text := range shown {
		text += dumped(text)
		for _, secret := range hidden {
			for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
				if at := strings.Index(text, form); at >= 0 {
					t.Errorf("%s contain %q: %.300s", where, secret, text[max(0, at-100):])
				}
			}
		}
	}
	t.Logf("searched for %d texts in %d bytes of log", len(hidden), len(shown["the log"]))
}

// dumped decodes the hexadecimal dumps in a text: this is how client-go logs response
// bodies.
func dumped(text string) string {
	var plain strings.Builder
	for _, line := range regexp.MustCompile(`(?:[0-9a-f]{2} ){8}.{0,30}?\|(.{1,16}?)\|\\n`).FindAllStringSubmatch(text, -1) {
		plain.WriteString(line[1])
	}
	return plain.String()
}
