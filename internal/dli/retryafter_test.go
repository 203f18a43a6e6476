// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	const perMinute = "over ratelimit,limit:60,time:1 minute"
	for _, tc := range []struct {
		name    string
		header  string
		kind    Kind
		message string
		want    time.Duration
	}{
		{"seconds", "7", KindThrottle, perMinute, 7 * time.Second},
		{"seconds with blanks", " 7 ", KindThrottle, "", 7 * time.Second},
		{"a date", "Thu, 01 Jan 2026 12:01:30 GMT", KindRetry, "", 90 * time.Second},
		{"a date in an old format", "Thursday, 01-Jan-26 12:00:30 GMT", KindRetry, "", 30 * time.Second},
		{"a date in the past", "Thu, 01 Jan 2026 11:00:00 GMT", KindThrottle, perMinute, time.Minute},
		{"a date in another century", "Fri, 01 Jan 2126 12:00:00 GMT", KindRetry, "", 10 * time.Minute},
		{"zero", "0", KindThrottle, perMinute, time.Minute},
		{"negative", "-1", KindThrottle, perMinute, time.Minute},
		{"signed", "+7", KindThrottle, "", 0},
		{"a fraction", "7.5", KindThrottle, "", 0},
		{"a word", "abc", KindThrottle, "", 0},
		{"a list", "7, 8", KindThrottle, "", 0},
		{"non-ASCII digits", "７", KindThrottle, "", 0},
		{"years", "99999999", KindThrottle, "", 10 * time.Minute},
		{"beyond any integer", "99999999999999999999999999", KindThrottle, "", 10 * time.Minute},
		{"no hint", "", KindThrottle, "slow down", 0},
		{"a window of a second", "", KindThrottle, "limit:60,time:1 second", time.Second},
		{"a window of seconds", "", KindThrottle, "limit:60,time: 30 seconds", 30 * time.Second},
		{"a window of a day", "", KindThrottle, "limit:60,time:1 day", 10 * time.Minute},
		{"a window of zero", "", KindThrottle, "limit:60,time:0 minute", 0},
		{"a window that overflows", "", KindThrottle, "time:99999999999999999999 minute", 10 * time.Minute},
		{"a window in the message of another error", "", KindRetry, perMinute, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := answer{header: http.Header{"Retry-After": {tc.header}}, now: noon}
			if got := retryAfter(a, tc.kind, tc.message); got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}
