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
