// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"encoding/json"
	"reflect"
	"sync"
)

// The types of the members of a body. They never fail: a member with an unexpected
// type is treated as absent, and does not affect the others.

// maxScalarBytes limits a text that is used as a whole or not at all, as encoded.
const maxScalarBytes = 64 << 10

// lenientText is a string's text, as valid UTF-8; "" for anything else, and for one that
// is too long to be used.
type lenientText string

func (t *lenientText) UnmarshalJSON(text []byte) error {
	if *t = ""; len(text) <= maxScalarBytes {
		*t = lenientText(value(text).text())
	}
	return nil
}

// lenientScalar is the text of a string or a number; "" for anything else.
type lenientScalar string

func (s *lenientScalar) UnmarshalJSON(text []byte) error {
	v := value(text)
	switch first := v.first(); {
	case len(v) > maxScalarBytes:
		*s = ""
	case first == '-' || '0' <= first && first <= '9':
		*s = lenientScalar(v)
	default:
		*s = lenientScalar(v.text())
	}
	return nil
}

// lenientInteger is an integer, also one in quotes; nil for anything else or if it
// does not fit into an int64.
type lenientInteger struct{ value *int64 }

func (n *lenientInteger) UnmarshalJSON(text []byte) error {
	n.value = value(text).integer()
	return nil
}

// lenientNumber is a number, also one in quotes; nil for anything else.
type lenientNumber struct{ value *float64 }

func (n *lenientNumber) UnmarshalJSON(text []byte) error {
	n.value = value(text).number()
	return nil
}

// lenientFlag is a boolean, also one in quotes; not known for anything else.
type lenientFlag struct{ set, known bool }

func (f *lenientFlag) UnmarshalJSON(text []byte) error {
	f.set, f.known = value(text).flag()
	return nil
}

// quotedJSON is the text of a string that contains JSON, which may share memory with
// the body; nil for anything else.
type quotedJSON []byte

func (j *quotedJSON) UnmarshalJSON(text []byte) error {
	*j = value(text).unquotedString()
	return nil
}

// rawJSON is the unparsed text of a value, which shares memory with the body.
type rawJSON struct{ value }

func (r *rawJSON) UnmarshalJSON(text []byte) error {
	r.value = text
	return nil
}

// unread is a member of the API that is not needed.
type unread struct{}

func (*unread) UnmarshalJSON([]byte) error { return nil }

// readObject reads the members of v into the fields that are tagged with their
// names. into points to a struct whose fields all have types like those above.
// It reads nothing if v is not an object.
//
// Unlike in json.Unmarshal, names are case-sensitive: there, a later member STATUS
// would overwrite the member status.
func readObject(v value, into any) {
	object := reflect.ValueOf(into).Elem()
	fields := fieldsOf(object.Type())
	for name, member := range v.members() {
		if field, ok := fields[string(name)]; ok {
			// It never fails, as its type promises.
			_ = object.Field(field).Addr().Interface().(json.Unmarshaler).UnmarshalJSON(member)
		}
	}
}

// tagged caches the results of fieldsOf by type.
var tagged sync.Map

// fieldsOf returns the fields of a struct by the names in their tags.
func fieldsOf(t reflect.Type) map[string]int {
	if known, ok := tagged.Load(t); ok {
		return known.(map[string]int)
	}
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		fields[t.Field(i).Tag.Get("json")] = i
	}
	tagged.Store(t, fields)
	return fields
}
