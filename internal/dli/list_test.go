// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// row returns a running job on a page, with few members, and with those given.
func row(id string, members ...string) string {
	body := `{"job_id":"` + id + `","status":"RUNNING"`
	for _, member := range members {
		body += "," + member
	}
	return body + "}"
}

// page returns a response with rows.
func page(total int, rows ...string) string {
	return fmt.Sprintf(`{"is_success":true,"message":"","job_count":%d,"jobs":[%s]}`, total, strings.Join(rows, ","))
}

// fullRow returns a row with every member in the API document.
func fullRow(id string) string {
	return row(id, `"job_type":"INSERT","queue_name":"default","owner":"test","start_time":1509335108918,"duration":2523`,
		`"input_row_count":9007199254740993,"bad_row_count":2,"input_size":22,"result_count":3000000000`,
		`"database_name":"dbtest","table_name":"tbtest","with_column_header":false`,
		`"detail":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}}]}"`,
		`"engine_type":"spark","statement":"insert into tbtest select * from t1","tags":[{"key":"k","value":"v"}],"message":""`,
		`"end_time":1509335111441,"cpu_cost":"12","output_byte":"34","result_path":"obs://b/r","result_format":"csv","execution_details_path":"obs://b/e"`)
}

func fullJobRow(id string) JobRow {
	return JobRow{
		JobID: id, Status: "RUNNING", State: StateRunning,
		StartTime: time.UnixMilli(1509335108918).UTC(),
		Cost:      Cost{EndTime: time.UnixMilli(1509335111441).UTC(), CPUCost: new(int64(12)), OutputBytes: new(int64(34))},
		Figures: Figures{
			Duration: new(2523 * time.Millisecond), InputRowCount: new(int64(9007199254740993)), BadRowCount: new(int64(2)),
			ResultCount: new(int64(3000000000)), InputBytes: new(int64(22)),
		},
		JobType: "INSERT", QueueName: "default", Owner: "test", DatabaseName: "dbtest", TableName: "tbtest",
	}
}

func running(ids ...string) (rows []JobRow) {
	for _, id := range ids {
		rows = append(rows, JobRow{JobID: id, Status: "RUNNING", State: StateRunning})
	}
	return rows
}

func listing(total int, rows ...JobRow) *JobList { return &JobList{Total: total, Jobs: rows} }

func TestLists(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		want       *JobList
	}{
		{"a row with all documented members", page(7, fullRow("a")), listing(7, fullJobRow("a"))},
		{"a minimal row", page(1, row("a")), listing(1, running("a")...)},
		{"no jobs", page(0), listing(0)},
		{"no jobs and no list", `{"job_count":0}`, listing(0)},
		{"null after the last page", `{"job_count":7,"jobs":null}`, listing(7)},
		{"a count in quotes and no is_success", `{"job_count":"1","jobs":[` + row("a") + `]}`, listing(1, running("a")...)},
		{"members of other types, which are dropped", page(1, row("a", `"start_time":"x","duration":-1,"end_time":{},"result_count":1.5,"owner":7,"queue_name":null`)), listing(1, running("a")...)},
		{"a cost of zero, as numbers", page(1, row("a", `"cpu_cost":0,"output_byte":0`)),
			listing(1, JobRow{JobID: "a", Status: "RUNNING", State: StateRunning, Cost: Cost{CPUCost: new(int64(0)), OutputBytes: new(int64(0))}})},
		{"a cost that is none", page(1, row("a", `"cpu_cost":"","output_byte":null`)), listing(1, running("a")...)},
		{"a cost of other types and signs", page(1, row("a", `"cpu_cost":"1.5 core hours","output_byte":"-1"`)), listing(1, running("a")...)},
		{"an unknown status", page(1, row("a", `"status":"SUSPENDED"`)), listing(1, JobRow{JobID: "a", Status: "SUSPENDED"})},
		{"a status in another case", page(1, row("a", `"status":" finished "`)), listing(1, JobRow{JobID: "a", Status: "finished", State: StateFinished})},
		{"no end time yet", page(1, row("a", `"end_time":0`)), listing(1, running("a")...)},
		{"the same job twice", page(2, row("a"), row("a")), listing(2, running("a", "a")...)},
		{"more rows than requested", page(9, row("a"), row("b"), row("c"), row("d")), listing(9, running("a", "b", "c")...)},
		{"more rows than the count", page(0, row("a")), listing(0, running("a")...)},
		{"rows without an id or a status", page(9, `{"status":"RUNNING"}`, row(""), row("a/b"), row(strings.Repeat("a", 65)),
			`{"job_id":"a"}`, row("b", `"status":null`), row("c", `"status":""`), row("d", `"status":5`), row("e", `"status":"`+strings.Repeat("A", 65)+`"`), row("z")), listing(9, running("z")...)},
		{"rows that are not objects", page(9, `null`, `"a"`, `7`, `[`+row("a")+`]`, `{}`, row("z")), listing(9, running("z")...)},
		{"a name of the maximum length, and a longer one", page(1, row("a", `"queue_name":"`+strings.Repeat("q", 256)+`","owner":"`+strings.Repeat("o", 257)+`"`)),
			listing(1, JobRow{JobID: "a", Status: "RUNNING", State: StateRunning, QueueName: strings.Repeat("q", 256)})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			list, err := judge(tc.body, listOf(3))
			check(t, list, err, tc.want)
		})
	}
}

