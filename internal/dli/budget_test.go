// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
)

// largeSchema is a response that does not fit into smallBytes, not even shortened.
var largeSchema = young(`"detail":"` + strings.Repeat("x", 2*smallBytes) + `"`)

// holding sends a response except for its end, which it sends when released.
func holding(body string, held *sync.WaitGroup, release <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, body[:len(body)-1])
		_ = http.NewResponseController(w).Flush()
		held.Done()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, body[len(body)-1:])
	}
}

func TestBudgetIsShared(t *testing.T) {
	budget := &ResponseBudget{small: semaphore.NewWeighted(8), large: semaphore.NewWeighted(1)}
	shared := func(c *Config) { c.Budget = budget }
	var held sync.WaitGroup
	held.Add(1)
	release := make(chan struct{})
	holder, _ := serve(t, holding(largeSchema, &held, release), shared)
	large, _ := serve(t, reply(200, largeSchema), shared, func(c *Config) { c.Timeout = 200 * time.Millisecond })

	done := make(chan error, 1)
	go func() {
		_, err := holder.JobStatus(background, accessKey, jobID)
		done <- err
	}()
	held.Wait()
	waitFor(t, "the large response to have its share", func() bool {
		free := budget.large.TryAcquire(1)
		if free {
			budget.large.Release(1)
		}
		return !free
	})
	if status, err := large.JobStatus(background, accessKey, jobID); status != nil || !errors.Is(err, ErrNoBudget) {
		t.Errorf("want ErrNoBudget for a second large response, got %v, %v", status, err)
	}
	if _, isError := AsError(ErrNoBudget); isError {
		t.Error("ErrNoBudget says something of the endpoint")
	}
	ctx, cancel := context.WithCancel(background)
	cancel()
	if _, err := large.JobStatus(ctx, accessKey, jobID); !errors.Is(err, context.Canceled) {
		t.Errorf("want the error of the caller's context, got %v", err)
	}
	small, _ := serve(t, reply(200, finished), shared)
	if _, err := small.JobStatus(background, accessKey, jobID); err != nil {
		t.Errorf("a small response has to wait: %v", err)
	}
	texts, _ := serve(t, reply(200, young(`"statement":`+long("select ", mega))), shared)
	if _, err := texts.JobStatus(background, accessKey, jobID); err != nil {
		t.Errorf("a long text has to wait: %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	next, _ := serve(t, reply(200, largeSchema), shared)
	if _, err := next.JobStatus(background, accessKey, jobID); err != nil {
		t.Errorf("the budget was not given back: %v", err)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, deadline := time.NewTicker(time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// TestMemoryOfManyLargeResponses has 60 responses of 4 MiB, with texts that end in an
// escape, whose last bytes arrive at the same time.
func TestMemoryOfManyLargeResponses(t *testing.T) {
	const responses = 60
	body := young(`"status":"FAILED"`, `"statement":`+long(`select "x" from t where`[:7], 2*mega-100)[:2*mega-110]+`\n"`, `"message":`+long("x", 2*mega-200)[:2*mega-210]+`\u4f5c"`)
	var held, done sync.WaitGroup
	held.Add(responses)
	release := make(chan struct{})
	budget := NewResponseBudget(DefaultResponseBytes)
	server := httptest.NewServer(holding(body, &held, release))
	defer server.Close()
	before := liveBytes()
	var failed atomic.Int64
	for range responses {
		client := clientOf(t, server.URL, func(c *Config) { c.Budget = budget })
		done.Go(func() {
			if status, err := client.JobStatus(background, accessKey, jobID); err != nil || status.State != StateFailed {
				failed.Add(1)
			}
		})
	}
	held.Wait()
	// The server sent all but the last bytes; the clients have read all but what is on
	// the way.
	grown := liveBytes() - before
	close(release)
	done.Wait()
	if grown > 40*mega {
		t.Errorf("%d responses of 4 MiB take %d MiB", responses, grown/mega)
	}
	if failed.Load() > 0 {
		t.Errorf("%d of %d responses were not read", failed.Load(), responses)
	}
}

func liveBytes() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestUnreadHTTP2Responses counts what a server can send before its response has a share
// of the budget.
func TestUnreadHTTP2Responses(t *testing.T) {
	var sent atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 100 {
			n, err := fmt.Fprint(w, strings.Repeat(" ", 64<<10))
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	server.EnableHTTP2 = true
	startTLS(server)
	defer server.Close()
	budget := NewResponseBudget(1)
	if !budget.small.TryAcquire(1) {
		t.Fatal("no budget")
	}
	client := clientOf(t, server.URL, func(c *Config) {
		c.Budget, c.CABundle, c.Timeout = budget, pemOf(server.Certificate()), time.Second
	})
	if _, err := client.JobStatus(background, accessKey, jobID); !errors.Is(err, ErrNoBudget) {
		t.Errorf("want ErrNoBudget, got %v", err)
	}
	if got := sent.Load(); got > mega {
		t.Errorf("%d bytes were received", got)
	}
}

// processTime is the CPU time that this process has used.
func processTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// timeOfErrors is the CPU time of three responses that are errors, the server's part
// included.
func timeOfErrors(t *testing.T, handler http.HandlerFunc) time.Duration {
	t.Helper()
	client, _ := serve(t, handler)
	start := processTime()
	for range 3 {
		if _, err := client.JobStatus(background, accessKey, jobID); err == nil {
			t.Fatal("no error")
		}
	}
	return processTime() - start
}

// TestHostileTextsAreCheap has texts that are slow to search.
func TestHostileTextsAreCheap(t *testing.T) {
	digits := strings.Repeat("20260101T000000", 4*mega/16)
	for name, handler := range map[string]http.HandlerFunc{
		"an error":             reply(401, `{"error_code":"APIGW.0301","error_msg":"`+digits+`"}`),
		"an unsuccessful call": reply(200, `{"is_success":false,"message":"`+digits+`"}`),
		"an error code":        reply(400, `{"error_code":"`+digits+`","request_id":"`+digits[:mega]+`"}`),
	} {
		t.Run(name, func(t *testing.T) {
			plain := timeOfErrors(t, reply(401, `{"error_code":"APIGW.0301","error_msg":"`+strings.Repeat("x", len(digits))+`"}`))
			if hostile := timeOfErrors(t, handler); hostile > 4*plain+200*time.Millisecond {
				t.Errorf("three responses took %v of CPU, three others of the same length %v", hostile, plain)
			}
		})
	}
}

// A text that is cut must not show the start of a secret.
func TestSecretAtTheCut(t *testing.T) {
	hide := secretsOf(Credentials{AccessKeyID: "AKEXAMPLE", SecretAccessKey: "SKEXAMPLE0123456789"}, "")
	for ahead := maxProseBytes*widestEscape - 40; ahead < maxProseBytes*widestEscape+4; ahead++ {
		// Nothing is left of the text before the secret.
		filler := strings.Repeat(`\u0000`, ahead/6) + strings.Repeat("x", ahead%6)
		body := `{"job_id":"j","status":"FAILED","message":"` + filler + `SKEXAMPLE0123456789 and more ` + strings.Repeat(" ", 100) + `"}`
		status, failure := interpret(answer{status: http.StatusOK, body: []byte(body)}, &hide, statusOf("j"))
		if failure != nil {
			t.Fatal(failure)
		}
		if strings.Contains(status.Message, "S") {
			t.Fatalf("after %d bytes: the message is %q", ahead, status.Message)
		}
	}
}
