// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// field returns the schema of one column of a type, in JSON.
func field(dataType string) string {
	return `{"type":"struct","fields":[{"name":"c","type":` + dataType + `,"nullable":true,"metadata":{}}]}`
}

func nested(depth int) string {
	return strings.Repeat(`{"type":"array","elementType":`, depth-1) + `"int"` + strings.Repeat(`}`, depth-1)
}

func TestSQLTypeNames(t *testing.T) {
	for _, tc := range []struct{ json, sql string }{
		{`"integer"`, "int"},
		{`"long"`, "bigint"},
		{`"short"`, "smallint"},
		{`"byte"`, "tinyint"},
		{`"null"`, "void"},
		{`"void"`, "void"},
		{`"string"`, "string"},
		{`"timestamp_ntz"`, "timestamp_ntz"},
		{`"decimal(38,18)"`, "decimal(38,18)"},
		{`"interval day to second"`, "interval day to second"},
		{`"geometry"`, "geometry"},
		{`{"type":"array","elementType":"integer","containsNull":true}`, "array<int>"},
		{`{"type":"map","keyType":"string","valueType":{"type":"array","elementType":"byte"}}`, "map<string,array<tinyint>>"},
		{`{"type":"struct","fields":[{"name":"a","type":"integer"},{"name":"b","type":"string"}]}`, "struct<a:int,b:string>"},
		{`{"type":"struct","fields":[]}`, "struct<>"},
		{`{"type":"udt","class":"C","sqlType":{"type":"array","elementType":"double"}}`, "array<double>"},
		{`{"type":"udt","class":"C","pyClass":null}`, "udt"},
		{nested(maxTypeDepth), strings.Repeat("array<", maxTypeDepth-1) + "int" + strings.Repeat(">", maxTypeDepth-1)},
		{`"` + strings.Repeat("语", 400) + `"`, strings.Repeat("语", 340) + "…"},
	} {
		want := []Column{{Name: "c", Type: tc.sql, Nullable: true}}
		columns, _ := parseSchema([]byte(field(tc.json)), &secrets{})
		if diff := cmp.Diff(want, columns); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.json, diff)
		}
	}
}

func TestInvalidSchemas(t *testing.T) {
	for name, detail := range map[string]string{
		"nothing":                      ``,
		"prose":                        `Spark`,
		"an empty object":              `{}`,
		"no fields":                    `{"type":"struct"}`,
		"empty fields":                 `{"type":"struct","fields":[]}`,
		"fields that are not an array": `{"type":"struct","fields":{}}`,
		"not a struct":                 `{"type":"array","elementType":"integer"}`,
		"a field that is a string":     `{"type":"struct","fields":["a"]}`,
		"a field without a name":       `{"type":"struct","fields":[{"type":"integer"}]}`,
		"a name that is not a string":  `{"type":"struct","fields":[{"name":1,"type":"integer"}]}`,
		"a field without a type":       `{"type":"struct","fields":[{"name":"a"}]}`,
		"a type that is null":          field(`null`),
		"a type that is empty":         field(`""`),
		"an unknown type":              field(`{"type":"tuple"}`),
		"an array without a type":      field(`{"type":"array"}`),
		"a map without values":         field(`{"type":"map","keyType":"string"}`),
		"a struct without fields":      field(`{"type":"struct"}`),
		"one level too deep":           field(nested(maxTypeDepth + 1)),
		"more than JSON may nest":      field(nested(100000)),
		"two values":                   field(`"integer"`) + "{}",
		"too many bytes":               field(`"` + strings.Repeat("x", maxDetailBytes) + `"`),
	} {
		if columns, omitted := parseSchema([]byte(detail), &secrets{}); columns != nil || omitted != 0 {
			t.Errorf("%s: read as %v", name, columns)
		}
	}
}

func TestSchemaCountsEveryColumn(t *testing.T) {
	var fields []string
	for i := range 5000 {
		fields = append(fields, fmt.Sprintf(`{"name":"c%d","type":"long","nullable":%v}`, i, i%2 == 0))
	}
	columns, omitted := parseSchema([]byte(`{"type":"struct","fields":[`+strings.Join(fields, ",")+`]}`), &secrets{})
	if len(columns) != 256 || omitted != 5000-256 {
		t.Fatalf("want 256 of 5000 columns, got %d, and %d more", len(columns), omitted)
	}
	if want := (Column{Name: "c255", Type: "bigint"}); columns[255] != want {
		t.Errorf("want %v, got %v", want, columns[255])
	}
}

func TestHostileSchemas(t *testing.T) {
	filler := strings.Repeat(`{"name":"a","type":"x"},`, maxDetailBytes/24-200) + `{"name":"a","type":"x"}`
	wide := `{"type":"struct","fields":[` + filler + `]}`
	for range maxTypeDepth - 4 {
		wide = `{"type":"array","elementType":` + wide + `}`
	}
	start := time.Now()
	parseSchema([]byte(field(wide)), &secrets{})
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a schema of a megabyte took %v", took)
	}
}
