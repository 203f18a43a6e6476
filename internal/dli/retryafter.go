// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter limits how long a service can pause its clients.
const maxRetryAfter = 10 * time.Minute

// An access key with too many wrong signatures is locked for all its users, and this
// is the gateway's message. Further requests prolong the lock.
const (
	lockedKey = "failed to reach the limit"
	keyLock   = 5 * time.Minute
)

// retryAfter is how long the service demands to wait, at most maxRetryAfter; 0 if it
// does not say. The header Retry-After takes precedence; throttled requests also have
// the window in their message, and a key's lock has a known length.
func retryAfter(a answer, kind Kind, message string) time.Duration {
	wait := headerWait(a.header.Get("Retry-After"), a.now)
	switch {
	case wait > 0:
	case kind == KindThrottle:
		wait = windowWait(message)
	case kind == KindAuth && strings.Contains(message, lockedKey):
		wait = keyLock
	}
	return min(wait, maxRetryAfter)
}

// headerWait reads a Retry-After header: seconds, or a date. Anything else, or a date
// in the past, is ignored.
func headerWait(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if date, err := http.ParseTime(header); err == nil {
		return max(0, date.Sub(now))
	}
	return times(header, time.Second)
}

// throttleWindow matches the end of the gateway's message for a throttled request:
// "policy user over ratelimit,limit:60,time:1 minute".
var throttleWindow = regexp.MustCompile(`time:\s*(\d+)\s*(second|minute|hour|day)`)

var windowUnits = map[string]time.Duration{
	"second": time.Second,
	"minute": time.Minute,
	"hour":   time.Hour,
	"day":    24 * time.Hour,
}

// windowWait reads the window from a throttled request's message. After a whole
// window, requests are certainly accepted again.
func windowWait(message string) time.Duration {
	window := throttleWindow.FindStringSubmatch(message)
	if window == nil {
		return 0
	}
	return times(window[1], windowUnits[window[2]])
}

// times multiplies unit by a number in digits, up to maxRetryAfter.
func times(digits string, unit time.Duration) time.Duration {
	for _, digit := range digits {
		if digit < '0' || digit > '9' {
			return 0
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case digits == "":
		return 0
	case err != nil || n > uint64(maxRetryAfter/unit):
		return maxRetryAfter
	}
	return time.Duration(n) * unit
}
