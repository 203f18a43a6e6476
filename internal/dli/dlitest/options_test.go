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
