// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package text makes untrusted texts safe to show: it removes what would break a
// terminal or a table, and truncates what is too long. A Pool shares texts that repeat.
//
// Lengths are in bytes, because bytes are stored and sent. Texts are only cut at rune
// boundaries.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const ellipsis = "…"

// OneLine returns s as one line: each run of whitespace becomes one space, whitespace
// at either end is removed, and so is everything that is not printable, such as
// control characters and bidirectional marks.
func OneLine(s string) string {
	if IsPlain(s, len(s)) && !strings.Contains(s, "  ") {
		return strings.TrimSpace(s)
	}
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))), " ")
}

// Printable returns s without invalid UTF-8 and without what is invisible and changes
// how a text is shown: control characters other than newlines and tabs, Unicode's format
// characters, such as bidirectional controls, and its line and paragraph separators.
func Printable(s string) string {
	if isASCIIText(s) {
		return s
	}
	unwanted := func(r rune) bool {
		return r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
	}
	s = strings.ToValidUTF8(s, "")
	if !strings.ContainsFunc(s, unwanted) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unwanted(r) {
			return -1
		}
		return r
	}, s)
}

// isASCIIText reports whether s has only printable ASCII, newlines and tabs, as most texts
// do.
func isASCIIText(s string) bool {
	for i := range len(s) {
		if b := s[i]; b >= 0x7f || b < ' ' && b != '\n' && b != '\t' {
			return false
		}
	}
	return true
}

// Truncate returns as much of the start of s as fits into limit bytes. It does not
// mark the cut.
func Truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := max(limit, 0)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// Ellipsize returns s if it fits into limit bytes, else as much of its start as fits
// together with "…", which marks the cut. If the limit has no room for the mark, it is
// omitted.
func Ellipsize(s string, limit int) string {
	switch {
	case len(s) <= limit:
		return s
	case limit < len(ellipsis):
		return Truncate(s, limit)
	}
	return Truncate(s, limit-len(ellipsis)) + ellipsis
}

// IsPlain reports whether s can be shown unchanged: at most limit bytes of printable
// UTF-8.
func IsPlain(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// WithoutNumbers returns s without its digits, to compare texts that differ only in times,
// addresses and counts.
func WithoutNumbers(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}
