// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// compressed returns a text, compressed.
func compressed(t *testing.T, text string) []byte {
	t.Helper()
	packed := bytes.Buffer{}
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// costOf returns the CPU seconds per poll of an endpoint with the same answer to every poll,
// with 20 jobs at the shortest interval.
func costOf(t *testing.T, code int, header http.Header, body []byte) float64 {
	t.Helper()
	c := newCluster(t)
	attacker := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, _ string, _ int) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(code)
		_, _ = w.Write(body)
	})
	tenant := c.tenant(nil)
	c.connect(tenant, "default", attacker.URL)
	o := c.start(limit())
	c.createJobs(tenant, 20, func(job *v1alpha1.DLIJob, _ int) { every(1)(job) })
	c.await("the jobs are polled", func() bool { return attacker.polls.Load() > 20 })
	polls, cpu := attacker.polls.Load(), testenv.CPU(o.PID())
	testenv.Within(15*time.Second, func() bool { return attacker.polls.Load() >= polls+60 })
	polls, cpu = attacker.polls.Load()-polls, testenv.CPU(o.PID())-cpu
	o.check(t, limit())
	if polls == 0 {
		t.Fatal("no polls")
	}
	t.Logf("%.1f ms of CPU for each of %d polls", 1000*cpu/float64(polls), polls)
	return cpu / float64(polls)
}

// A response of some kB expands to 64 MiB.
func TestCompressedResponses(t *testing.T) {
	for name, filler := range map[string]string{"letters": "x", "escapes": `\n`} {
		t.Run(name, func(t *testing.T) {
			text := `{"is_success":true,"status":"RUNNING","message":"` + strings.Repeat(filler, 64<<20/len(filler)) + `"}`
			header := http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"application/json"}}
			if cost := costOf(t, http.StatusOK, header, compressed(t, text)); cost > 0.1 {
				t.Errorf("%.0f ms of CPU for each poll", 1000*cost)
			}
		})
	}
}

// The message of an error is 4 MiB of digits.
func TestLongErrors(t *testing.T) {
	body := fmt.Sprintf(`{"error_code":"DLI.10001","error_msg":"%s"}`, strings.Repeat("1234567890", 4<<20/10-10))
	if cost := costOf(t, http.StatusInternalServerError, http.Header{"Content-Type": {"application/json"}}, []byte(body)); cost > 0.1 {
		t.Errorf("%.0f ms of CPU for each poll", 1000*cost)
	}
}
