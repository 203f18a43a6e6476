// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"testing"
	"time"
)

func TestAttention(t *testing.T) {
	server := newServer(t)
	now := time.Now()
	for id, start := range map[string]time.Time{"asked": now.Add(-time.Hour), "waiting": now.Add(-time.Minute)} {
		job := Query(id).Running(0)
		job.Start = start
		server.SetJob(job)
	}
	server.SetJob(Query("ended").Finishes(1))
	server.SetJob(Query("told").Finishes(1))
	for _, id := range []string{"told", "asked"} {
		serve(server, request(id)).is(t, 200, "")
	}
	server.entry("asked").arrive(now)

	a := server.Attention(now.Add(-time.Second))
	if a.Active != 2 || a.Waiting != 1 || !a.Oldest.Equal(now.Add(-time.Minute)) {
		t.Errorf("got %+v, want two active jobs, one waiting since its start a minute ago", a)
	}
	if at := a.Told["told"]; len(a.Told) != 1 || at.Before(now) {
		t.Errorf("got %v, want the one job whose end was reported", a.Told)
	}
	if a := server.Attention(time.Now().Add(time.Second)); len(a.Told) > 0 {
		t.Errorf("got %v, want no ends that were reported before", a.Told)
	}
}
