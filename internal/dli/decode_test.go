// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestDecode(t *testing.T) {
	const aboutNoJob = "the response has no job ID, or that of another job"
	refuse := func(message string) *Error { return &Error{Kind: KindInvalid, HTTPStatus: 200, Message: message} }
	notJSON := refuse("HTTP 200 with a body of unknown type instead of one JSON value")

	for _, tc := range []struct {
		name string
		body string
		want any
	}{
		{"ignores white space around the value", " \r\n\t" + finished + "\n\n", finishedStatus()},
		{"ignores a byte order mark", "\uFEFF" + finished, finishedStatus()},
		{"ignores a byte order mark before blanks and a message to repair", "\uFEFF \n" + sample, sampleStatus()},
		{"does not ignore a second byte order mark", "\uFEFF\uFEFF" + finished, notJSON},
		{"does not ignore a byte order mark elsewhere", finished + "\uFEFF", notJSON},
		{"drops figures that are not numbers", young(`"result_count":NaN,"duration": Infinity ,"input_size":-Infinity`, `"tags":[NaN,{"a":-Infinity}]`, `"message":"NaN, Infinity","bad_row_count":NaN`),
			youngStatus(withMessage("NaN, Infinity"))},
		{"drops figures that are not numbers beside a message to repair", change(t, sample, `"result_count": 4`, `"result_count": NaN`),
			func() *JobStatus { s := sampleStatus(); s.ResultCount = nil; return s }()},
		{"rejects a status that is not a number", young(`"status":NaN`), refuse("the response has no status")},
		{"rejects other words that are not JSON", young(`"result_count":nan`), notJSON},
		{"rejects NaN as a name", young(`NaN:1`), notJSON},
		{"rejects NaN in place of the object", "NaN", notJSON},
		{"reads escaped names", change(t, finished, `"job_id"`, `"job\u005fid"`), finishedStatus()},
		{"distinguishes names by case", change(t, finished, `"job_id"`, `"JOB_ID":"x","job_id"`), finishedStatus()},
		{"distinguishes names by case in any order", young(`"STATUS":"FAILED","Job_Id":"x","IS_SUCCESS":false`), youngStatus()},
		{"uses the last of two members with the same name", young(`"status":"RUNNING","duration":1`, `"duration":[]`), youngStatus(inState("RUNNING", StateRunning))},
		{"ignores unknown members", young(`"user_conf":{"a":[1,{"status":"FAILED"}]},"status_":"FAILED"`), youngStatus()},
		{"reads quoted integers", young(`"result_count":"9223372036854775807","start_time":"1509335108918"`), youngStatus(func(s *JobStatus) { s.ResultCount = new(int64(9223372036854775807)) })},
		{"drops an integer beyond int64", young(`"result_count":9223372036854775808`), youngStatus()},
		{"drops fractions, exponents and words", young(`"result_count":4.5,"input_size":1e3,"input_row_count":"many","bad_row_count":true`), youngStatus()},
		{"drops negative figures", young(`"result_count":-1,"input_size":-1,"input_row_count":-1,"bad_row_count":-1,"duration":-1,"start_time":-1`),
			youngStatus(func(s *JobStatus) { s.StartTime = time.Time{} })},
		{"drops figures of other types", young(`"result_count":[],"input_size":{},"duration":"","start_time":"soon"`),
			youngStatus(func(s *JobStatus) { s.StartTime = time.Time{} })},
		{"drops a duration that overflows", young(`"duration":9223372036855`), youngStatus()},
		{"keeps the longest duration", young(`"duration":9223372036854`), youngStatus(func(s *JobStatus) { s.Duration = new(9223372036854 * time.Millisecond) })},
		{"drops a start time after the year 9999", young(`"start_time":253402300800000`), youngStatus(func(s *JobStatus) { s.StartTime = time.Time{} })},
		{"drops a duration that ends after the year 9999", young(`"start_time":253402300799999,"duration":1`),
			youngStatus(func(s *JobStatus) { s.StartTime = time.UnixMilli(253402300799999).UTC() })},
		{"keeps a duration that ends with the year 9999", young(`"start_time":253402300799000,"duration":999`),
			youngStatus(func(s *JobStatus) {
				s.StartTime, s.Duration = time.UnixMilli(253402300799000).UTC(), new(999*time.Millisecond)
			})},
		{"removes what a terminal or a browser obeys", young(`"message":"a\u202eb\u2066c\u200bd\ufeffe\u2028f\u2029g\u00adh\udb40\udc41i","statement":"select\u0085 1"`),
			youngStatus(withMessage("abcdefghi"), func(s *JobStatus) { s.Statement = "select 1" })},
		{"cuts a message, with a mark, and a statement, with a flag", young(`"message":"` + strings.Repeat("业", 1366) + `","statement":"` + strings.Repeat("业", 1366) + `"`),
			youngStatus(withMessage(strings.Repeat("业", 1364)+"…"), func(s *JobStatus) {
				s.Statement, s.StatementTruncated = strings.Repeat("业", 1365), true
			})},
		{"keeps a message and a statement that just fit", young(`"message":"` + strings.Repeat(`\u0041`, 4096) + `","statement":"` + strings.Repeat("A", 4096) + `"`),
			youngStatus(withMessage(strings.Repeat("A", 4096)), func(s *JobStatus) { s.Statement = strings.Repeat("A", 4096) })},
		{"treats a start time of 0 as none", young(`"start_time":0`), youngStatus(func(s *JobStatus) { s.StartTime = time.Time{} })},
		{"drops texts of other types", young(`"owner":5,"queue_name":{"a":"b"},"statement":["x"],"message":{"error_code":"DLI.0999"},"job_type":null`),
			youngStatus(func(s *JobStatus) { s.JobType = "" })},
		{"drops names that are unprintable or too long", young(`"owner":"a\u0000b","queue_name":"`+strings.Repeat("q", 257)+`","table_name":"\u202eevil","result_path":"`+strings.Repeat("p", 1025)+`"`, `"job_mode":"`+strings.Repeat("m", 65)+`"`), youngStatus()},
		{"keeps names that just fit", young(`"owner":"` + strings.Repeat("o", 256) + `","job_mode":"` + strings.Repeat("m", 64) + `","result_path":"` + strings.Repeat("p", 1024) + `"`), youngStatus(func(s *JobStatus) {
			s.Owner, s.JobMode, s.ResultPath = strings.Repeat("o", 256), strings.Repeat("m", 64), strings.Repeat("p", 1024)
		})},
		{"repairs invalid UTF-8", young("\"owner\":\"a\xffb\",\"statement\":\"\\ud800\""), youngStatus(func(s *JobStatus) { s.Owner, s.Statement = "a\uFFFDb", "\uFFFD" })},
		{"trims a status and recognizes it in lower case", young(`"status":" finished "`), youngStatus(inState("finished", StateFinished))},
		{"keeps a status of 64 runes", young(`"status":"` + strings.Repeat("启", 64) + `"`), youngStatus(inState(strings.Repeat("启", 64), StateUnrecognized))},
		{"rejects a status of 65 runes", young(`"status":"` + strings.Repeat("A", 65) + `"`), refuse("the status in the response is not a word")},
		{"rejects a status with control characters", young(`"status":"FINISHED\u0007"`), refuse("the status in the response is not a word")},
		{"treats a blank status as none", young(`"status":"  "`), refuse("the response has no status")},
		{"rejects a response without an ID", `{"is_success":true,"status":"FINISHED"}`, refuse(aboutNoJob)},
		{"rejects an ID that is a number", young(`"job_id":5`), refuse(aboutNoJob)},
		{"rejects an ID with white space", young(`"job_id":" ` + jobID + `"`), refuse(aboutNoJob)},
		{"rejects an error in place of a status", `{"error_code":"DLI.0999","error_msg":"busy"}`, refuse(aboutNoJob)},
		{"treats is_success null as absent", young(`"is_success":null`), youngStatus()},
		{"treats is_success of another type as absent", young(`"is_success":0`), youngStatus()},
		{"accepts false in quotes", young(`"is_success":"False","message":"no"`), &Error{Kind: KindRetry, HTTPStatus: 200, Message: "no"}},
		{"checks is_success before the ID", `{"is_success":false,"message":"DLI.12004: gone"}`, &Error{Kind: KindNotFound, HTTPStatus: 200, Code: "DLI.12004", Message: "DLI.12004: gone"}},
		{"rejects excessive nesting", strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), notJSON},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, err := judge(tc.body, statusOf(jobID))
			check(t, status, err, tc.want)
		})
	}
}

