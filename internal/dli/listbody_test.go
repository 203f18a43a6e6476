// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// largePage returns a page of rows, each with a text of n bytes, as a stream that is
// never entirely in memory.
func largePage(rows, n int) io.Reader {
	parts := []io.Reader{strings.NewReader(fmt.Sprintf(`{"is_success":true,"job_count":%d,"jobs":[`, rows))}
	for i := range rows {
		ahead := fmt.Sprintf(`{"job_id":"job-%d","statement":"`, i)
		if i > 0 {
			ahead = "," + ahead
		}
		parts = append(parts, strings.NewReader(ahead), io.LimitReader(endless('0'), int64(n)), strings.NewReader(`","status":"RUNNING"}`))
	}
	return io.MultiReader(append(parts, strings.NewReader("]}"))...)
}

func TestLargePageMemory(t *testing.T) {
	for _, n := range []int{30 << 10, mega} {
		response := &http.Response{StatusCode: 200, Body: io.NopCloser(largePage(100, n))}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		body, err := readWhole(response, pageLimits)
		if err != nil {
			t.Fatal(err)
		}
		list, failure := interpret(answer{status: 200, header: http.Header{}, body: body, now: noon}, &secrets{}, listOf(100))
		runtime.ReadMemStats(&after)
		if failure != nil || len(list.Jobs) != 100 || list.Jobs[99].JobID != "job-99" || list.Jobs[99].State != StateRunning {
			t.Errorf("statements of %d bytes: got %v", n, failure)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 7*mega {
			t.Errorf("statements of %d bytes: %d bytes were allocated for one page", n, allocated)
		}
	}
}

func TestOversizedPages(t *testing.T) {
	// With the race detector, a page of the real limit takes a minute.
	within := limits{stream: 8 * mega, text: pageLimits.text}
	for _, tc := range []struct {
		name string
		body io.Reader
		want string
	}{
		{"too many bytes", largePage(100, mega), "the response is larger than 8 MiB"},
		{"more than 4 MiB of rows", largePage(80000, 1), "the response is larger than 4 MiB even after truncating its long texts"},
		{"endless blanks", io.MultiReader(strings.NewReader("{"), endless(' ')), "the response is larger than 8 MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body, err := readWhole(&http.Response{StatusCode: 200, Body: io.NopCloser(tc.body)}, within)
			e, ok := AsError(err)
			if !ok || e.Kind != KindInvalid || e.Message != tc.want {
				t.Errorf("want %q, got %v", tc.want, err)
			}
			if cap(body) > maxBodyBytes+2*chunkBytes {
				t.Errorf("the buffer grew to %d bytes", cap(body))
			}
		})
	}
}

// A truncated name would name something else.
func TestTruncatedNamesAreDropped(t *testing.T) {
	for name, text := range map[string]string{
		"plain":   strings.Repeat("q", pageLimits.text+1),
		"escaped": strings.Repeat(`\u0071`, pageLimits.text/6+1),
		"Chinese": strings.Repeat(`\u4f5c`, pageLimits.text/6+1),
	} {
		t.Run(name, func(t *testing.T) {
			body := page(1, row("a", `"queue_name":"`+text+`","job_type":"QUERY","statement":"`+strings.Repeat("s", 5*mega)+`"`),
				row(text), row("b", `"status":"`+text+`"`))
			client, _ := serve(t, reply(200, body))
			list, err := client.ListJobs(background, accessKey, ListOptions{})
			check(t, list, err, listing(1, JobRow{JobID: "a", Status: "RUNNING", State: StateRunning, JobType: "QUERY"}))
		})
	}
}
