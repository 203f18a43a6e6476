// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dli-operator/dli-operator/internal/text"
)

// FuzzDecode checks for any body of a response with HTTP 200: it is either a status of
// the requested job or an error; texts are valid UTF-8 and limited; and what
// encoding/json rejects is a status only if its message was repaired.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		finished, sample, young(), young(`"status":"FAILED","message":"DLI.0002: gone"`),
		young(`"duration":null,"detail":null`), young(`"result_count":"7","is_success":"true"`),
		`{"is_success":false,"message":"DLI.0999: busy"}`, "null", "[]", `""`, "", " ", finished + finished,
		strings.Replace(sample, `{"error_code":"DLI.0999"}`, `{""}`, 1), sample[:100],
		`{"job_id":"` + jobID + `","status":"RUNNING","message":"{"a":{"b":"}"}}"}`,
		"\uFEFF" + finished, young(`"duration":Infinity,"result_count":[-Infinity,NaN]`), young(`"start_time":253402300799999,"duration":1`),
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		status, failure := interpret(answer{status: 200, header: http.Header{}, body: body, now: noon}, &secrets{}, statusOf(jobID))
		if !bytes.Equal(before, body) && !hasNonNumbers(before) {
			t.Error("the body was written to")
		}
		if failure != nil {
			if status != nil {
				t.Error("both a status and an error")
			}
			checkError(t, failure)
			return
		}
		checkStatus(t, status)
		if !isValid(body) && !hasNonNumbers(before) {
			repaired, ok := repairMessage(body)
			if !ok || !json.Valid(repaired) || !strings.HasPrefix(status.Message, "{") || !bytes.Contains(body, []byte(`"`+status.Message+`"`)) {
				t.Errorf("not JSON, but %v", status)
			}
		}
	})
}

// FuzzList checks for any body of a response with HTTP 200: it is either a list of no
// more jobs than requested or an error, and every row is a valid status. Progress is
// from 0 to 1.
func FuzzList(f *testing.F) {
	for _, body := range []string{
		page(7, fullRow("a"), row("b")), page(0), `{"job_count":"1","jobs":null}`, page(1, `{"job_id":"a","status":"`+strings.Repeat("A", 65)+`"}`),
		`{"job_count":1,"jobs":[[],{},1,"x",null]}`, `{"job_count":1,"jobs":[{"job_id":"a","status":"RUNNING","end_time":1e400}`, page(1, row("a"))[:60],
		`{"is_success":false,"message":"DLI.0999: busy"}`, "null", "", finished, progress(`,"progress":0.5`), progress(`,"progress":"1e400"`),
		fullBatch, batch(`"state":"dead","appId":["x","y"],"log":["a",1,"b"],"create_time":253402300799999,"update_time":253402300799999`),
		`{"total":7,"sessions":[` + fullBatch + `]}`, "\uFEFF" + page(7, fullRow("a")), page(7, row("a", `"result_count":NaN`)),
	} {
		f.Add([]byte(body), 2)
	}
	f.Fuzz(func(t *testing.T, body []byte, rows int) {
		rows = min(max(rows, 1), MaxPageSize)
		before := bytes.Clone(body)
		a := answer{status: 200, header: http.Header{}, body: body, now: noon}
		list, failure := interpret(a, &secrets{}, listOf(rows))
		far, failureFar := interpret(a, &secrets{}, progressOf(jobID))
		if !bytes.Equal(before, body) && !hasNonNumbers(before) {
			t.Error("the body was written to")
		}
		if (list == nil) == (failure == nil) || (far == nil) == (failureFar == nil) {
			t.Fatal("neither a result nor an error, or both")
		}
		if failure != nil {
			checkError(t, failure)
		} else {
			checkList(t, list, rows)
		}
		if failureFar != nil {
			checkError(t, failureFar)
		} else if far.Fraction != nil && !(*far.Fraction >= 0 && *far.Fraction <= 1) {
			t.Errorf("the progress %v", *far.Fraction)
		}
		batches, failureBatches := interpret(a, &secrets{}, batchListOf(rows))
		batch, failureBatch := interpret(a, &secrets{}, batchOf(batchID))
		if failureBatches == nil {
			checkList(t, batches, rows)
		}
		if failureBatch == nil {
			batch.JobID = jobID
			checkStatus(t, batch)
		}
		if !isValid(body) && !hasNonNumbers(before) && (failure == nil || failureFar == nil || failureBatches == nil || failureBatch == nil) {
			t.Error("not JSON, but a result")
		}
	})
}

