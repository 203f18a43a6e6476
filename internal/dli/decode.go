/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package dli

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dli-operator/dli-operator/internal/text"
)

const (
	// maxStatusRunes is the longest status word that is believed to be one.
	maxStatusRunes = 64
	// maxNameBytes bounds the texts that name something: queues, users, paths.
	maxNameBytes = 1024
	// maxStartTime is the last millisecond of the year 9999, after which times
	// have no RFC 3339 form.
	maxStartTime = 253402300799999
)

// decodeStatus reads an HTTP 200 answer to a question about jobID.
//
// The status word and the job's id are what counts: without them, and with any
// fault in the JSON but one, the answer is no status. The one fault is that of
// the API document's own sample: see repairMessage.
func decodeStatus(a answer, jobID string, hide *secrets) (*JobStatus, *Error) {
	if text, ok := parseJSON(a.body); ok {
		return readStatus(a, text, jobID, hide)
	}
	if repaired, ok := repairMessage(a.body); ok {
		if text, ok := parseJSON(repaired); ok {
			if status, err := readStatus(a, text, jobID, hide); err == nil {
				return status, nil
			}
		}
	}
	return nil, invalid(describeBody(a) + " instead of one JSON value")
}

// readStatus reads an answer that is JSON. Members nobody reads are ignored; a
// member that cannot be read is as good as absent.
func readStatus(a answer, object value, jobID string, hide *secrets) (*JobStatus, *Error) {
	if !object.isObject() {
		return nil, invalid("the answer is not a JSON object")
	}
	var status JobStatus
	refused := false
	for name, member := range object.members() {
		switch string(name) {
		case "is_success":
			success, ok := member.flag()
			refused = ok && !success
		case "job_id":
			status.JobID = member.text()
		case "status":
			status.Status = strings.TrimSpace(member.text())
		case "job_type":
			status.JobType = readName(member, hide)
		case "job_mode":
			status.JobMode = readName(member, hide)
		case "queue_name":
			status.QueueName = readName(member, hide)
		case "owner":
			status.Owner = readName(member, hide)
		case "database_name":
			status.DatabaseName = readName(member, hide)
		case "table_name":
			status.TableName = readName(member, hide)
		case "result_path":
			status.ResultPath = readName(member, hide)
		case "start_time":
			status.StartTime = readTime(member)
		case "duration":
			status.Duration = readDuration(member)
		case "input_row_count":
			status.InputRowCount = readCount(member)
		case "bad_row_count":
			status.BadRowCount = readCount(member)
		case "result_count":
			status.ResultCount = readCount(member)
		case "input_size":
			status.InputBytes = readCount(member)
		case "detail":
			status.Columns = parseSchema(member.unquotedString(), hide)
		case "statement":
			status.Statement = hide.in(member.text())
		case "message":
			status.Message = hide.in(member.text())
		}
	}

	switch {
	case refused:
		return nil, refusal(a, status.Message, hide)
	case !sameJob(status.JobID, jobID):
		return nil, invalid("the answer is about no job, or about another one than was asked for")
	case status.Status == "":
		return nil, invalid("the answer has no status word")
	case utf8.RuneCountInString(status.Status) > maxStatusRunes || !text.IsPlain(status.Status, maxStatusRunes*utf8.UTFMax):
		return nil, invalid("the answer's status is not a word")
	}
	status.Status = hide.in(status.Status)
	status.State = ParseState(status.Status)
	status.Date = a.date()
	return &status, nil
}

// sameJob reports whether two ids name one job: UUIDs are the same in upper and
// in lower case. The lengths are compared because folding takes some letters
// outside ASCII for ones inside.
func sameJob(answered, asked string) bool {
	return len(answered) == len(asked) && strings.EqualFold(answered, asked)
}

// states is every status word of the API document.
var states = map[string]State{
	"LAUNCHING": StateLaunching,
	"RUNNING":   StateRunning,
	"SCALING":   StateScaling,
	"FINISHED":  StateFinished,
	"FAILED":    StateFailed,
	"CANCELLED": StateCancelled,
}

// ParseState returns what a status word means, whatever its case and the blanks
// around it; StateUnrecognized when the API document does not know the word.
func ParseState(word string) State {
	return states[strings.ToUpper(strings.TrimSpace(word))]
}

// readName reads a short text. One that is too long or does not print is not
// the name of anything and is dropped: a name cut short names something else.
func readName(v value, hide *secrets) string {
	name := v.text()
	if !text.IsPlain(name, maxNameBytes) {
		return ""
	}
	return hide.in(name)
}

// readTime reads milliseconds since 1970, UTC. DLI writes 0 for a time that has
// not come yet.
func readTime(v value) time.Time {
	ms := v.integer()
	if ms == nil || *ms <= 0 || *ms > maxStartTime {
		return time.Time{}
	}
	return time.UnixMilli(*ms).UTC()
}

// readDuration reads milliseconds.
func readDuration(v value) *time.Duration {
	ms := readCount(v)
	if ms == nil || *ms > math.MaxInt64/int64(time.Millisecond) {
		return nil
	}
	duration := time.Duration(*ms) * time.Millisecond
	return &duration
}

// readCount reads a number of things, which is never negative.
func readCount(v value) *int64 {
	n := v.integer()
	if n == nil || *n < 0 {
		return nil
	}
	return n
}

// repairMessage mends the one fault that the API document's own sample of an
// answer has: quotes that are not escaped in
//
//	"message": "{"error_code":"DLI.0999"}",
//
// It reports whether body has this fault and returns the body with the message
// escaped, which may still be wrong elsewhere. A message counts only if nothing
// in it is escaped: one that mixes both is another fault.
func repairMessage(body []byte) (repaired []byte, ok bool) {
	c := cursor{text: body}
	if !c.findMember(`"message"`) || !c.take('"') || c.peek() != '{' {
		return nil, false
	}
	start := c.at
	message, ok := c.next()
	if !ok || c.peek() != '"' || bytes.ContainsFunc(message, needsEscape) {
		return nil, false
	}
	quoted, err := json.Marshal(string(message))
	if err != nil {
		return nil, false
	}
	return slices.Concat(body[:start-1], quoted, body[c.at+1:]), true
}

// needsEscape reports whether r was escaped, or had to be, by a writer who knew
// how: such a text is not the sample's fault.
func needsEscape(r rune) bool {
	return r == '\\' || r < ' '
}

// findMember moves the cursor to the value of an object's member. The name is
// in quotes.
func (c *cursor) findMember(quotedName string) bool {
	for c.take('{'); ; c.take(',') {
		name, ok := c.next()
		if !ok || !c.take(':') {
			return false
		}
		if string(name) == quotedName {
			c.skipBlanks()
			return true
		}
		if _, ok := c.next(); !ok {
			return false
		}
	}
}
