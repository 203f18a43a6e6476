// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestClockSkew(t *testing.T) {
	const (
		wrongKey = "Incorrect IAM authentication information: verify aksk signature fail"
		tooOld   = "Incorrect app authentication information: signature expired, signature time:20260101T110000Z,server time:20260101T120000Z"
	)
	for _, tc := range []struct {
		name    string
		ahead   time.Duration
		message string
		want    time.Duration
	}{
		{"a signature too old, and a clock behind", -16 * time.Minute, tooOld, -16 * time.Minute},
		{"a signature too old, and a clock ahead", 2 * time.Minute, tooOld, 2 * time.Minute},
		{"a signature too old, and clocks that agree", time.Minute, tooOld, 0},
		{"a message about the date", 2 * time.Minute, "Incorrect IAM authentication information: invalid x-sdk-date", 2 * time.Minute},
		{"a signature too young", -2 * time.Minute, "the signature is not yet valid", -2 * time.Minute},
		{"a wrong key, and clocks that differ a little", 15 * time.Minute, wrongKey, 0},
		{"a wrong key, and a clock far ahead", 15*time.Minute + time.Second, wrongKey, 15*time.Minute + time.Second},
		{"a wrong key, with the signed date in the explanation", 2 * time.Minute, wrongKey + ", canonicalRequest:GET|/||x-sdk-date:20260101T110000Z||", 0},
		{"no message", time.Hour, "", time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := answer{
				status: http.StatusUnauthorized,
				header: http.Header{"Date": {noon.Format(http.TimeFormat)}},
				body:   []byte(`{"error_code":"APIGW.0301","error_msg":` + quote(tc.message) + `}`),
				now:    noon.Add(tc.ahead),
				signed: true,
			}
			_, e := interpret(a, &secrets{}, statusOf(jobID))
			if e.Kind != KindAuth || e.ClockSkew != tc.want {
				t.Errorf("want an error of KindAuth with a skew of %v, got %+v", tc.want, e)
			}
		})
	}

	late := answer{status: http.StatusUnauthorized, header: http.Header{"Date": {noon.Format(http.TimeFormat)}}, now: noon.Add(time.Hour), signed: true}
	for name, spoil := range map[string]func(*answer){
		"a token, which has no date": func(a *answer) { a.signed = false },
		"a response without a date":  func(a *answer) { a.header = http.Header{} },
		"another kind of error":      func(a *answer) { a.status = http.StatusForbidden },
	} {
		t.Run(name, func(t *testing.T) {
			a := late
			spoil(&a)
			if _, e := interpret(a, &secrets{}, statusOf(jobID)); e.ClockSkew != 0 {
				t.Errorf("want no skew, got %+v", e)
			}
		})
	}

	t.Run("a rejection with status 200", func(t *testing.T) {
		a := late
		a.status, a.body = http.StatusOK, []byte(`{"is_success":false,"message":"APIGW.0303: signature expired"}`)
		if _, e := interpret(a, &secrets{}, statusOf(jobID)); e.Kind != KindAuth || e.ClockSkew != time.Hour {
			t.Errorf("want a skew of an hour, got %+v", e)
		}
	})
}

func TestMessagesContainNoTimes(t *testing.T) {
	for message, want := range map[string]string{
		"at 20261125T120000Z":                        "at …",
		"from 2026-11-25T12:00:00Z on":               "from … on",
		"from 2026-11-25T12:00:00.123+08:00 on":      "from … on",
		"at 2026-11-25 12:00:00,":                    "at …,",
		"at Wed, 25 Nov 2026 12:00:00 GMT":           "at …",
		"job 20261125 has 120000 rows":               "job 20261125 has 120000 rows",
		"since 2026-11-25":                           "since 2026-11-25",
		"limit:60,time:1 minute":                     "limit:60,time:1 minute",
		"obs://b/2026/11/25/" + jobID + " not found": "obs://b/2026/11/25/" + jobID + " not found",
	} {
		for status, member := range map[int]string{200: `"is_success":false,"message":`, 400: `"error_msg":`} {
			body := "{" + member + quote(message) + "}"
			_, e := interpret(answer{status: status, header: http.Header{}, body: []byte(body), now: noon}, &secrets{}, statusOf(jobID))
			if e.Message != want {
				t.Errorf("HTTP %d: %q became %q, want %q", status, message, e.Message, want)
			}
		}
	}
	long := strings.Repeat("20261125T120000Z ", 1000)
	_, e := interpret(answer{status: 400, header: http.Header{}, body: []byte(`{"error_msg":"` + long + `"}`)}, &secrets{}, statusOf(jobID))
	if len(e.Message) > maxErrorMessageBytes || strings.Contains(e.Message, "2026") {
		t.Errorf("got %q", e.Message)
	}
}
