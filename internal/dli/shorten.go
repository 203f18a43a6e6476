// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"strings"
	"unicode/utf8"
)

// cutString returns the start of a JSON string, at most limit bytes of it as encoded.
func cutString(quoted value, limit int) value {
	s := shortener{limits: limits{text: limit}, text: make([]byte, 0, limit+widestEscape+len(`""`))}
	s.write(quoted[:min(len(quoted), cap(s.text))])
	if s.quoted {
		s.text = append(s.text, '"')
	}
	return value(s.text)
}

// shortener copies JSON text as it arrives, truncates every string longer than its limit,
// and reduces whitespace between values to one character. The copy is valid JSON if
// and only if the original is, so it is enough to validate the copy: if an omitted
// part is invalid, something invalid is written instead.
//
// It only knows where strings start and end. The copy is never longer than the part
// of the original that was read.
type shortener struct {
	limits limits
	// text is the copy.
	text []byte
	// member is the name that the next string belongs to; nil if that is unknown.
	member []byte
	// blank is set if text ends in whitespace between values.
	blank bool
	// quoted is set inside a string.
	quoted bool
	inside stringState
}

// stringState is the state inside a string.
type stringState struct {
	// limit is the limit of the string in bytes, as encoded.
	limit int
	// start and end are where the copy of its text starts and ends, and safe is the last
	// place where it can be cut: not in the middle of a rune, of an escape, or of a
	// surrogate pair of escapes.
	start, end, safe int
	// cut is set if the rest is omitted.
	cut bool
	// escaped and digits describe what is missing of an escape: everything after the
	// backslash, or this many hexadecimal digits.
	escaped bool
	digits  int
	// half is set if the last escape was the first half of a surrogate pair.
	half bool
}

// shorten processes what a buffer has from start on, in place, and returns the buffer.
func (s *shortener) shorten(buffer []byte, start int) []byte {
	s.text = buffer[:start]
	s.write(buffer[start:])
	return s.text
}

// write processes the next part of the original.
func (s *shortener) write(part []byte) {
	for i := 0; i < len(part); i++ {
		if s.quoted && s.inside.cut && s.inside.between() {
			// Most of a large answer takes this path.
			if i += plainBytes(part[i:]); i == len(part) {
				return
			}
		}
		b := part[i]
		switch {
		case s.quoted:
			s.writeInside(b)
		case b == ' ' || b == '\t' || b == '\r' || b == '\n':
			if !s.blank {
				s.text = append(s.text, b)
			}
			s.blank = true
		default:
			s.startToken(b)
		}
	}
}

// startToken processes a byte outside of strings.
func (s *shortener) startToken(b byte) {
	s.text = append(s.text, b)
	s.blank, s.quoted = false, b == '"'
	switch b {
	case '"':
		s.inside = stringState{limit: s.limits.of(s.member), start: len(s.text), safe: len(s.text)}
	case ':':
		s.member = s.text[s.inside.start:s.inside.end]
	default:
		s.member = nil
	}
}

// writeInside processes a byte of a string.
func (s *shortener) writeInside(b byte) {
	in := &s.inside
	if !in.cut && in.between() && !in.half && utf8.RuneStart(b) {
		in.safe = len(s.text)
	}
	if b == '"' && in.between() {
		in.end = len(s.text)
		s.text = append(s.text, b)
		s.quoted = false
		return
	}
	if !in.cut && len(s.text)-in.start >= in.limit {
		s.text, in.cut = s.text[:in.safe], true
	}
	valid := in.follow(b)
	switch {
	case !in.cut:
		s.text = append(s.text, b)
		if !valid {
			in.safe = len(s.text) // It must be kept.
		}
	case !valid:
		// This byte is invalid in a string, so the copy is invalid JSON.
		s.text = append(s.text, 0)
	}
}

// between reports whether the position is not inside an escape.
func (in *stringState) between() bool { return !in.escaped && in.digits == 0 }

// plainBytes counts the bytes at the start of a part of a string that have no special
// meaning.
func plainBytes(part []byte) int {
	for i, b := range part {
		if b < ' ' || b == '"' || b == '\\' {
			return i
		}
	}
	return len(part)
}

// follow updates the state after b, and reports whether b is valid at its place in a
// string.
func (in *stringState) follow(b byte) bool {
	switch {
	case in.digits > 0:
		// The first halves are \ud800 to \udbff.
		switch in.digits {
		case 4:
			in.half = b == 'd' || b == 'D'
		case 3:
			in.half = in.half && strings.IndexByte("89abAB", b) >= 0
		}
		in.digits--
		return strings.IndexByte("0123456789abcdefABCDEF", b) >= 0
	case in.escaped:
		in.escaped = false
		if b == 'u' {
			in.digits = 4
		}
		return strings.IndexByte(`"\/bfnrtu`, b) >= 0
	}
	in.half, in.escaped = false, b == '\\'
	return b >= ' '
}
