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

package text

import (
	"strings"
	"testing"
)

func TestOneLine(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"leaves a line as it is", "no such table: t1", "no such table: t1"},
		{"leaves letters of any script", "作业失败, é", "作业失败, é"},
		{"makes one space of a run of blanks", "a\r\n\t b\u00a0\u3000c  d", "a b c d"},
		{"drops blanks at either end", "\n a ", "a"},
		{"drops control characters", "\x1b[31mred\x00", "[31mred"},
		{"makes one space of blanks around what it drops", "a \x00 b", "a b"},
		{"drops marks that turn the direction of writing", "a\u202ecba", "acba"},
		{"marks what is not UTF-8", "a\xff\xfeb", "a\uFFFDb"},
		{"leaves nothing of blanks", " \n ", ""},
		{"leaves nothing of nothing", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := OneLine(tc.text); got != tc.want {
				t.Errorf("want %q, got %q", tc.want, got)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"leaves lines and tabs", "select *\n\tfrom t1  \n", "select *\n\tfrom t1  \n"},
		{"leaves letters of any script", "作业失败", "作业失败"},
		{"drops carriage returns", "a\r\nb", "a\nb"},
		{"drops control characters", "a\x00\x1b[31m\x7f\u0085b", "a[31mb"},
		{"drops what is not UTF-8", "a\xffb\uFFFDc", "ab\uFFFDc"},
		{"drops a rune cut in half", "作\xe4\xbd", "作"},
		{"leaves nothing of nothing", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Printable(tc.text); got != tc.want {
				t.Errorf("want %q, got %q", tc.want, got)
			}
		})
	}
}

func TestTruncateAndEllipsize(t *testing.T) {
	for _, tc := range []struct {
		name, text          string
		limit               int
		truncate, ellipsize string
	}{
		{"a text that is short enough stays", "abcdef", 7, "abcdef", "abcdef"},
		{"a text that just fits stays", "abcdef", 6, "abcdef", "abcdef"},
		{"a text one byte too long is cut", "abcdef", 5, "abcde", "ab…"},
		{"no rune is cut in half", "作业失败", 11, "作业失", "作业…"},
		{"a cut between runes takes none away", "作业失败", 9, "作业失", "作业…"},
		{"the mark itself is within the limit", "abcdef", 3, "abc", "…"},
		{"a limit without room for the mark leaves none", "abcdef", 2, "ab", "ab"},
		{"a limit without room for a rune leaves nothing", "作业", 2, "", ""},
		{"a limit of nothing leaves nothing", "abc", 0, "", ""},
		{"a limit below nothing leaves nothing", "abc", -1, "", ""},
		{"continuation bytes alone are cut away", "\x80\x80\x80", 2, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Truncate(tc.text, tc.limit); got != tc.truncate {
				t.Errorf("Truncate: want %q, got %q", tc.truncate, got)
			}
			if got := Ellipsize(tc.text, tc.limit); got != tc.ellipsize {
				t.Errorf("Ellipsize: want %q, got %q", tc.ellipsize, got)
			}
		})
	}
}

func TestIsPlain(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		limit      int
		want       bool
	}{
		{"letters and spaces", "queue 1", 7, true},
		{"letters of any script", "队列", 6, true},
		{"nothing", "", 0, true},
		{"more bytes than the limit", "队列", 5, false},
		{"a line end", "a\nb", 64, false},
		{"a space of another kind", "a\u00a0b", 64, false},
		{"a control character", "a\x07", 64, false},
		{"a mark that turns the direction of writing", "\u202eevil", 64, false},
		{"what is not UTF-8", "a\xff", 64, false},
		{"a text without end", strings.Repeat("a", 1<<20), 64, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := IsPlain(tc.text, tc.limit); got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}