// isValid reports whether a body is JSON, but for a byte order mark.
func isValid(body []byte) bool { return json.Valid(bytes.TrimPrefix(body, []byte("\uFEFF"))) }

// hasNonNumbers reports whether a body may be read although it is no JSON.
func hasNonNumbers(body []byte) bool {
	return bytes.Contains(body, []byte("NaN")) || bytes.Contains(body, []byte("Infinity"))
}

func checkList(t *testing.T, list *JobList, rows int) {
	t.Helper()
	if len(list.Jobs) > rows || list.Total < 0 {
		t.Errorf("%d rows of %d, with %d requested", len(list.Jobs), list.Total, rows)
	}
	for _, row := range list.Jobs {
		if !jobIDForm.MatchString(row.JobID) {
			t.Errorf("a row with the job %q", row.JobID)
		}
		checkStatus(t, &JobStatus{
			JobID: jobID, Status: row.Status, StartTime: row.StartTime, Figures: row.Figures,
			JobType: row.JobType, QueueName: row.QueueName, Owner: row.Owner, DatabaseName: row.DatabaseName, TableName: row.TableName,
		})
		if _, err := row.EndTime.MarshalJSON(); err != nil {
			t.Error(err)
		}
		for _, count := range []*int64{row.CPUCost, row.OutputBytes} {
			if count != nil && *count < 0 {
				t.Errorf("a cost of %d", *count)
			}
		}
	}
}

func checkStatus(t *testing.T, status *JobStatus) {
	t.Helper()
	if !strings.EqualFold(status.JobID, jobID) {
		t.Errorf("a status with the job %q", status.JobID)
	}
	if status.Status == "" || utf8.RuneCountInString(status.Status) > maxStatusRunes {
		t.Errorf("the status %q", status.Status)
	}
	for _, name := range []string{
		status.Status, status.JobType, status.JobMode, status.QueueName, status.Owner,
		status.DatabaseName, status.TableName, status.ResultPath, status.ApplicationID, status.Name, status.Image,
	} {
		if !text.IsPlain(name, maxPathBytes) {
			t.Errorf("the name %q", name)
		}
	}
	if !utf8.ValidString(status.Statement) || !utf8.ValidString(status.Message) {
		t.Error("invalid UTF-8")
	}
	for _, count := range []*int64{status.InputRowCount, status.BadRowCount, status.ResultCount, status.InputBytes} {
		if count != nil && *count < 0 {
			t.Errorf("the count %d", *count)
		}
	}
	if status.Duration != nil && *status.Duration < 0 {
		t.Errorf("the duration %v", *status.Duration)
	}
	if _, err := status.StartTime.MarshalJSON(); err != nil {
		t.Error(err)
	}
	if status.Duration != nil {
		if _, err := status.StartTime.Add(*status.Duration).MarshalJSON(); err != nil {
			t.Error(err)
		}
	}
	if len(status.Statement) > maxProseBytes || len(status.Message) > maxProseBytes || len(status.Columns) > maxColumns {
		t.Errorf("a statement of %d bytes, a message of %d, %d columns", len(status.Statement), len(status.Message), len(status.Columns))
	}
	checkColumns(t, status.Columns)
}

func checkColumns(t *testing.T, columns []Column) {
	t.Helper()
	for _, column := range columns {
		if !text.IsPlain(column.Name, maxNameBytes) || !text.IsPlain(column.Type, maxTypeBytes) {
			t.Errorf("the column %v", column)
		}
	}
}

func checkError(t *testing.T, e *Error) {
	t.Helper()
	if e.Message == "" || !text.IsPlain(e.Message, maxErrorMessageBytes) || !text.IsPlain(e.Code, maxErrorCodeBytes) || !text.IsPlain(e.RequestID, maxRequestIDBytes) {
		t.Errorf("the error %+v", *e)
	}
	if !utf8.ValidString(e.Message + e.Code + e.RequestID) {
		t.Error("invalid UTF-8")
	}
	if e.Kind == "" || e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
		t.Errorf("the error %+v", *e)
	}
}