func TestInvalidLists(t *testing.T) {
	wrong := func(message string) *Error {
		return &Error{Kind: KindInvalid, HTTPStatus: 200, Message: message}
	}
	for _, tc := range []struct {
		name, body string
		want       *Error
	}{
		{"no count", `{"is_success":true,"jobs":[` + row("a") + `]}`, wrong("the answer does not say how many jobs there are")},
		{"a negative count", page(-1, row("a")), wrong("the answer does not say how many jobs there are")},
		{"a count that is too large", page(3000000000, row("a")), wrong("the answer does not say how many jobs there are")},
		{"no list", `{"job_count":1}`, wrong("the answer has no list of jobs")},
		{"an object for a list", `{"job_count":1,"jobs":{}}`, wrong("the answer has no list of jobs")},
		{"a list by itself", `[` + row("a") + `]`, wrong("the response is not a JSON object")},
		{"null", `null`, wrong("the response is not a JSON object")},
		{"a status", finished, wrong("the answer does not say how many jobs there are")},
		{"two lists", page(0) + page(0), wrong("HTTP 200 with a body of unknown type instead of one JSON value")},
		{"a truncated list", strings.TrimSuffix(page(1, row("a")), "]}"), wrong("HTTP 200 with a body of unknown type instead of one JSON value")},
		{"nothing", ``, wrong("HTTP 200 with an empty body instead of one JSON value")},
		{"an unsuccessful request", `{"is_success":false,"message":"DLI.0999: busy","job_count":1,"jobs":[` + row("a") + `]}`,
			&Error{Kind: KindRetry, HTTPStatus: 200, Code: "DLI.0999", Message: "DLI.0999: busy"}},
		{"an unsuccessful request, in quotes", `{"is_success":"false"}`,
			&Error{Kind: KindRetry, HTTPStatus: 200, Message: "DLI answered is_success: false without a reason"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			list, err := judge(tc.body, listOf(3))
			check(t, list, err, tc.want)
		})
	}
}

func TestListOptions(t *testing.T) {
	client := clientOf(t, "http://127.0.0.1")
	for _, tc := range []struct {
		name    string
		options ListOptions
		want    string
	}{
		{"the last page of the smallest size", ListOptions{Status: "RUNNING", Page: 100, PageSize: 1}, "current-page=100&job-status=RUNNING&job-type=ALL&order=start_time_asc&page-size=1"},
		{"every status", ListOptions{Page: 2, PageSize: 50}, "current-page=2&job-type=ALL&order=start_time_asc&page-size=50"},
		{"one job", ListOptions{JobID: "a_1", Page: 1, PageSize: 1}, "current-page=1&job-id=a_1&job-type=ALL&order=start_time_asc&page-size=1"},
		{"two jobs", ListOptions{JobID: "a,b", Page: 1, PageSize: 1}, ""},
		{"a job that is another parameter", ListOptions{JobID: "a&owner=x", Page: 1, PageSize: 1}, ""},
		{"no page", ListOptions{Page: -1, PageSize: 1}, ""},
		{"a page after the last one", ListOptions{Page: 101, PageSize: 1}, ""},
		{"no size", ListOptions{Page: 1, PageSize: -1}, ""},
		{"a page that is too large", ListOptions{Page: 1, PageSize: 101}, ""},
		{"two statuses", ListOptions{Page: 1, PageSize: 1, Status: "RUNNING,SCALING"}, ""},
		{"another parameter", ListOptions{Page: 1, PageSize: 1, Status: "RUNNING&owner=x"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			options, err := tc.options.checked()
			query := ""
			if err == nil {
				query = client.listQuestion(options).rawQuery()
			}
			if e, ok := AsError(err); (tc.want == "") != ok || ok && e.Kind != KindRejected || query != tc.want {
				t.Errorf("want %q, got %q, %v", tc.want, query, err)
			}
		})
	}
	t.Run("invalid options are not sent", func(t *testing.T) {
		var seen recorder
		client, _ := serve(t, &seen)
		list, err := client.ListJobs(background, accessKey, ListOptions{Page: 101})
		check(t, list, err, &Error{Kind: KindRejected, Message: "there are pages 1 to 100 of a list of jobs"})
		if seen.last.Load() != nil {
			t.Error("a request was sent")
		}
	})
}

func TestListsHideCredentials(t *testing.T) {
	creds := Credentials{AccessKeyID: "AKEXAMPLE", SecretAccessKey: "SKEXAMPLE"}
	client, _ := serve(t, reply(200, page(2, row("SKEXAMPLE"), row("a", `"owner":"AKEXAMPLE","queue_name":"q-SKEXAMPLE","status":"SKEXAMPLE"`))))
	list, err := client.ListJobs(background, creds, ListOptions{})
	check(t, list, err, listing(2, JobRow{JobID: "a", Status: redacted, Owner: redacted, QueueName: "q-" + redacted}))
}
