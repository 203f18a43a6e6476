// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

const batchID = "0a324461-d9d9-45da-a52a-3b3c7a3d809e"

// batch returns a response about a batch with additional members.
func batch(members ...string) string {
	return `{"id":"` + batchID + `",` + strings.Join(members, ",") + `}`
}

// batchStatus returns what is known about a batch with nothing but a state.
func batchStatus(word string, state State, changes ...func(*JobStatus)) *JobStatus {
	status := &JobStatus{JobID: batchID, Status: word, State: state, JobType: "SPARK"}
	for _, change := range changes {
		change(status)
	}
	return status
}

func at(milliseconds int64) time.Time { return time.UnixMilli(milliseconds).UTC() }

// fullBatch is the response for a batch that is dead, with every member of every edition.
const fullBatch = `{"id":"` + batchID + `","state":"dead","appId":["batch-session-83ce2d53:30663"],"name":"nightly","owner":"test",` +
	`"proxyUser":"","kind":"spark","queue":"spark1","cluster_name":"spark1","sc_type":"A","image":"swr/team/spark:3","feature":"custom",` +
	`"spark_version":"3.3.1","req_body":"{\"conf\":{\"spark.password\":\"PASSWORD1\"}}","log":["stderr:","\tat Main.main","DLI.0002: no such file\n"],` +
	`"create_time":1747169026784,"update_time":1747169086784,"duration":60000}`

func TestBatches(t *testing.T) {
	refuse := func(message string) *Error { return &Error{Kind: KindInvalid, HTTPStatus: 200, Message: message} }
	named := func(id string) *JobStatus {
		return batchStatus("running", StateRunning, func(s *JobStatus) { s.ApplicationID = id })
	}
	timed := func(word string, state State, start time.Time, milliseconds int64) *JobStatus {
		return batchStatus(word, state, func(s *JobStatus) {
			if s.StartTime = start; milliseconds >= 0 {
				s.Duration = new(time.Duration(milliseconds) * time.Millisecond)
			}
		})
	}
	for _, tc := range []struct {
		name string
		body string
		want any
	}{
		{"all members", fullBatch, batchStatus("dead", StateFailed, func(s *JobStatus) {
			s.ApplicationID, s.Name, s.Image, s.QueueName, s.Owner = "batch-session-83ce2d53:30663", "nightly", "swr/team/spark:3", "spark1", "test"
			s.StartTime, s.Duration, s.Message = at(1747169026784), new(time.Minute), "stderr:\n\tat Main.main\nDLI.0002: no such file"
		})},
		{"a state alone, in any case", batch(`"state":"Success"`), batchStatus("Success", StateFinished)},
		{"starting", batch(`"state":"starting"`), batchStatus("starting", StateLaunching)},
		{"running", batch(`"state":"RUNNING"`), batchStatus("RUNNING", StateRunning)},
		{"recovering", batch(`"state":"recovering"`), batchStatus("recovering", StateRecovering)},
		{"dead, with blanks and without a log", batch(`"state":"DEAD ","log":[]`), batchStatus("DEAD", StateFailed)},
		{"dead, with a log that is no array", batch(`"state":"dead","log":"text"`), batchStatus("dead", StateFailed)},
		{"dead, with a log of other types", batch(`"state":"dead","log":[1,null,{"a":["x"]},"why"]`), batchStatus("dead", StateFailed, withMessage("why"))},
		{"the last ten lines", batch(`"state":"dead","log":["1","2","3","4","5","6","7","8","9","10","11","12"]`),
			batchStatus("dead", StateFailed, withMessage("3\n4\n5\n6\n7\n8\n9\n10\n11\n12"))},
		{"no message while it runs or when it succeeded", batch(`"state":"success","log":["DLI.0002"]`), batchStatus("success", StateFinished)},
		{"a state of a SQL job", batch(`"state":"FINISHED"`), batchStatus("FINISHED", StateUnrecognized)},
		{"an unknown state", batch(`"state":"killed"`), batchStatus("killed", StateUnrecognized)},
		{"no state", batch(`"name":"x"`), refuse("the response has no status")},
		{"state null", batch(`"state":null`), refuse("the response has no status")},
		{"an empty state", batch(`"state":""`), refuse("the response has no status")},
		{"a state that is a number", batch(`"state":5`), refuse("the response has no status")},
		{"no application yet", batch(`"state":"running","appId":""`), named("")},
		{"an application that is null", batch(`"state":"running","appId":null`), named("")},
		{"an application", batch(`"state":"running","appId":"x:1"`), named("x:1")},
		{"an application in an array", batch(`"state":"running","appId":["x:1"]`), named("x:1")},
		{"the last of two applications", batch(`"state":"running","appId":["x","y"]`), named("y")},
		{"no application in an array", batch(`"state":"running","appId":[]`), named("")},
		{"an application that is a number", batch(`"state":"running","appId":5`), named("")},
		{"an older queue", batch(`"state":"running","cluster_name":"old"`), batchStatus("running", StateRunning, func(s *JobStatus) { s.QueueName = "old" })},
		{"two queues", batch(`"state":"running","cluster_name":"old","queue":"new"`), batchStatus("running", StateRunning, func(s *JobStatus) { s.QueueName = "new" })},
		{"an end without a duration", batch(`"state":"success","create_time":1747169026784,"update_time":1747169086784`), timed("success", StateFinished, at(1747169026784), 60000)},
		{"the duration, if there is one", batch(`"state":"success","create_time":1747169026784,"update_time":1747169086784,"duration":59000`), timed("success", StateFinished, at(1747169026784), 59000)},
		{"a last change that is no end", batch(`"state":"running","create_time":1747169026784,"update_time":1747169086784`), timed("running", StateRunning, at(1747169026784), -1)},
		{"a last change before the start", batch(`"state":"dead","create_time":1747169026784,"update_time":1747169026783`), timed("dead", StateFailed, at(1747169026784), -1)},
		{"times of 0", batch(`"state":"dead","create_time":0,"update_time":0`), batchStatus("dead", StateFailed)},
		{"no start", batch(`"state":"dead","update_time":1747169026783`), batchStatus("dead", StateFailed)},
		{"times in seconds", batch(`"state":"dead","create_time":1747169026,"update_time":1747169086`), batchStatus("dead", StateFailed)},
		{"a last change in seconds", batch(`"state":"dead","create_time":1747169026784,"update_time":1747169086`), timed("dead", StateFailed, at(1747169026784), -1)},
		{"times after the year 9999", batch(`"state":"dead","create_time":253402300800000,"update_time":253402300800001`), batchStatus("dead", StateFailed)},
		{"an end after the year 9999", batch(`"state":"dead","create_time":253402300799999,"duration":1`), timed("dead", StateFailed, at(253402300799999), -1)},
		{"times that are texts", batch(`"state":"dead","create_time":"1747169026784","update_time":"soon"`), timed("dead", StateFailed, at(1747169026784), -1)},
		{"another batch", strings.Replace(batch(`"state":"dead"`), "0a324461", "1a324461", 1), refuse(otherJob)},
		{"a SQL job", finished, refuse(otherJob)},
		{"an error instead", `{"error_code":"DLI.0002","error_msg":"no"}`, refuse(otherJob)},
		{"an unsuccessful request", `{"is_success":false,"message":"DLI.0999: busy"}`, &Error{Kind: KindRetry, HTTPStatus: 200, Code: "DLI.0999", Message: "DLI.0999: busy"}},
		{"an array", "[]", refuse("the response is not a JSON object")},
		{"a page", "<html>", refuse("HTTP 200 with a body of unknown type instead of one JSON value")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, err := judge(tc.body, batchOf(batchID))
			check(t, status, err, tc.want)
		})
	}
}