func TestRepairsOnlyOneFault(t *testing.T) {
	const asPrinted = `"message": "{"error_code":"DLI.0999"}"`
	notJSON := &Error{Kind: KindInvalid, HTTPStatus: 200, Message: "HTTP 200 with a body of unknown type instead of one JSON value"}
	withText := func(text string) *JobStatus {
		status := sampleStatus()
		status.Message = text
		return status
	}

	for _, tc := range []struct {
		name string
		body string
		want any
	}{
		{"in a message with several members", change(t, sample, asPrinted, `"message": "{"error_code":"DLI.0999","error_msg":"a {b} c"}"`),
			withText(`{"error_code":"DLI.0999","error_msg":"a {b} c"}`)},
		{"in a message without a value", change(t, sample, asPrinted, `"message": "{""}"`), withText(`{""}`)},
		{"in the last member", `{"job_id":"` + jobID + `","status":"RUNNING","message":"{"a":"b"}"}`,
			&JobStatus{JobID: jobID, Status: "RUNNING", State: StateRunning, Message: `{"a":"b"}`}},
		{"but not in another member", change(t, sample, `"test"`, `"{"a":"b"}"`), notJSON},
		{"but not an unescaped quote", change(t, sample, asPrinted, `"message": "say "hi""`), notJSON},
		{"but not an unescaped array", change(t, sample, asPrinted, `"message": "["a"]"`), notJSON},
		{"but not with text around the object", change(t, sample, asPrinted, `"message": "x {"a":"b"}"`), notJSON},
		{"but not with text after the object", change(t, sample, asPrinted, `"message": "{"a":"b"} x"`), notJSON},
		{"but not without the object's end", change(t, sample, asPrinted, `"message": "{"error_code":"DLI.0999""`), notJSON},
		{"but not without the end quote", change(t, sample, asPrinted, `"message": "{"error_code":"DLI.0999"}`), notJSON},
		{"but not if half of it is escaped", change(t, sample, asPrinted, `"message": "{\"error_code":"DLI.0999"}"`), notJSON},
		{"but not over two lines", change(t, sample, asPrinted, "\"message\": \"{\n\"error_code\":\"DLI.0999\"}\""), notJSON},
		{"but not with another fault before it", change(t, sample, `"is_success": true`, `"is_success": yes`), notJSON},
		{"but not with another fault after it", strings.TrimSuffix(strings.TrimSpace(sample), "}") + ",}", notJSON},
		{"but not with a second value", sample + "{}", notJSON},
		{"but not if the message is in another object", `{"a":{"message":"{"b":"c"}"},"job_id":"` + jobID + `","status":"FINISHED"}`, notJSON},
		{"but not in a response with is_success false", change(t, sample, `"is_success": true`, `"is_success": false`), notJSON},
		{"but not in a response without a status", change(t, sample, `"status": "FINISHED",`, ``), notJSON},
		{"and not twice", change(t, sample, asPrinted, asPrinted+", "+asPrinted), notJSON},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, err := judge(tc.body, statusOf(jobID))
			check(t, status, err, tc.want)
		})
	}

	t.Run("but not in a truncated response", func(t *testing.T) {
		whole := strings.TrimSpace(sample)
		for end := range whole {
			if status, err := judge(whole[:end], statusOf(jobID)); err == nil {
				t.Fatalf("the first %d bytes read as %v", end, status)
			}
		}
	})
}