// FuzzSchema checks for any detail: columns are limited, and no longer than the detail.
func FuzzSchema(f *testing.F) {
	for _, dataType := range []string{
		`"integer"`, `"decimal(38,18)"`, `{"type":"array","elementType":"long"}`, nested(70),
		`{"type":"map","keyType":"string","valueType":{"type":"struct","fields":[{"name":"a","type":"byte"}]}}`,
		`{"type":"udt","class":"C","sqlType":"binary"}`, `{"type":"udt"}`, `[]`, `null`,
	} {
		f.Add([]byte(field(dataType)))
	}
	f.Add([]byte("[]"))
	f.Add([]byte(`{"type":"struct","fields":[1,2`))
	f.Fuzz(func(t *testing.T, detail []byte) {
		columns, _ := parseSchema(detail, &secrets{})
		checkColumns(t, columns)
		size := 0
		for _, column := range columns {
			size += len(column.Name) + len(column.Type)
		}
		// An invalid byte becomes a replacement character of three bytes.
		if len(columns) > len(detail) || size > 3*len(detail) {
			t.Errorf("%d columns of %d bytes out of %d bytes", len(columns), size, len(detail))
		}
		if columns != nil && !json.Valid(detail) {
			t.Error("columns, but not JSON")
		}
	})
}

// FuzzError checks for any response other than HTTP 200: the error is limited, and
// contains no unreadable parts of known bodies.
func FuzzError(f *testing.F) {
	for _, body := range []string{
		`{"error_code":"DLI.0002","error_msg":"There is no queue named testqueue"}`,
		`{"error_msg":"m,time:1 minute","error_code":"APIGW.0308","request_id":"r2"}`,
		`{"error":{"code":401,"message":"wrong"}}`, `{"error":"m"}`, `{"code":"c","message":"m"}`,
		`<html>`, ``, `null`, `[1]`, `{"error_code":1e400,"error_msg":"\ud800"}`,
	} {
		f.Add(400, []byte(body), "text/html", "7", "r1")
	}
	f.Add(429, []byte(`{}`), "application/json", "Thu, 01 Jan 2026 12:00:09 GMT", "")
	f.Add(302, []byte(``), ";", "-1", "\xff")
	f.Fuzz(func(t *testing.T, status int, body []byte, contentType, retryAfter, requestID string) {
		if status == http.StatusOK || status < 100 || status > 999 {
			t.Skip("no error answer")
		}
		header := http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}, "X-Request-Id": {requestID}}
		got, e := interpret(answer{status: status, header: header, body: body, now: noon}, &secrets{}, statusOf(jobID))
		if got != nil || e == nil {
			t.Fatal("no error")
		}
		checkError(t, e)
		if e.HTTPStatus != status {
			t.Errorf("HTTP %d became %d", status, e.HTTPStatus)
		}
		if e.Kind == KindNotFound && status >= 500 {
			t.Error("a failing server reported that a job does not exist")
		}
	})
}

// FuzzRetryAfter checks for any header and message: the wait is between zero and the
// limit, and a header of digits takes precedence.
func FuzzRetryAfter(f *testing.F) {
	for _, header := range []string{"7", "0", "-1", "abc", "99999999", "Thu, 01 Jan 2026 12:00:09 GMT", "1e3", " 7 "} {
		f.Add(header, "limit:60,time:1 minute")
	}
	f.Add("", "time:99999999999999999999 day")
	f.Fuzz(func(t *testing.T, header, message string) {
		a := answer{header: http.Header{"Retry-After": {header}}, now: noon}
		throttled, other := retryAfter(a, KindThrottle, message), retryAfter(a, KindRetry, message)
		for _, wait := range []time.Duration{throttled, other} {
			if wait < 0 || wait > maxRetryAfter {
				t.Errorf("a wait of %v", wait)
			}
		}
		if other != 0 && throttled != other {
			t.Error("the header did not come first")
		}
	})
}
