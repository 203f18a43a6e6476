// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dli-operator/dli-operator/internal/text"
)

const (
	// maxStatusRunes is the maximum length of a status.
	maxStatusRunes = 64
	// maxTags is how many tags DLI accepts for a job.
	maxTags = 20
	// minTime is the first millisecond of the year 2000, before which there was no DLI:
	// such a time is in another unit.
	minTime = 946684800000
	// maxTime is the last millisecond of the year 9999, after which times have no
	// RFC 3339 form.
	maxTime = 253402300799999
)

// statusOf returns a reader for answers about jobID.
func statusOf(jobID string) reader[JobStatus] {
	return func(a answer, hide *secrets) (*JobStatus, *Error) { return decodeStatus(a, jobID, hide) }
}

// decodeStatus reads an HTTP 200 answer to a question about jobID.
//
// The status and the job's ID are required: without them, or with any error in the
// JSON except one, the answer is invalid. The exception is the error in the API
// document's own sample: see repairMessage.
func decodeStatus(a answer, jobID string, hide *secrets) (*JobStatus, *Error) {
	object, ok := parseJSON(a.body)
	if ok {
		return readStatus(a, object, jobID, hide)
	}
	if repaired, ok := repairMessage(object); ok {
		if object, ok := parseJSON(repaired); ok {
			if status, err := readStatus(a, object, jobID, hide); err == nil {
				return status, nil
			}
		}
	}
	return nil, invalid(describeBody(a) + " instead of one JSON value")
}

// readStatus reads an answer that is JSON.
func readStatus(a answer, object value, jobID string, hide *secrets) (*JobStatus, *Error) {
	if !object.isObject() {
		return nil, invalid("the response is not a JSON object")
	}
	var body statusBody
	readObject(object, &body)

	word, fault := statusWord(body.Status)
	switch {
	case body.IsSuccess.known && !body.IsSuccess.set:
		return nil, refusal(a, body.Message, hide)
	case !sameJob(string(body.JobID), jobID):
		return nil, invalid(otherJob)
	case fault != "":
		return nil, invalid(fault)
	}
	word = hide.in(word)
	start := timeOf(body.StartTime)
	status := &JobStatus{
		JobID:        string(body.JobID),
		Status:       word,
		State:        stateOf(JobTypeSQL, word),
		JobType:      wordOf(body.JobType, hide),
		JobMode:      wordOf(body.JobMode, hide),
		QueueName:    nameOf(body.QueueName, hide),
		Owner:        nameOf(body.Owner, hide),
		DatabaseName: nameOf(body.DatabaseName, hide),
		TableName:    nameOf(body.TableName, hide),
		ResultPath:   pathOf(body.ResultPath, hide),
		Date:         a.date(),
		StartTime:    start,
		Figures: Figures{
			Duration:      durationOf(body.Duration, start),
			InputRowCount: countOf(body.InputRowCount),
			BadRowCount:   countOf(body.BadRowCount),
			ResultCount:   countOf(body.ResultCount),
			InputBytes:    countOf(body.InputSize),
		},
		Message: body.Message.message(hide),
	}
	status.Columns, status.ColumnsOmitted = parseSchema(body.Detail, hide)
	status.Tags = tagsOf(body.Tags, hide)
	status.Statement, status.StatementTruncated = body.Statement.statement(hide)
	return status, nil
}

// tagsOf returns the tags that can be shown, the first of each key.
func tagsOf(array rawJSON, hide *secrets) (tags []Tag) {
	for element := range array.elements() {
		var body tagBody
		readObject(element, &body)
		tag := Tag{nameOf(lenientText(body.Key), hide), nameOf(lenientText(body.Value), hide)}
		isKnown := slices.ContainsFunc(tags, func(other Tag) bool { return other.Key == tag.Key })
		if tag.Key != "" && (tag.Value != "" || body.Value == "") && !isKnown && len(tags) < maxTags {
			tags = append(tags, tag)
		}
	}
	return tags
}

// readAnswer reads an answer that is one JSON object.
func readAnswer(a answer, into any) *Error {
	object, ok := parseJSON(a.body)
	switch {
	case !ok:
		return invalid(describeBody(a) + " instead of one JSON value")
	case !object.isObject():
		return invalid("the response is not a JSON object")
	}
	readObject(object, into)
	return nil
}

