// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"bytes"
	"encoding/json"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
)

// value is the text of one JSON value. Walking the text instead of building a tree
// keeps polls cheap, and allows fields to have the wrong type without affecting the
// others.
//
// Only encoding/json decides what is valid JSON: see parseJSON. On a text that was
// not validated, the walk still ends, but may miss values.
type value []byte

// byteOrderMark is how some encoders start a text in UTF-8.
var byteOrderMark = []byte("\uFEFF")

// parseJSON returns text as a value if it is one JSON value, surrounded only by
// whitespace, with two faults that other encoders make: a byte order mark is skipped, and
// NaN and Infinity are overwritten, in text itself, by something that is no number either.
func parseJSON(text []byte) (value, bool) {
	text = bytes.TrimPrefix(text, byteOrderMark)
	ok := json.Valid(text) || overwriteNonNumbers(text) && json.Valid(text)
	return value(bytes.Trim(text, " \t\r\n")), ok
}

// nonNumbers are what encoders write for a number that JSON does not have.
var nonNumbers = []string{"NaN", "Infinity", "-Infinity"}

// overwriteNonNumbers replaces nonNumbers in the place of a value by an empty string of
// the same width, and reports whether there were any.
func overwriteNonNumbers(text []byte) (found bool) {
	c := cursor{text: text}
	for before := byte(0); c.at < len(text); {
		c.skipBlanks()
		switch first := c.peek(); first {
		case '"':
			c.skipString()
			before = first
		case '{', '}', '[', ']', ':', ',', 0:
			c.at++
			before = first
		default:
			start := c.at
			c.skipWord()
			word := text[start:c.at]
			c.skipBlanks()
			isValue := strings.IndexByte(":,[", before) >= 0 && c.peek() != ':'
			if isValue && slices.Contains(nonNumbers, string(word)) {
				copy(word, `""       `)
				found = true
			}
			before = first
		}
	}
	return found
}

// members yields the names and values of an object; nothing if v is not an object.
func (v value) members() iter.Seq2[[]byte, value] {
	return func(yield func([]byte, value) bool) {
		c := cursor{text: v}
		for name := range c.members() {
			member, ok := c.next()
			if !ok || !yield(name, member) {
				return
			}
		}
	}
}

// elements yields the values of an array; nothing if v is not an array.
func (v value) elements() iter.Seq[value] {
	return func(yield func(value) bool) {
		c := cursor{text: v}
		if !c.take('[') {
			return
		}
		for !c.take(']') {
			element, ok := c.next()
			if !ok || !yield(element) {
				return
			}
			c.take(',')
		}
	}
}

// first is the first byte of v, which determines its type.
func (v value) first() byte {
	if len(v) == 0 {
		return 0
	}
	return v[0]
}

func (v value) isString() bool { return v.first() == '"' }
func (v value) isObject() bool { return v.first() == '{' }
func (v value) isArray() bool  { return v.first() == '[' }
func (v value) isNull() bool   { return v.first() == 'n' }

// text is a string's text, as valid UTF-8; "" if v is not a string. The text
// does not share memory with v.
func (v value) text() string {
	if !v.isString() {
		return ""
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return strings.ToValidUTF8(string(v[1:len(v)-1]), "\uFFFD")
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// integer is the value of an integer, or of an integer in a string; nil if v is
// neither or does not fit into an int64.
func (v value) integer() *int64 {
	n, err := strconv.ParseInt(string(v.unquoted()), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// number is the value of a number, or of a number in a string; nil if v is neither,
// NaN or infinite.
func (v value) number() *float64 {
	n, err := strconv.ParseFloat(string(v.unquoted()), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return nil
	}
	return &n
}

// flag is the value of a boolean, or of a boolean in a string; ok is false if v is
// neither.
func (v value) flag() (set, ok bool) {
	switch text := v.unquoted(); {
	case bytes.EqualFold(text, []byte("true")):
		return true, true
	case bytes.EqualFold(text, []byte("false")):
		return false, true
	}
	return false, false
}

// unquoted is a string's text, which may share memory with v; any other value is
// returned unchanged.
func (v value) unquoted() []byte {
	switch {
	case !v.isString():
		return v
	case bytes.IndexByte(v, '\\') < 0:
		return v[1 : len(v)-1]
	}
	return []byte(v.text())
}

// unquotedString is unquoted for a string, and nil for anything else.
func (v value) unquotedString() []byte {
	if !v.isString() {
		return nil
	}
	return v.unquoted()
}

// cursor walks JSON text from left to right.
type cursor struct {
	text []byte
	at   int
}

// peek is the byte at the cursor; 0 at the end.
func (c *cursor) peek() byte {
	if c.at >= len(c.text) {
		return 0
	}
	return c.text[c.at]
}

func (c *cursor) skipBlanks() {
	for c.at < len(c.text) {
		switch c.text[c.at] {
		case ' ', '\t', '\r', '\n':
			c.at++
		default:
			return
		}
	}
}

// take skips whitespace, and b if it follows.
func (c *cursor) take(b byte) bool {
	c.skipBlanks()
	if c.at >= len(c.text) || c.text[c.at] != b {
		return false
	}
	c.at++
	return true
}

// members yields the names of an object, without quotes, with the cursor before the
// value. The value must be read before the next name.
func (c *cursor) members() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if !c.take('{') {
			return
		}
		for !c.take('}') {
			name, ok := c.next()
			if !ok || !c.take(':') || !yield(name.unquoted()) {
				return
			}
			c.take(',')
		}
	}
}

// next skips whitespace and returns the value that follows.
func (c *cursor) next() (value, bool) {
	c.skipBlanks()
	start, ok := c.at, false
	switch c.peek() {
	case '"':
		ok = c.skipString()
	case '{', '[':
		ok = c.skipNested()
	default:
		ok = c.skipWord()
	}
	return c.text[start:c.at], ok
}

func (c *cursor) skipString() bool {
	for c.at++; c.at < len(c.text); c.at++ {
		switch c.text[c.at] {
		case '\\':
			c.at++
		case '"':
			c.at++
			return true
		}
	}
	c.at = len(c.text)
	return false
}

// skipNested counts brackets instead of recursing, so that depth needs no stack.
func (c *cursor) skipNested() bool {
	for depth := 0; c.at < len(c.text); {
		switch c.text[c.at] {
		case '"':
			if !c.skipString() {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		c.at++
		if depth == 0 {
			return true
		}
	}
	return false
}

func (c *cursor) skipWord() bool {
	start := c.at
	for c.at < len(c.text) && strings.IndexByte(",:{}[]\" \t\r\n", c.text[c.at]) < 0 {
		c.at++
	}
	return c.at > start
}
