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
	"strings"
	"unicode/utf8"
)

// shortener copies a text of JSON as it arrives, with every string longer than
// limit cut short and every run of blanks between values cut to one. The copy is
// JSON if and only if the original is, so whoever reads it judges both: where a
// part that is left out is wrong, something wrong is put in its place.
//
// It knows nothing of JSON but where strings begin and end. The copy is never
// longer than what it is a copy of, at any time.
type shortener struct {
	// limit is in bytes, of a string as it is written.
	limit int
	// text is the copy.
	text []byte
	// blank says that text ends in a blank between values.
	blank bool
	// quoted says that a string has begun and not ended.
	quoted bool
	inside stringState
}

// stringState is what must be known about a string that has not ended.
type stringState struct {
	// start is where the copy of its text begins, and safe is the last place where
	// it can be cut: not in the middle of a rune, of an escape, or of two escapes
	// that make one rune.
	start, safe int
	// cut says that its rest is left out.
	cut bool
	// escaped and digits say what of an escape is still to come: all after the
	// backslash, or as many hexadecimal digits.
	escaped bool
	digits  int
	// half says that the last escape was the first half of two that make one rune.
	half bool
}

// write goes on with the next part of the original.
func (s *shortener) write(part []byte) {
	for i := 0; i < len(part); i++ {
		if s.quoted && s.inside.cut && s.inside.between() {
			// Nearly all of a large answer goes this way.
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
			s.text = append(s.text, b)
			s.blank, s.quoted = false, b == '"'
			s.inside = stringState{start: len(s.text), safe: len(s.text)}
		}
	}
}

// writeInside goes on with a byte of a string.
func (s *shortener) writeInside(b byte) {
	in := &s.inside
	if !in.cut && in.between() && !in.half && utf8.RuneStart(b) {
		in.safe = len(s.text)
	}
	if b == '"' && in.between() {
		s.text = append(s.text, b)
		s.quoted = false
		return
	}
	if !in.cut && len(s.text)-in.start >= s.limit {
		s.text, in.cut = s.text[:in.safe], true
	}
	valid := in.follow(b)
	switch {
	case !in.cut:
		s.text = append(s.text, b)
		if !valid {
			in.safe = len(s.text) // It must not be cut away.
		}
	case !valid:
		// No string can hold this byte, so no text with it in a string is JSON.
		s.text = append(s.text, 0)
	}
}

// between reports whether no escape is going on.
func (in *stringState) between() bool { return !in.escaped && in.digits == 0 }

// plainBytes counts the bytes at the beginning of a part of a string that mean
// nothing but themselves.
func plainBytes(part []byte) int {
	for i, b := range part {
		if b < ' ' || b == '"' || b == '\\' {
			return i
		}
	}
	return len(part)
}

// follow notes what b means to the bytes behind it. It reports whether b may be
// where it is in a string.
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
