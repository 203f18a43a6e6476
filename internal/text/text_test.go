// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package text

import (
	"strings"
	"testing"
)

func TestOneLine(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"keeps a plain line", "no such table: t1", "no such table: t1"},
		{"keeps letters of any script", "作业失败, é", "作业失败, é"},
		{"reduces white space to one space", "a\r\n\t b\u00a0\u3000c  d", "a b c d"},
		{"trims white space", "\n a ", "a"},
		{"drops control characters", "\x1b[31mred\x00", "[31mred"},
		{"reduces white space around what it drops", "a \x00 b", "a b"},
		{"drops bidirectional marks", "a\u202ecba", "acba"},
		{"replaces invalid UTF-8", "a\xff\xfeb", "a\uFFFDb"},
		{"returns nothing for blanks", " \n ", ""},
		{"returns nothing for nothing", "", ""},
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
		{"keeps lines and tabs", "select *\n\tfrom t1  \n", "select *\n\tfrom t1  \n"},
		{"keeps letters of any script", "作业失败", "作业失败"},
		{"drops carriage returns", "a\r\nb", "a\nb"},
		{"drops control characters", "a\x00\x1b[31m\x7f\u0085b", "a[31mb"},
		{"drops bidirectional controls", "a\u202eb\u202ac\u2066d\u2069e\u200ef\u061cg", "abcdefg"},
		{"drops other format characters", "a\u200bb\u200dc\ufeffd\u00ade\u2060f\U000e0041g\ufff9h", "abcdefgh"},
		{"drops line and paragraph separators", "a\u2028b\u2029c", "abc"},
		{"drops invalid UTF-8", "a\xffb\uFFFDc", "ab\uFFFDc"},
		{"drops a rune cut in half", "作\xe4\xbd", "作"},
		{"returns nothing for nothing", "", ""},
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
		{"a short text is kept", "abcdef", 7, "abcdef", "abcdef"},
		{"a text that just fits is kept", "abcdef", 6, "abcdef", "abcdef"},
		{"a text that is one byte too long is truncated", "abcdef", 5, "abcde", "ab…"},
		{"no rune is cut in half", "作业失败", 11, "作业失", "作业…"},
		{"truncating between runes drops none", "作业失败", 9, "作业失", "作业…"},
		{"the ellipsis counts toward the limit", "abcdef", 3, "abc", "…"},
		{"without room for the ellipsis, there is none", "abcdef", 2, "ab", "ab"},
		{"without room for a rune, nothing is left", "作业", 2, "", ""},
		{"with a limit of zero, nothing is left", "abc", 0, "", ""},
		{"with a negative limit, nothing is left", "abc", -1, "", ""},
		{"lone continuation bytes are dropped", "\x80\x80\x80", 2, "", ""},
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
		{"a newline", "a\nb", 64, false},
		{"another kind of space", "a\u00a0b", 64, false},
		{"a control character", "a\x07", 64, false},
		{"a bidirectional mark", "\u202eevil", 64, false},
		{"invalid UTF-8", "a\xff", 64, false},
		{"a very long text", strings.Repeat("a", 1<<20), 64, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := IsPlain(tc.text, tc.limit); got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}
