// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sample is the sample response in the API document, byte for byte. It is invalid JSON:
// the quotes in its message are not escaped.
//
//go:embed testdata/status-sample.zh-CN.txt
var sample string

// sampleStatus is the intended meaning of the API document's sample.
func sampleStatus() *JobStatus {
	return finishedStatus(withMessage(`{"error_code":"DLI.0999"}`), func(s *JobStatus) { s.JobMode = "" })
}

// TestAnswers tests every response of the contract with a real server. The numbers are
// those of the contract.
func TestAnswers(t *testing.T) {
	notJSON := &Error{Kind: KindInvalid, HTTPStatus: 200, Message: "HTTP 200 with an application/json body instead of one JSON value"}
	noJob := &Error{Kind: KindInvalid, HTTPStatus: 200, Message: "the response has no job ID, or that of another job"}
	noStatus := &Error{Kind: KindInvalid, HTTPStatus: 200, Message: "the response has no status"}
	notObject := &Error{Kind: KindInvalid, HTTPStatus: 200, Message: "the response is not a JSON object"}
	longMessage := strings.Repeat("作业失败\x01\x00\n", 2<<20/14)
	deep := strings.Repeat(`{"type":"array","elementType":`, 10000) + `"int"` + strings.Repeat(`}`, 10000)
	throttled := "The throttling threshold has been reached: policy user over ratelimit,limit:60,time:1 minute"
	throttledBody := `{"error_msg":"` + throttled + `","error_code":"APIGW.0308","request_id":"r2"}`
	throttle := func(wait time.Duration) *Error {
		return &Error{Kind: KindThrottle, HTTPStatus: 429, Code: "APIGW.0308", Message: throttled, RequestID: "r2", RetryAfter: wait}
	}

	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		want    any
	}{
		{"1: a finished query", reply(200, finished), finishedStatus()},
		{"2: the sample of the document", reply(200, sample), sampleStatus()},
		{"2: the sample truncated", reply(200, sample[:len(sample)-40]), notJSON},
		{"2: the sample about another job", reply(200, strings.Replace(sample, "208b08d4", "308b08d4", 1)), notJSON},
		{"3: a message that is escaped JSON stays text", reply(200, change(t, finished, `"message":""`, `"message":"{\"error_code\":\"DLI.0999\"}"`)),
			finishedStatus(withMessage(`{"error_code":"DLI.0999"}`))},
		{"4: launching", reply(200, young()), youngStatus()},
		{"5: launching with null figures", reply(200, young(`"duration":null,"detail":null,"result_count":null,"input_size":null,"tags":null,"message":null`)), youngStatus()},
		{"6: running", reply(200, young(`"status":"RUNNING","duration":0,"detail":"","job_mode":"async"`)),
			youngStatus(inState("RUNNING", StateRunning), func(s *JobStatus) { s.Duration, s.JobMode = new(time.Duration(0)), "async" })},
		{"8: cancelled", reply(200, young(`"status":"CANCELLED","message":"Execution Timeout"`)),
			youngStatus(inState("CANCELLED", StateCancelled), withMessage("Execution Timeout"))},
		{"9: a failed job's code does not describe the request", reply(200, young(`"status":"FAILED","message":"Please contact DLI service. DLI.0002: FileNotFoundException: getFileStatus on obs://b/x: status [404]\nCause by: ..."`)),
			youngStatus(inState("FAILED", StateFailed), withMessage("Please contact DLI service. DLI.0002: FileNotFoundException: getFileStatus on obs://b/x: status [404]\nCause by: ..."))},
		{"10: a failed job's message of 2 MiB", reply(200, young(`"status":"FAILED","message":`+quote(longMessage))),
			youngStatus(inState("FAILED", StateFailed), withMessage(strings.Repeat("作业失败\n", 314)+"作业失…"))},
		{"11: failed without a message", reply(200, young(`"status":"FAILED"`)), youngStatus(inState("FAILED", StateFailed))},
		{"12: counts are exact", reply(200, young(`"job_type":"INSERT","input_row_count":9007199254740993,"bad_row_count":2,"result_count":3000000000`)),
			youngStatus(func(s *JobStatus) {
				s.JobType, s.InputRowCount, s.BadRowCount, s.ResultCount = "INSERT", new(int64(9007199254740993)), new(int64(2)), new(int64(3000000000))
			})},
		{"15: an unknown status", reply(200, young(`"status":"SUSPENDED"`)), youngStatus(inState("SUSPENDED", StateUnrecognized))},
		{"17: no status", reply(200, change(t, finished, `"status":"FINISHED",`, ``)), noStatus},
		{"17: a null status", reply(200, young(`"status":null`)), noStatus},
		{"17: an empty status", reply(200, young(`"status":""`)), noStatus},
		{"17: a status that is a number", reply(200, young(`"status":5`)), noStatus},
		{"18: not successful", reply(200, `{"is_success":false,"message":"DLI.0999: busy"}`),
			&Error{Kind: KindRetry, HTTPStatus: 200, Code: "DLI.0999", Message: "DLI.0999: busy"}},
		{"18: not successful and no code", reply(200, `{"is_success":false,"message":""}`, "X-Request-Id: r1"),
			&Error{Kind: KindRetry, HTTPStatus: 200, Message: "DLI answered is_success: false without a reason", RequestID: "r1"}},
		{"18: not successful for a known reason", reply(200, `{"is_success":false,"message":"{\"error_code\":\"APIG.0308\"} time:1 second"}`),
			&Error{Kind: KindThrottle, HTTPStatus: 200, Code: "APIG.0308", Message: `{"error_code":"APIG.0308"} time:1 second`, RetryAfter: time.Second}},
		{"19: not successful, but finished", reply(200, change(t, finished, `"is_success":true`, `"is_success":false`)),
			&Error{Kind: KindRetry, HTTPStatus: 200, Message: "DLI answered is_success: false without a reason"}},
		{"20: success as a string", reply(200, change(t, finished, `"is_success":true`, `"is_success":"true"`)), finishedStatus()},
		{"21: success absent", reply(200, change(t, finished, `"is_success":true,`, ``)), finishedStatus()},
		{"23: a nested schema", reply(200, young(`"detail":`+quote(`{"type":"struct","fields":[`+
			`{"name":"a","type":{"type":"array","elementType":{"type":"struct","fields":[{"name":"x","type":"long","nullable":true,"metadata":{}}]},"containsNull":true},"nullable":false,"metadata":{}},`+
			`{"name":"m","type":{"type":"map","keyType":"string","valueType":"decimal(38,18)","valueContainsNull":true},"nullable":true,"metadata":{"comment":"c"}},`+
			`{"name":"u","type":{"type":"udt","class":"org.x.Vector","pyClass":null,"sqlType":"binary"},"nullable":true}]}`))),
			youngStatus(func(s *JobStatus) {
				s.Columns = []Column{
					{Name: "a", Type: "array<struct<x:bigint>>"},
					{Name: "m", Type: "map<string,decimal(38,18)>", Nullable: true},
					{Name: "u", Type: "binary", Nullable: true},
				}
			})},
		{"24: a schema 10,000 deep", reply(200, young(`"detail":`+quote(`{"type":"struct","fields":[{"name":"a","type":`+deep+`}]}`))), youngStatus()},
		{"24: a detail that is not JSON", reply(200, young(`"detail":"Spark"`)), youngStatus()},
		{"24: a detail that is an array", reply(200, young(`"detail":"[]"`)), youngStatus()},
		{"24: a detail that is not a string", reply(200, young(`"detail":{"type":"struct","fields":[]}`)), youngStatus()},
		{"tags", reply(200, young(`"tags":[{"key":"team","value":"数据"},{"key":"team","value":"twice"},{"key":"empty","value":""},`+
			`{"key":"long","value":`+quote(strings.Repeat("x", 257))+`},{"value":"no key"},5,null,{"key":"n","value":1}]`)),
			youngStatus(func(s *JobStatus) {
				s.Tags = []Tag{{"team", "数据"}, {"empty", ""}, {"n", "1"}}
			})},
		{"tags beyond the twentieth", reply(200, young(`"tags":[`+manyTags(21)+`]`)),
			youngStatus(func(s *JobStatus) {
				for i := range 20 {
					s.Tags = append(s.Tags, Tag{strconv.Itoa(i), "v"})
				}
			})},
		{"tags that are no array", reply(200, young(`"tags":{"key":"team","value":"x"}`)), youngStatus()},
		{"26: another job", reply(200, change(t, finished, "208b08d4", "308b08d4")), noJob},
		{"27: the job's id in upper case", reply(200, change(t, finished, jobID, strings.ToUpper(jobID))),
			finishedStatus(func(s *JobStatus) { s.JobID = strings.ToUpper(jobID) })},
		{"29: a second value", reply(200, finished+`{"status":"FAILED"}`), notJSON},
		{"29: text after the value", reply(200, finished+`ok`), notJSON},
		{"30: an empty body", reply(200, ""), &Error{Kind: KindInvalid, HTTPStatus: 200, Message: "HTTP 200 with an empty body instead of one JSON value"}},
		{"30: no content", reply(204, ""), &Error{Kind: KindInvalid, HTTPStatus: 204, Message: "HTTP 204 with an empty body"}},
		{"30: null", reply(200, "null"), notObject},
		{"30: an array", reply(200, "[]"), notObject},
		{"30: a string", reply(200, `""`), notObject},
		{"32: a login page", reply(200, "<html>login</html>", "Content-Type: text/html; charset=utf-8"),
			&Error{Kind: KindInvalid, HTTPStatus: 200, Message: "HTTP 200 with a text/html body instead of one JSON value"}},
		{"37: running after finished", reply(200, young(`"status":"RUNNING"`)), youngStatus(inState("RUNNING", StateRunning))},
		{"38: parameter check failed", reply(400, `{"error_msg":"The format of message is error","error_code":"DLI.0001"}`),
			&Error{Kind: KindRejected, HTTPStatus: 400, Code: "DLI.0001", Message: "The format of message is error"}},
		{"39: no such object", reply(400, `{"error_code":"DLI.0002","error_msg":"There is no queue named testqueue"}`),
			&Error{Kind: KindNotFound, HTTPStatus: 400, Code: "DLI.0002", Message: "There is no queue named testqueue"}},
		{"39: the same in an older document", reply(400, `{"error_code":"DLI.0008","error_msg":"There is no queue named testqueue"}`),
			&Error{Kind: KindSlow, HTTPStatus: 400, Code: "DLI.0008", Message: "There is no queue named testqueue"}},
		{"40: no such job", reply(404, `{"error_code":"DLI.0023","error_msg":"..."}`),
			&Error{Kind: KindNotFound, HTTPStatus: 404, Code: "DLI.0023", Message: "..."}},
		{"41: the server's fault despite HTTP 400", reply(400, `{"error_code":"DLI.0999","error_msg":"..."}`),
			&Error{Kind: KindRetry, HTTPStatus: 400, Code: "DLI.0999", Message: "..."}},
		{"42: the task timed out", reply(408, `{"error_code":"DLI.0019","error_msg":"Get sync job result timeout with id: J"}`),
			&Error{Kind: KindRetry, HTTPStatus: 408, Code: "DLI.0019", Message: "Get sync job result timeout with id: J"}},
		{"42: the task timed out, with HTTP 400", reply(400, `{"error_code":"DLI.0019","error_msg":"Get sync job result timeout with id: J"}`),
			&Error{Kind: KindRetry, HTTPStatus: 400, Code: "DLI.0019", Message: "Get sync job result timeout with id: J"}},
		{"44: not authenticated", reply(401, `{"error_code":"DLI.0013","error_msg":"X-Auth-Token is not defined in request"}`),
			&Error{Kind: KindAuth, HTTPStatus: 401, Code: "DLI.0013", Message: "X-Auth-Token is not defined in request"}},
		{"45: not authenticated despite HTTP 400", reply(400, `{"error_code":"DLI.0015","error_msg":"Token info for token is null, return."}`),
			&Error{Kind: KindAuth, HTTPStatus: 400, Code: "DLI.0015", Message: "Token info for token is null, return."}},
		{"47: a wrong signature", reply(401, `{"error_msg":"Incorrect IAM authentication information: verify aksk signature fail","error_code":"APIGW.0301","request_id":"r1"}`),
			&Error{Kind: KindAuth, HTTPStatus: 401, Code: "APIGW.0301", Message: "Incorrect IAM authentication information: verify aksk signature fail", RequestID: "r1"}},
		{"48: a locked access key", reply(401, `{"error_msg":"Incorrect IAM authentication information: AK access failed to reach the limit,forbidden.","error_code":"APIG.0301","request_id":"r1"}`),
			&Error{Kind: KindAuth, HTTPStatus: 401, Code: "APIG.0301", Message: "Incorrect IAM authentication information: AK access failed to reach the limit,forbidden.", RequestID: "r1", RetryAfter: 5 * time.Minute}},
		{"49: a token that cannot be decrypted", reply(401, `{"error_msg":"Incorrect IAM authentication information: decrypt token fail","error_code":"APIGW.0301","request_id":"r1"}`),
			&Error{Kind: KindAuth, HTTPStatus: 401, Code: "APIGW.0301", Message: "Incorrect IAM authentication information: decrypt token fail", RequestID: "r1"}},
		{"49: a token that is too old", reply(401, `{"error_msg":"The token must be updated.","error_code":"APIGW.0307","request_id":"r1"}`, "X-Request-Id: r0"),
			&Error{Kind: KindAuth, HTTPStatus: 401, Code: "APIGW.0307", Message: "The token must be updated.", RequestID: "r0"}},
		{"50: throttled, without Retry-After", reply(429, throttledBody), throttle(time.Minute)},
		{"50: throttled for seconds", reply(429, throttledBody, "Retry-After: 7"), throttle(7 * time.Second)},
		{"50: throttled until a date", reply(429, throttledBody, "Retry-After: Thu, 01 Jan 2026 12:00:09 GMT"), throttle(9 * time.Second)},
		{"50: throttled with an invalid hint", reply(429, throttledBody, "Retry-After: abc"), throttle(time.Minute)},
		{"50: throttled with a negative hint", reply(429, throttledBody, "Retry-After: -1"), throttle(time.Minute)},
		{"50: throttled for years", reply(429, throttledBody, "Retry-After: 99999999"), throttle(10 * time.Minute)},
		{"53: the backend timed out", reply(504, `{"error_msg":"Backend timeout.","error_code":"APIGW.0201","request_id":"r1"}`),
			&Error{Kind: KindRetry, HTTPStatus: 504, Code: "APIGW.0201", Message: "Backend timeout.", RequestID: "r1"}},
		{"54: forbidden in this region", reply(403, `{"error_msg":"The IAM user is forbidden in the current region.","error_code":"APIGW.0802","request_id":"r1"}`),
			&Error{Kind: KindPermission, HTTPStatus: 403, Code: "APIGW.0802", Message: "The IAM user is forbidden in the current region.", RequestID: "r1"}},
		{"54: a machine-readable explanation is not shown", reply(403, `{"error_code":"DLI.0003","error_msg":"...","encoded_authorization_message":"AAAA","error_json_opt":{"a":"BBBB"}}`),
			&Error{Kind: KindPermission, HTTPStatus: 403, Code: "DLI.0003", Message: "..."}},
		{"55: a code that is a number", reply(401, `{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}`),
			&Error{Kind: KindAuth, HTTPStatus: 401, Code: "401", Message: "The username or password is wrong."}},
		{"58: a bad gateway's page", reply(502, "<html>Bad Gateway</html>", "Content-Type: text/html"),
			&Error{Kind: KindRetry, HTTPStatus: 502, Message: "HTTP 502 with a text/html body"}},
		{"58: temporarily unavailable", reply(503, "", "Retry-After: 3"),
			&Error{Kind: KindRetry, HTTPStatus: 503, Message: "HTTP 503 with an empty body", RetryAfter: 3 * time.Second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, _ := serve(t, tc.handler)
			status, err := client.JobStatus(background, accessKey, jobID)
			check(t, status, err, tc.want)
		})
	}
}

