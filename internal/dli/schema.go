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

import "strings"

const (
	// maxDetailBytes bounds the time that a schema takes: what is larger is no
	// table that anybody reads in a status.
	maxDetailBytes = 1 << 20
	// maxTypeDepth is far beyond any table's and far below any stack's limit.
	maxTypeDepth = 64
	// maxColumnBytes bounds a column's name and its type, each.
	maxColumnBytes = 1024
)

// sqlNames are the primitives that Spark's JSON and its SQL call by different
// names. Every other primitive, such as decimal(38,18) or a type that is yet to
// be invented, is called the same in both.
var sqlNames = map[string]string{
	"integer": "int",
	"long":    "bigint",
	"short":   "smallint",
	"byte":    "tinyint",
	"null":    "void",
}

// parseSchema reads the result's columns out of a job's detail, which is the
// JSON form of a Spark struct:
//
//	{"type":"struct","fields":[{"name":"id","type":"integer","nullable":true,"metadata":{}}]}
//
// It returns nil for anything else: not every engine writes this grammar, and
// no detail is worth a job's status.
func parseSchema(detail []byte, hide *secrets) []Column {
	if len(detail) > maxDetailBytes {
		return nil
	}
	text, ok := parseJSON(detail)
	if !ok {
		return nil
	}
	fields, ok := structFields(text)
	if !ok {
		return nil
	}
	var columns []Column
	for field := range fields.elements() {
		name, dataType, nullable, ok := parseField(field)
		if !ok {
			return nil
		}
		var sql strings.Builder
		if !writeType(&sql, dataType, 1) {
			return nil
		}
		columns = append(columns, Column{
			Name:     cut(hide.in(oneLine(name)), maxColumnBytes),
			Type:     cut(hide.in(oneLine(sql.String())), maxColumnBytes),
			Nullable: nullable,
		})
	}
	return columns
}

// structFields returns the fields of a struct type, the only type that has any.
func structFields(object value) (fields value, ok bool) {
	var kind string
	for name, member := range object.members() {
		switch string(name) {
		case "type":
			kind = member.text()
		case "fields":
			fields = member
		}
	}
	return fields, kind == "struct" && fields.isArray()
}

// parseField takes a struct's field apart. As in Spark, a field is nullable
// unless it says otherwise.
func parseField(field value) (name string, dataType value, nullable, ok bool) {
	named := false
	nullable = true
	for key, member := range field.members() {
		switch string(key) {
		case "name":
			name, named = member.text(), member.isString()
		case "type":
			dataType = member
		case "nullable":
			if set, ok := member.flag(); ok {
				nullable = set
			}
		}
	}
	return name, dataType, nullable, named && dataType != nil
}

// writeType writes dataType as SQL. It tells whether it could.
func writeType(sql *strings.Builder, dataType value, depth int) bool {
	switch {
	case depth > maxTypeDepth:
		return false
	case dataType.isString():
		return writePrimitive(sql, dataType.text())
	case !dataType.isObject():
		return false
	}

	var kind string
	var element, key, mapped, underlying, fields value
	for name, member := range dataType.members() {
		switch string(name) {
		case "type":
			kind = member.text()
		case "elementType":
			element = member
		case "keyType":
			key = member
		case "valueType":
			mapped = member
		case "sqlType":
			underlying = member
		case "fields":
			fields = member
		}
	}

	switch kind {
	case "array":
		sql.WriteString("array<")
		ok := writeType(sql, element, depth+1)
		sql.WriteByte('>')
		return ok
	case "map":
		sql.WriteString("map<")
		ok := writeType(sql, key, depth+1)
		sql.WriteByte(',')
		ok = ok && writeType(sql, mapped, depth+1)
		sql.WriteByte('>')
		return ok
	case "struct":
		return writeStruct(sql, fields, depth)
	case "udt":
		if underlying == nil {
			sql.WriteString("udt")
			return true
		}
		return writeType(sql, underlying, depth+1)
	}
	return false
}

func writePrimitive(sql *strings.Builder, name string) bool {
	if short, ok := sqlNames[name]; ok {
		name = short
	}
	sql.WriteString(name)
	return name != ""
}

func writeStruct(sql *strings.Builder, fields value, depth int) bool {
	if !fields.isArray() {
		return false
	}
	sql.WriteString("struct<")
	separator := ""
	for field := range fields.elements() {
		name, dataType, _, ok := parseField(field)
		if !ok {
			return false
		}
		sql.WriteString(separator)
		sql.WriteString(name)
		sql.WriteByte(':')
		if !writeType(sql, dataType, depth+1) {
			return false
		}
		separator = ","
	}
	sql.WriteByte('>')
	return true
}
