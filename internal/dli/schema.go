// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"strings"
	"unicode/utf8"

	"github.com/dli-operator/dli-operator/internal/text"
)

const (
	// maxDetailBytes limits the time to parse a schema: nobody reads a larger table in
	// a status.
	maxDetailBytes = 1 << 20
	// maxTypeDepth is far above any real table and far below any stack limit.
	maxTypeDepth = 64
	// maxTypeBytes limits a column's type; its name is a name like others.
	maxTypeBytes = 1024
	// uncutTypeBytes are enough of it to see that it is longer.
	uncutTypeBytes = maxTypeBytes + utf8.UTFMax
	// maxColumns limits the columns. Of a nested struct, twice as many fields are kept:
	// with three bytes each, at least, its type is longer than maxTypeBytes then.
	maxColumns = 256
	maxFields  = 2 * maxColumns
)

// sqlNames are the primitive types that have different names in Spark's JSON and SQL.
// All others, such as decimal(38,18) or future types, have the same name in both.
var sqlNames = map[string]string{
	"integer": "int",
	"long":    "bigint",
	"short":   "smallint",
	"byte":    "tinyint",
	"null":    "void",
}

// parseSchema reads the result's columns from a job's detail, which is the JSON form
// of a Spark struct:
//
//	{"type":"struct","fields":[{"name":"id","type":"integer","nullable":true,"metadata":{}}]}
//
// It returns maxColumns columns at most, and how many more there are. It returns none for
// anything else: not every engine uses this format, and an invalid detail must not
// invalidate the status.
func parseSchema(detail []byte, hide *secrets) (columns []Column, omitted int) {
	if len(detail) == 0 || len(detail) > maxDetailBytes {
		return nil, 0
	}
	parsed, ok := parseJSON(detail)
	if !ok {
		return nil, 0
	}
	r := schemaReader{cursor: cursor{text: parsed}, hide: hide}
	schema := r.readObject(0)
	if r.failed || schema.kind != "struct" {
		return nil, 0
	}
	columns = schema.fields[:min(len(schema.fields), maxColumns)]
	for i := range columns {
		column := &columns[i]
		column.Name = text.Ellipsize(column.Name, maxNameBytes)
		column.Type = text.Ellipsize(column.Type, maxTypeBytes)
	}
	return columns, schema.count - len(columns)
}

// schemaReader reads JSON text once, from left to right, so that the time is linear
// in the length of the text for any nesting.
type schemaReader struct {
	cursor
	hide *secrets
	// failed is set if the text is not a schema.
	failed bool
}

// dataType is a type that is a JSON object. Its kind decides which members count, and
// may come last.
type dataType struct {
	kind string
	// The types of its parts, in SQL.
	element, key, value, underlying string
	// fields are the first maxFields of count fields.
	fields    []Column
	count     int
	hasFields bool
}

// readType reads a type, which is a name or an object, and returns it in SQL.
func (r *schemaReader) readType(depth int) string {
	r.skipBlanks()
	switch first := r.peek(); {
	case depth > maxTypeDepth:
	case first == '"':
		return sqlName(r.readString())
	case first == '{':
		return r.sql(r.readObject(depth))
	}
	r.failed = true
	return ""
}

func (r *schemaReader) readObject(depth int) (t dataType) {
	for name := range r.members() {
		switch string(name) {
		case "type":
			t.kind = r.readString()
		case "elementType":
			t.element = r.readType(depth + 1)
		case "keyType":
			t.key = r.readType(depth + 1)
		case "valueType":
			t.value = r.readType(depth + 1)
		case "sqlType":
			t.underlying = r.readType(depth + 1)
		case "fields":
			t.fields, t.count = r.readFields(depth + 1)
			t.hasFields = true
		default:
			r.next()
		}
		if r.failed {
			break
		}
	}
	return t
}

func (r *schemaReader) readFields(depth int) (fields []Column, count int) {
	if !r.take('[') {
		r.failed = true
	}
	for ; !r.failed && !r.take(']'); count++ {
		if field := r.readField(depth); len(fields) < maxFields {
			fields = append(fields, field)
		}
		r.take(',')
	}
	return fields, count
}

// readField reads a column, or a field of a nested struct. As in Spark, it is nullable
// by default.
func (r *schemaReader) readField(depth int) Column {
	field := Column{Nullable: true}
	named := false
	for name := range r.members() {
		switch string(name) {
		case "name":
			field.Name, named = r.readString(), true
		case "type":
			field.Type = r.readType(depth)
		case "nullable":
			member, _ := r.next()
			if set, ok := member.flag(); ok {
				field.Nullable = set
			}
		default:
			r.next()
		}
		if r.failed {
			break
		}
	}
	if !named || field.Type == "" {
		r.failed = true
	}
	return field
}

func (r *schemaReader) readString() string {
	quoted, ok := r.next()
	if !ok || !quoted.isString() {
		r.failed = true
	}
	return prose{quoted}.name(r.hide)
}

// sql returns a type in SQL, or so much of it that it can only be truncated further. A
// type with a missing part is invalid.
func (r *schemaReader) sql(t dataType) string {
	return text.Truncate(r.wholeSQL(t), uncutTypeBytes)
}

func (r *schemaReader) wholeSQL(t dataType) string {
	switch {
	case t.kind == "array" && t.element != "":
		return "array<" + t.element + ">"
	case t.kind == "map" && t.key != "" && t.value != "":
		return "map<" + t.key + "," + t.value + ">"
	case t.kind == "struct" && t.hasFields:
		return sqlStruct(t.fields)
	case t.kind == "udt":
		return firstOf(t.underlying, "udt")
	}
	r.failed = true
	return ""
}

func sqlStruct(fields []Column) string {
	var sql strings.Builder
	sql.WriteString("struct<")
	for i, field := range fields {
		if i > 0 {
			sql.WriteByte(',')
		}
		sql.WriteString(field.Name)
		sql.WriteByte(':')
		sql.WriteString(field.Type)
	}
	sql.WriteByte('>')
	return sql.String()
}

func sqlName(name string) string {
	if short, ok := sqlNames[name]; ok {
		return short
	}
	return name
}