func TestSampleIndentation(t *testing.T) {
	indented := "    " + strings.ReplaceAll(sample, "\n", "\n    ")
	status, err := judge(indented, statusOf(jobID))
	check(t, status, err, sampleStatus())
}

// TestBrokenAnswers tests rows 34, 35 and 59 of the contract.
func TestBrokenAnswers(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		want    func(host string) *Error
	}{
		{"34: truncated, with the full Content-Length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(finished)))
			fmt.Fprint(w, finished[:len(finished)/2])
		}, func(host string) *Error {
			return &Error{Kind: KindUnreachable, HTTPStatus: 200, Message: "the response from " + host + " ended early"}
		}},
		{"34: a truncated error", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error_code":"DLI.0`)
		}, func(host string) *Error {
			return &Error{Kind: KindUnreachable, HTTPStatus: 400, Message: "the response from " + host + " ended early"}
		}},
		{"34: truncated throttling, which needs no body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
		}, func(string) *Error {
			return &Error{Kind: KindThrottle, HTTPStatus: 429, Message: "HTTP 429 with an empty body", RetryAfter: 7 * time.Second}
		}},
		{"35: 64 MiB of blanks before the response", func(w http.ResponseWriter, _ *http.Request) {
			blanks := []byte(strings.Repeat(" ", 1<<20))
			for range 64 {
				if _, err := w.Write(blanks); err != nil {
					return
				}
			}
			fmt.Fprint(w, finished)
		}, func(string) *Error {
			return &Error{Kind: KindInvalid, HTTPStatus: 200, Message: "the response is larger than 64 MiB"}
		}},
		{"59: closed before a response", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			func(host string) *Error {
				return &Error{Kind: KindUnreachable, Message: "the response from " + host + " ended early"}
			}},
		{"59: reset in the middle of the body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, finished[:100])
			_ = http.NewResponseController(w).Flush()
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		}, func(host string) *Error {
			return &Error{Kind: KindUnreachable, HTTPStatus: 200, Message: "connection reset by " + host}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, server := serve(t, tc.handler)
			status, err := client.JobStatus(background, accessKey, jobID)
			check(t, status, err, tc.want(hostOf(server)))
		})
	}
}

func TestEndlessAnswer(t *testing.T) {
	client, server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "{")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}), func(c *Config) { c.Timeout = 50 * time.Millisecond })
	for range 2 {
		status, err := client.JobStatus(background, accessKey, jobID)
		check(t, status, err, &Error{Kind: KindUnreachable, HTTPStatus: 200, Message: "no response from " + hostOf(server) + " within 50ms"})
	}
}

func TestCallersDeadline(t *testing.T) {
	asked := make(chan struct{})
	client, server := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))

	cancelled, cancel := context.WithCancel(background)
	go func() {
		<-asked
		cancel()
	}()
	if status, err := client.JobStatus(cancelled, accessKey, jobID); !errors.Is(err, context.Canceled) || status != nil {
		t.Errorf("want context.Canceled, got %v, %v", status, err)
	}

	late, cancel := context.WithDeadline(background, time.Now().Add(-time.Second))
	defer cancel()
	status, err := client.JobStatus(late, accessKey, jobID)
	check(t, status, err, &Error{Kind: KindUnreachable, Message: "no response from " + hostOf(server) + " before the caller's deadline"})
}

func TestConnectionFailures(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().String()
	_ = free.Close()
	ok := httptest.NewUnstartedServer(reply(200, finished))
	startTLS(ok)
	defer ok.Close()
	lastYear, nextYear := time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0)
	_, otherAuthority := issued(t, x509.SHA256WithRSA, lastYear, nextYear)
	plain := httptest.NewServer(reply(200, finished))
	defer plain.Close()

	for _, tc := range []struct {
		name     string
		endpoint string
		caBundle string
		want     *Error
	}{
		{"59: connection refused", "https://" + closed, "", &Error{Kind: KindUnreachable, Message: "connection refused by " + closed}},
		{"59: an untrusted authority", ok.URL, string(pemOf(otherAuthority)), &Error{Kind: KindConfig,
			Message: "the certificate of " + hostOf(ok) + " is signed by an authority that is not trusted; add the authority's certificate to the CA bundle"}},
		{"59: a certificate for another name", strings.Replace(ok.URL, "127.0.0.1", "localhost", 1), string(pemOf(ok.Certificate())), &Error{Kind: KindConfig,
			Message: "the certificate of " + strings.Replace(hostOf(ok), "127.0.0.1", "localhost", 1) + " is not valid for this name; use a name of the certificate in the endpoint"}},
		{"https to a port of http", strings.Replace(plain.URL, "http:", "https:", 1), "", &Error{Kind: KindConfig,
			Message: hostOf(plain) + " does not speak TLS; check the endpoint's port"}},
		{"http to a port of https", strings.Replace(ok.URL, "https:", "http:", 1), "", &Error{Kind: KindConfig, HTTPStatus: 400,
			Message: "HTTP 400 with a body of unknown type; the endpoint may require https"}},
		{"59: a name that is not in DNS", "https://nobody.invalid", "", &Error{Kind: KindUnreachable,
			Message: "the host nobody.invalid does not exist in DNS"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := clientOf(t, tc.endpoint, func(c *Config) { c.CABundle = []byte(tc.caBundle) })
			var first error
			for range 2 {
				status, err := client.JobStatus(background, accessKey, jobID)
				if e, ok := AsError(err); ok && strings.Contains(e.Message, "at present") {
					t.Skip("no DNS here")
				}
				check(t, status, err, tc.want)
				if first != nil && first.Error() != err.Error() {
					t.Errorf("two messages for the same cause: %q and %q", first, err)
				}
				first = err
			}
		})
	}

	for _, tc := range []struct {
		name      string
		algorithm x509.SignatureAlgorithm
		until     time.Time
		want      any
	}{
		{"that is valid", x509.SHA256WithRSA, nextYear, finishedStatus()},
		{"that has expired", x509.SHA256WithRSA, time.Now().Add(-time.Hour), "is invalid, expired or not yet valid"},
		{"with SHA-1", x509.SHA1WithRSA, nextYear, "is signed with SHA-1, which is no longer accepted; have it signed with SHA-256"},
	} {
		t.Run("a certificate "+tc.name, func(t *testing.T) {
			pair, authority := issued(t, tc.algorithm, lastYear, tc.until)
			server := httptest.NewUnstartedServer(reply(200, finished))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
			startTLS(server)
			defer server.Close()
			want := tc.want
			if message, ok := want.(string); ok {
				want = &Error{Kind: KindConfig, Message: "the certificate of " + hostOf(server) + " " + message}
			}
			client := clientOf(t, server.URL, func(c *Config) { c.CABundle = pemOf(authority) })
			status, err := client.JobStatus(background, accessKey, jobID)
			check(t, status, err, want)
		})
	}
	t.Run("TLS too old", func(t *testing.T) {
		server := httptest.NewUnstartedServer(reply(200, finished))
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // the test needs it
		startTLS(server)
		defer server.Close()
		client := clientOf(t, server.URL)
		status, err := client.JobStatus(background, accessKey, jobID)
		check(t, status, err, &Error{Kind: KindConfig,
			Message: hostOf(server) + " rejects the TLS handshake; the operator uses TLS 1.2 and later, without a client certificate"})
	})
}

// manyTags returns so many tags with different keys.
func manyTags(n int) string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf(`{"key":"%d","value":"v"}`, i)
	}
	return strings.Join(tags, ",")
}
