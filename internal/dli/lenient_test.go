// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestMembersLikeEncodingJSON compares with encoding/json, whose rules the tags follow:
// for names in the right case, there is no difference.
func TestMembersLikeEncodingJSON(t *testing.T) {
	for _, body := range []any{statusBody{}, errorBody{}, identityBody{}} {
		for name, one := range map[string]string{
			"a text": `"text"`, "an escaped text": `"\u4f5c\"\ud83d\ude00"`, "a quoted integer": `"7"`, "an integer": `9007199254740993`,
			"a fraction": `1.5`, "a boolean": `true`, "a quoted boolean": `"False"`, "null": `null`, "an array": `[1]`,
			"an object": `{"code":7,"message":"m","accessKeyId":"AK"}`,
		} {
			t.Run(fmt.Sprintf("%T/%s", body, name), func(t *testing.T) {
				var members []string
				for tag := range fieldsOf(reflect.TypeOf(body)) {
					members = append(members, quote(tag)+":"+one)
				}
				text := "{" + strings.Join(members, ",") + "}"
				want, got := reflect.New(reflect.TypeOf(body)), reflect.New(reflect.TypeOf(body))
				if err := json.Unmarshal([]byte(text), want.Interface()); err != nil {
					t.Fatal(err)
				}
				readObject(value(text), got.Interface())
				if !reflect.DeepEqual(want.Interface(), got.Interface()) {
					t.Errorf("want %+v, got %+v", want.Elem(), got.Elem())
				}
			})
		}
	}
}

func TestMemberNamesAreUnique(t *testing.T) {
	for _, body := range []any{statusBody{}, errorBody{}, iamError{}, identityBody{}, identityCredentials{}} {
		kind := reflect.TypeOf(body)
		fields := fieldsOf(kind)
		if _, untagged := fields[""]; untagged || len(fields) != kind.NumField() {
			t.Errorf("%v has %d fields and the names %v", kind, kind.NumField(), fields)
		}
	}
}