func TestBatchIDInUpperCase(t *testing.T) {
	client, _ := serve(t, reply(200, strings.Replace(batch(`"state":"dead"`), batchID, strings.ToUpper(batchID), 1)))
	status, err := client.Status(background, accessKey, JobTypeSpark, batchID)
	check(t, status, err, batchStatus("dead", StateFailed, func(s *JobStatus) { s.JobID = strings.ToUpper(batchID) }))
}

// TestLongLogs has ten lines of 64 KiB with escapes, the last of which ends in an error code.
func TestLongLogs(t *testing.T) {
	line := strings.Repeat(`\u4f5c\"\n`, 64<<10/10)
	lines := strings.Repeat(`"`+line+`",`, 9) + `"` + line + `DLI.0002: gone"`
	client, _ := serve(t, reply(200, batch(`"state":"dead"`, `"log":[`+lines+`]`)))
	status, err := client.Status(background, accessKey, JobTypeSpark, batchID)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(status.Message); n > maxProseBytes || n < maxProseBytes-100 || !utf8.ValidString(status.Message) {
		t.Errorf("the message has %d bytes: %.40q", n, status.Message)
	}
	if got := ErrorCode(status.Message); got != "DLI.0002" {
		t.Errorf("want the error code, got %q", got)
	}
	if parts := strings.Count(status.Message, "…"); parts < 10 {
		t.Errorf("%d lines are cut", parts)
	}
}

func TestBatchSecrets(t *testing.T) {
	key := Credentials{AccessKeyID: "AK-0123456789", SecretAccessKey: "SK-0123456789"}
	body := strings.NewReplacer("nightly", key.SecretAccessKey, "spark1", key.SecretAccessKey, "30663", key.SecretAccessKey,
		"swr/team", key.SecretAccessKey, "Main.main", key.SecretAccessKey, `"test"`, `"`+key.SecretAccessKey+`"`).Replace(fullBatch)
	client, _ := serve(t, reply(200, body))
	status, err := client.BatchStatus(background, key, batchID)
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%+v", *status); strings.Contains(shown, key.SecretAccessKey) || strings.Contains(shown, "PASSWORD1") || strings.Count(shown, redacted) != 6 {
		t.Errorf("the status shows %s", shown)
	}
}

