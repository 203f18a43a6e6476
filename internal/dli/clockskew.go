// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

const (
	// smallSkew is how far clocks differ in practice, including network delays. It is
	// harmless.
	smallSkew = time.Minute
	// fatalSkew is the maximum that the gateway tolerates in a signature's date.
	fatalSkew = 15 * time.Minute
)

// aboutTime matches a gateway's message about a rejected signature date, such as
//
//	signature expired, signature time:20230527T000431Z,server time:20230527T020608Z
var aboutTime = regexp.MustCompile(`(?i)expired|not yet valid|clock|skew|timestamp|x-sdk-date|(?:signature|signing|server) time`)

// clockSkew is how far the local clock is ahead of the service's, to the second, if
// that may be the reason why a signature was rejected; else 0. Tokens do not depend
// on the local clock.
func clockSkew(a answer, kind Kind, message string) time.Duration {
	date := a.date()
	if kind != KindAuth || !a.signed || date.IsZero() {
		return 0
	}
	// For a wrong key, the gateway's message includes everything that was signed, also
	// the date.
	message, _, _ = strings.Cut(message, "canonicalRequest")
	skew := a.now.Sub(date).Round(time.Second)
	if skew.Abs() > fatalSkew || skew.Abs() > smallSkew && aboutTime.MatchString(message) {
		return skew
	}
	return 0
}

// DescribeSkew describes the difference between the clocks if it is the reason.
func (e *Error) DescribeSkew() string {
	direction := "ahead of"
	if e.ClockSkew < 0 {
		direction = "behind"
	}
	return fmt.Sprintf("the operator's clock is %v %s DLI's", e.ClockSkew.Abs().Round(time.Minute), direction)
}

// pointInTime matches a date and time in the formats of signatures, of RFC 3339 and
// similar, and of HTTP.
var pointInTime = regexp.MustCompile(`\d{8}T\d{6}Z` +
	`|\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?: ?(?:Z|[+-]\d{2}:?\d{2}))?` +
	`|[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT`)

// withoutTimes masks points in time: the same error a second later must have the
// same message, because messages are compared to detect news.
func withoutTimes(message string) string {
	return pointInTime.ReplaceAllLiteralString(message, "…")
}
