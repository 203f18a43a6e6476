// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"net/http"
	"testing"
	"time"
)

func TestDateHeader(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now))
	s.SetJob(Query("j"))
	for _, id := range []string{"j", "nobody"} {
		clock.advance(time.Hour)
		if got, want := serve(s, request(id)).header.Get("Date"), clock.Now().Format(http.TimeFormat); got != want {
			t.Errorf("%s: want %q, got %q", id, want, got)
		}
	}
	if got := serve(newServer(t), request("j")).header.Get("Date"); got != "" {
		t.Errorf("want the date left to net/http without a clock, got %q", got)
	}
}