func TestUnsendableBatchRequests(t *testing.T) {
	var seen recorder
	client, _ := serve(t, &seen)
	for _, id := range []string{"", "../x", "a/b"} {
		if _, err := client.BatchStatus(background, accessKey, id); err == nil || seen.last.Load() != nil {
			t.Errorf("%q: want an error without a request, got %v", id, err)
		}
	}
	if _, err := client.ListBatches(background, accessKey, ListOptions{Page: 101}); err == nil || seen.last.Load() != nil {
		t.Errorf("want an error without a request, got %v", err)
	}
}

// TestSimulatedBatches follows a batch of the simulator, signature included.
func TestSimulatedBatches(t *testing.T) {
	server, client := simulate(t)
	set(server, dlitest.Batch(batchID).Launching(time.Minute).Running(time.Minute).Fails("stderr:\nDLI.0002: gone"), 90*time.Second)
	set(server, dlitest.Query(jobID).Running(time.Hour), time.Minute)
	running := batchStatus("running", StateRunning, func(s *JobStatus) {
		s.ApplicationID, s.Name, s.QueueName, s.Owner = "batch-session-"+batchID+":30663", "nightly", "spark1", "test"
		s.StartTime, s.Duration = noon.Add(-90*time.Second), new(90*time.Second)
	})
	status, err := client.Status(background, accessKey, JobTypeSpark, batchID)
	check(t, status, err, running)
	list, err := client.List(background, accessKey, JobTypeSpark, ListOptions{Status: "running"})
	check(t, list, err, listing(1, rowOf(running, time.Time{})))

	set(server, dlitest.Batch(batchID).Launching(time.Minute).Running(time.Minute).Fails("stderr:\nDLI.0002: gone"), 3*time.Minute)
	dead, err := client.Status(background, accessKey, JobTypeSpark, batchID)
	if err != nil || dead.State != StateFailed || *dead.Duration != 2*time.Minute || dead.Message != "stderr:\nDLI.0002: gone" {
		t.Errorf("got %+v, %v", dead, err)
	}

	for _, tc := range []struct {
		jobType JobType
		id      string
	}{{JobTypeSpark, jobID}, {JobTypeSQL, batchID}} {
		_, err := client.Status(background, accessKey, tc.jobType, tc.id)
		if e, ok := AsError(err); !ok || e.Kind != KindNotFound {
			t.Errorf("%s as %s: want an error of KindNotFound, got %v", tc.id, tc.jobType, err)
		}
	}
}

func TestBatchLists(t *testing.T) {
	refuse := func(message string) *Error { return &Error{Kind: KindInvalid, HTTPStatus: 200, Message: message} }
	pageOf := func(total any, rows ...string) string {
		return fmt.Sprintf(`{"from":0,"total":%v,"create_time":1,"sessions":[%s]}`, total, strings.Join(rows, ","))
	}
	row := func(id string, members ...string) string {
		return `{"id":"` + id + `","state":"running"` + strings.Join(append([]string{""}, members...), ",") + `}`
	}
	running := JobRow{JobID: "a", Status: "running", State: StateRunning, JobType: "SPARK"}
	for _, tc := range []struct {
		name string
		body string
		want any
	}{
		{"none", pageOf(0), listing(0)},
		{"none of many", pageOf(300), listing(300)},
		{"sessions null", `{"total":7,"sessions":null}`, listing(7)},
		{"a row", pageOf(1, row("a")), listing(1, running)},
		{"a row with all members", pageOf(1, row(batchID, fullBatch[len(`{"id":"`+batchID+`",`):len(fullBatch)-1])), listing(1, JobRow{
			JobID: batchID, Status: "dead", State: StateFailed, JobType: "SPARK", QueueName: "spark1", Owner: "test",
			StartTime: at(1747169026784), Cost: Cost{EndTime: at(1747169086784)}, Figures: Figures{Duration: new(time.Minute)},
		})},
		{"rows that cannot be read", pageOf(4, row("a"), `{"id":"b"}`, `{"state":"dead"}`, `5`, row("a/b")), listing(4, running)},
		{"no total", `{"sessions":[]}`, refuse("the answer does not say how many jobs there are")},
		{"a negative total", pageOf(-1), refuse("the answer does not say how many jobs there are")},
		{"no rows", `{"total":1}`, refuse("the answer has no list of jobs")},
		{"a page of SQL jobs", page(1, `{"job_id":"a","status":"RUNNING"}`), refuse("the answer does not say how many jobs there are")},
		{"an unsuccessful request", `{"is_success":false,"message":"DLI.0003"}`, &Error{Kind: KindPermission, HTTPStatus: 200, Code: "DLI.0003", Message: "DLI.0003"}},
		{"not an object", `[]`, refuse("the response is not a JSON object")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			list, err := judge(tc.body, batchListOf(100))
			check(t, list, err, tc.want)
		})
	}
}
