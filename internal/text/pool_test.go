// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package text

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

// A pool shares texts that are used again, and forgets the rest.
func TestPool(t *testing.T) {
	p := &Pool{}
	shared := func() string {
		s := strings.Clone("RUNNING")
		p.Replace(&s)
		return s
	}
	first := shared()
	for i := range 40_000 {
		other := fmt.Sprint("message ", i)
		p.Replace(&other)
		if other != fmt.Sprint("message ", i) {
			t.Fatalf("text %d became %q", i, other)
		}
		if s := shared(); s != first || unsafe.StringData(s) != unsafe.StringData(first) {
			t.Fatalf("after %d others, a text is not shared", i)
		}
	}
	if n := len(p.recent) + len(p.older); n > 2*maxPoolBytes/textOverhead {
		t.Errorf("%d texts are kept", n)
	}
}
