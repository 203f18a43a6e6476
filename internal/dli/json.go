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
	"iter"
	"math"
	"strconv"
	"strings"
)

// value is the text of one JSON value. Walking text instead of building it
// keeps a poll cheap, and leaves every field free to be of the wrong type
// without hurting its neighbours.
//
// encoding/json alone judges what is JSON: see parseJSON. On a text that it has
// not judged the walk still ends, but may miss values.
type value []byte

// parseJSON returns text as a value if it is one JSON value with nothing but
// blanks around it.
func parseJSON(text []byte) (value, bool) {
	return value(bytes.Trim(text, " \t\r\n")), json.Valid(text)
}

// members yields the names and values of an object, and nothing if v is not an
// object.
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

// elements yields the values of an array, and nothing if v is not an array.
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

// first is the byte that tells the type of v.
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

// integer is an integer's value, also of one written as a string; nil if v is
// neither or fits no int64.
func (v value) integer() *int64 {
	n, err := strconv.ParseInt(string(v.unquoted()), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// number is a number's value, also of one written as a string; nil if v is
// neither or none that can be counted with.
func (v value) number() *float64 {
	n, err := strconv.ParseFloat(string(v.unquoted()), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return nil
	}
	return &n
}

// flag is a boolean's value, also of one written as a string; ok is false if v
// is neither.
func (v value) flag() (set, ok bool) {
	switch text := v.unquoted(); {
	case bytes.EqualFold(text, []byte("true")):
		return true, true
	case bytes.EqualFold(text, []byte("false")):
		return false, true
	}
	return false, false
}

// unquoted is a string's text, which may share memory with v; any other value
// is returned as it is.
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

// cursor walks a text of JSON from left to right.
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

// take skips blanks, and b if it is what follows.
func (c *cursor) take(b byte) bool {
	c.skipBlanks()
	if c.at >= len(c.text) || c.text[c.at] != b {
		return false
	}
	c.at++
	return true
}

// members yields the names of an object, without their quotes, with the cursor
// before their values, each of which must be read before the next name.
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

// next skips blanks and cuts out the value that follows.
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

// skipNested counts brackets instead of recursing: depth costs no stack.
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