// statusWord returns the status, or what is wrong with it.
func statusWord(status lenientText) (word, fault string) {
	word = strings.TrimSpace(string(status))
	switch {
	case word == "":
		return "", "the response has no status"
	case utf8.RuneCountInString(word) > maxStatusRunes || !text.IsPlain(word, maxStatusRunes*utf8.UTFMax):
		return "", "the status in the response is not a word"
	}
	return word, ""
}

// otherJob describes an answer without the requested ID.
const otherJob = "the response has no job ID, or that of another job"

// sameJob reports whether two IDs identify the same job: UUIDs are case-insensitive.
// The lengths are compared because case folding maps some non-ASCII letters to ASCII
// ones.
func sameJob(answered, asked string) bool {
	return len(answered) == len(asked) && strings.EqualFold(answered, asked)
}

// states maps every status in the API document, in upper case, by the type of job.
var states = map[JobType]map[string]State{
	JobTypeSQL: {
		"LAUNCHING": StateLaunching,
		"RUNNING":   StateRunning,
		"SCALING":   StateScaling,
		"FINISHED":  StateFinished,
		"FAILED":    StateFailed,
		"CANCELLED": StateCancelled,
	},
	JobTypeSpark: {
		"STARTING":   StateLaunching,
		"RUNNING":    StateRunning,
		"RECOVERING": StateRecovering,
		"SUCCESS":    StateFinished,
		"DEAD":       StateFailed,
	},
}

// stateOf returns the meaning of a status, ignoring case and surrounding spaces;
// StateUnrecognized if it is not in the API document.
func stateOf(jobType JobType, word string) State {
	return states[jobType][strings.ToUpper(strings.TrimSpace(word))]
}

// ParseState returns the meaning of a status of a job of any type: no word has two. What
// DLI answers about a job is in its State, which only counts the words of its type.
func ParseState(word string) State {
	return cmp.Or(stateOf(JobTypeSQL, word), stateOf(JobTypeSpark, word))
}

// activeStates are the states that DLI lists one by one.
var activeStates = []State{StateLaunching, StateRunning, StateScaling, StateRecovering}

// ListFilter is the ListOptions.Status for the jobs of a type in a state; "" if they are
// not listed.
func ListFilter(jobType JobType, state State) string {
	if !slices.Contains(activeStates, state) {
		return ""
	}
	for word, meaning := range states[cmp.Or(jobType, JobTypeSQL)] {
		switch {
		case meaning != state:
		case jobType == JobTypeSpark:
			return strings.ToLower(word)
		default:
			return word
		}
	}
	return ""
}

// timeOf converts milliseconds since 1970, UTC. DLI sends 0 for what has not happened
// yet.
func timeOf(ms lenientInteger) time.Time {
	if ms.value == nil || *ms.value < minTime || *ms.value > maxTime {
		return time.Time{}
	}
	return time.UnixMilli(*ms.value).UTC()
}

// durationOf converts a number of milliseconds since start. The time at which it ends
// must have an RFC 3339 form too.
func durationOf(ms lenientInteger, start time.Time) *time.Duration {
	n := countOf(ms)
	if n == nil || *n > math.MaxInt64/int64(time.Millisecond) || !start.IsZero() && *n > maxTime-start.UnixMilli() {
		return nil
	}
	duration := time.Duration(*n) * time.Millisecond
	return &duration
}

// countOf is a count, which is never negative.
func countOf(n lenientInteger) *int64 {
	if n.value == nil || *n.value < 0 {
		return nil
	}
	return n.value
}

// repairMessage fixes the one error in the API document's own sample of an answer:
// quotes that are not escaped in
//
//	"message": "{"error_code":"DLI.0999"}",
//
// It reports whether body has this error and returns the body with the message
// escaped, which may have errors elsewhere. It only applies if nothing in the message
// is escaped: a mix of both is a different error.
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

// needsEscape reports whether r is part of an escape, or must be escaped: a text with
// such a rune does not have the sample's error.
func needsEscape(r rune) bool {
	return r == '\\' || r < ' '
}

// findMember moves the cursor to the value of an object's member. The name includes
// its quotes.
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
