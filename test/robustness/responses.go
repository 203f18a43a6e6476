// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// everybody selects all requests.
func everybody(call) bool { return true }

// lists selects the requests for lists.
func lists(c call) bool { return c.job == "" }

// some selects k of n jobs, the same ones for the whole injection.
func some(random *rand.Rand, k, n uint32) func(call) bool {
	salt := random.Uint32()
	return func(c call) bool {
		h := fnv.New32a()
		_, _ = h.Write([]byte(c.job))
		return c.job != "" && (h.Sum32()^salt)%n < k
	}
}

// says responds with a text.
func says(code int, body string, header ...string) responder {
	return func(f *frontend, w http.ResponseWriter, _ *http.Request, c call, _ *httptest.ResponseRecorder) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		f.answer(w, c, code, h, []byte(body))
	}
}

// hangs never responds.
func hangs(f *frontend, _ http.ResponseWriter, r *http.Request, _ call, _ *httptest.ResponseRecorder) {
	f.untilGone(r.Context())
	panic(http.ErrAbortHandler)
}

// drips sends half of the response, then one byte at a time.
func drips(f *frontend, w http.ResponseWriter, r *http.Request, _ call, honest *httptest.ResponseRecorder) {
	body := honest.Body.Bytes()
	half := len(body) / 2
	_, _ = w.Write(body[:half])
	for _, b := range body[half:] {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(300 * time.Millisecond):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		case <-f.closed:
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte{b})
	}
	panic(http.ErrAbortHandler)
}

// resets breaks the connection in the middle of the body.
func resets(_ *frontend, w http.ResponseWriter, _ *http.Request, _ call, honest *httptest.ResponseRecorder) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	body := honest.Body.Bytes()
	_, _ = buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
	_, _ = buffered.Write(body[:len(body)/2])
	_ = buffered.Flush()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// confuses responds that another job has finished.
func confuses(f *frontend, w http.ResponseWriter, _ *http.Request, c call, _ *httptest.ResponseRecorder) {
	body := `{"is_success":true,"message":"","job_id":"not-` + c.job + `","status":"FINISHED","start_time":1601519445000,"duration":2523,"result_count":4,"detail":""}`
	if c.isBatch {
		body = `{"id":"not-` + c.job + `","state":"success","create_time":1601519445000,"update_time":1601519447523,"duration":2523,"log":[]}`
	}
	f.answer(w, c, http.StatusOK, jsonHeader(), []byte(body))
}

// earlier has what DLI said before, for jobs and for batches.
var earlier = strings.NewReplacer(
	`"status":"RUNNING"`, `"status":"LAUNCHING"`,
	`"status":"FINISHED"`, `"status":"RUNNING"`,
	`"status":"FAILED"`, `"status":"RUNNING"`,
	`"status":"CANCELLED"`, `"status":"RUNNING"`,
	`"state":"running"`, `"state":"starting"`,
	`"state":"success"`, `"state":"running"`,
	`"state":"dead"`, `"state":"running"`,
)

// goesBack reports that jobs run which have ended, and that running ones are launching.
func goesBack(f *frontend, w http.ResponseWriter, _ *http.Request, c call, honest *httptest.ResponseRecorder) {
	f.answer(w, c, honest.Code, honest.Header(), []byte(earlier.Replace(honest.Body.String())))
}

// unnamed renames the status of a job, and the state of a batch.
var unnamed = strings.NewReplacer(`"status"`, `"Status-Quo"`, `"state"`, `"State-Quo"`)

// babbles responds with something that is not a status.
func babbles(f *frontend, w http.ResponseWriter, _ *http.Request, c call, honest *httptest.ResponseRecorder) {
	body := honest.Body.String()
	garbage := []string{
		"<html><body>Welcome to the hotel's network</body></html>", body[:len(body)/3], "null", "[]", `"FINISHED"`,
		"\x00\xff\xfe", `{"status":["FINISHED"],"state":["success"]}`, body + body, unnamed.Replace(body),
	}
	f.answer(w, c, http.StatusOK, jsonHeader(), []byte(garbage[rand.IntN(len(garbage))]))
}

// swells responds correctly, with two MiB more in the statement, or in the submission of a
// batch.
func swells(f *frontend, w http.ResponseWriter, _ *http.Request, c call, honest *httptest.ResponseRecorder) {
	body := honest.Body.String()
	for _, begins := range []string{`"statement":"`, `"req_body":"`} {
		body = strings.Replace(body, begins, begins+strings.Repeat("select <&> ", 2<<20/11), 1)
	}
	f.answer(w, c, honest.Code, honest.Header(), []byte(body))
}

// bomb is a status of 256 MiB, compressed to a few hundred KiB.
var bomb = sync.OnceValue(func() []byte {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(`{"status":"FINISHED","job_id":"bomb","id":"bomb","state":"success","statement":"`))
	for range 256 {
		_, _ = z.Write(bytes.Repeat([]byte{'a'}, 1<<20))
	}
	_ = z.Close()
	return packed.Bytes()
})

// standsStill sends the first list of each request again and again.
func standsStill() responder {
	var mu sync.Mutex
	first := map[string]*httptest.ResponseRecorder{}
	return func(f *frontend, w http.ResponseWriter, r *http.Request, c call, honest *httptest.ResponseRecorder) {
		mu.Lock()
		old := first[r.URL.String()]
		if old == nil {
			old = honest
			first[r.URL.String()] = old
		}
		mu.Unlock()
		f.answer(w, c, old.Code, old.Header(), old.Body.Bytes())
	}
}

// explodes sends the bomb.
func explodes(f *frontend, w http.ResponseWriter, _ *http.Request, c call, _ *httptest.ResponseRecorder) {
	header := jsonHeader()
	header.Set("Content-Encoding", "gzip")
	f.answer(w, c, http.StatusOK, header, bomb())
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json;charset=utf-8"}} }