func TestDates(t *testing.T) {
	for _, tc := range []struct {
		name   string
		header []string
		want   time.Time
	}{
		{"the usual form", []string{"Thu, 01 Jan 2026 12:00:09 GMT"}, noon.Add(9 * time.Second)},
		{"an old form", []string{"Thursday, 01-Jan-26 12:00:09 GMT"}, noon.Add(9 * time.Second)},
		{"none", nil, time.Time{}},
		{"a word", []string{"today"}, time.Time{}},
		{"the form of another header", []string{"20260101T120009Z"}, time.Time{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := answer{status: http.StatusOK, header: http.Header{"Date": tc.header}, body: []byte(finished), now: noon}
			status, failure := interpret(a, &secrets{}, statusOf(jobID))
			if failure != nil || !status.Date.Equal(tc.want) || status.Date.Location() != time.UTC {
				t.Errorf("want %v, got %v, %v", tc.want, status, failure)
			}
		})
	}
}

func TestParseState(t *testing.T) {
	for word, want := range map[string]State{
		"LAUNCHING": StateLaunching, "RUNNING": StateRunning, "SCALING": StateScaling,
		"FINISHED": StateFinished, "FAILED": StateFailed, "CANCELLED": StateCancelled,
		" Failed\n": StateFailed, "FINISH": StateUnrecognized, "CANCELED": StateUnrecognized, "": StateUnrecognized,
	} {
		if got := ParseState(word); got != want {
			t.Errorf("%q is %v, want %v", word, got, want)
		}
	}
}

func TestErrorCode(t *testing.T) {
	for message, want := range map[string]string{
		"DLI.0999: busy": "DLI.0999",
		"Please contact DLI service. DLI.0002: x":  "DLI.0002",
		"error.DLI.0001: IllegalArgument DLI.0002": "DLI.0001",
		`{"error_code":"DLI.10001"}`:               "DLI.10001",
		"DLI.099":                                  "",
		"Execution Timeout":                        "",
		"":                                         "",
	} {
		if got := ErrorCode(message); got != want {
			t.Errorf("%q holds %q, want %q", message, got, want)
		}
	}
}
