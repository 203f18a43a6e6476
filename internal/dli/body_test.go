// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// long returns a JSON string of n bytes that repeats text.
func long(text string, n int) string { return `"` + strings.Repeat(text, n/len(text)) + `"` }

const mega = 1 << 20

// TestLargeAnswersHaveAStatus has oversized texts around the few values that matter.
func TestLargeAnswersHaveAStatus(t *testing.T) {
	failed := func(s *JobStatus) { s.Status, s.State = "FAILED", StateFailed }
	for _, tc := range []struct {
		name      string
		body      string
		statement string // its beginning, if there is one
		message   string
	}{
		{"a message of 20 MiB", young(`"message":`+long("DLI.0001: x ", 20*mega), `"status":"FAILED"`), "", "DLI.0001: x DLI"},
		{"a statement of 20 MiB", young(`"statement":`+long("select ", 20*mega), `"message":"m"`, `"status":"FAILED"`), "select s", "m"},
		{"a schema of 20 MiB", young(`"detail":`+long(`{\"type\":`, 20*mega), `"message":"m"`, `"status":"FAILED"`), "", "m"},
		{"all of them, Chinese and escaped", young(`"message":`+long(`作业`, 5*mega), `"statement":`+long(`\u4f5c\ud83d\ude00\n`, 5*mega),
			`"detail":`+long(`\\\"`, 5*mega), `"tags":[`+long("x", 5*mega)+`]`, `"status":"FAILED"`), "作😀\n作", "作业作业"},
		{"blanks of 10 MiB", "{" + strings.Repeat(" \n", 5*mega) + young(`"message":"a  b","status":"FAILED"`)[1:], "", "a  b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, _ := serve(t, reply(200, tc.body))
			got, err := client.JobStatus(background, accessKey, jobID)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []struct{ name, got, begins string }{{"statement", got.Statement, tc.statement}, {"message", got.Message, tc.message}} {
				if !strings.HasPrefix(text.got, text.begins) || (len(text.begins) > 5 && len(text.got) < maxProseBytes-4) || len(text.got) > maxProseBytes {
					t.Errorf("the %s has %d bytes and begins with %.20q", text.name, len(text.got), text.got)
				}
				if !utf8.ValidString(text.got) || strings.Contains(text.got, "\uFFFD") {
					t.Errorf("the %s is not truncated between runes", text.name)
				}
			}
			check(t, got, err, youngStatus(failed, func(s *JobStatus) {
				s.Statement, s.StatementTruncated, s.Message = got.Statement, len(tc.statement) > 0, got.Message
			}))
		})
	}
}

func TestInvalidLargeAnswers(t *testing.T) {
	text := long("x", 5*mega)
	notJSON := &Error{Kind: KindInvalid, HTTPStatus: 200, Message: "HTTP 200 with an application/json body instead of one JSON value"}
	tooLarge := func(status int, text string) *Error {
		return &Error{Kind: KindInvalid, HTTPStatus: status, Message: "the response is larger than " + text}
	}
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		want    *Error
	}{
		{"a second value", reply(200, young(`"message":`+text)+finished), notJSON},
		{"a text that does not end", reply(200, young(`"message":`+text[:5*mega])), notJSON},
		{"a newline in the omitted part", reply(200, young(`"message":`+text[:5*mega]+"\n\"")), notJSON},
		{"an invalid escape in the omitted part", reply(200, young(`"message":`+text[:5*mega]+`\x"`)), notJSON},
		{"invalid hexadecimal digits in the omitted part", reply(200, young(`"message":`+text[:5*mega]+`\u12g4"`)), notJSON},
		{"a number split by a blank", reply(200, young(`"message":`+text, `"result_count":1 2`)), notJSON},
		{"more than 64 MiB", reply(200, young(`"message":`+long("x", 64*mega))), tooLarge(200, "64 MiB")},
		{"more than 4 MiB of short texts", reply(200, young(`"tags":[`+strings.Repeat(`"x",`, 2*mega)+`"x"]`)), tooLarge(200, "4 MiB even after truncating its long texts")},
		{"a number of 5 MiB", reply(200, young(`"result_count":`+strings.Repeat("1", 5*mega))), tooLarge(200, "4 MiB even after truncating its long texts")},
		{"an error of 5 MiB", reply(400, `{"error_code":"DLI.0001","error_msg":`+text+`}`), tooLarge(400, "4 MiB")},
		{"another job", reply(200, change(t, young(`"message":`+text), "208b08d4", "308b08d4")),
			&Error{Kind: KindInvalid, HTTPStatus: 200, Message: "the response has no job ID, or that of another job"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, _ := serve(t, tc.handler)
			status, err := client.JobStatus(background, accessKey, jobID)
			check(t, status, err, tc.want)
		})
	}
	t.Run("a body that is truncated after 5 MiB", func(t *testing.T) {
		client, server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(6*mega))
			fmt.Fprint(w, young(`"message":` + text)[:5*mega])
		}))
		status, err := client.JobStatus(background, accessKey, jobID)
		check(t, status, err, &Error{Kind: KindUnreachable, HTTPStatus: 200, Message: "the response from " + hostOf(server) + " ended early"})
	})
}

// TestLargeAnswerMemory counts all allocations, including short-lived ones.
func TestLargeAnswerMemory(t *testing.T) {
	ahead, behind := strings.TrimSuffix(young(`"message":"`), "}"), `","status":"FAILED"}`
	response := &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(
		strings.NewReader(ahead), io.LimitReader(endless('0'), 60*mega), strings.NewReader(behind)))}

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	body, err := readWhole(response, jobLimits)
	if err != nil {
		t.Fatal(err)
	}
	status, failure := interpret(answer{status: 200, header: http.Header{}, body: body, now: noon}, &secrets{}, statusOf(jobID))
	runtime.ReadMemStats(&after)
	if failure != nil || status.State != StateFailed || len(status.Message) < maxProseBytes-4 {
		t.Errorf("got %v", failure)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > mega {
		t.Errorf("%d bytes were allocated for one response", allocated)
	}
	if cap(body) > smallBytes {
		t.Errorf("the buffer grew to %d bytes", cap(body))
	}
}

// readWhole reads a body with a budget of its own.
func readWhole(response *http.Response, within limits) ([]byte, error) {
	memory := share{budget: NewResponseBudget(DefaultResponseBytes)}
	defer memory.giveBack()
	return readBody(background, nil, response, within, &memory)
}

// endless is an endless stream of a byte.
type endless byte

func (e endless) Read(buffer []byte) (int, error) {
	for i := range buffer {
		buffer[i] = byte(e)
	}
	return len(buffer), nil
}

func TestBodySizes(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 4097, 64 << 10, maxBodyBytes - 1, maxBodyBytes} {
		want := strings.Repeat("x", size)
		for name, body := range map[string]io.Reader{
			"with io.EOF after the data": strings.NewReader(want),
			"with io.EOF and the data":   iotest.DataErrReader(strings.NewReader(want)),
		} {
			got, err := readWhole(&http.Response{StatusCode: 200, Body: io.NopCloser(body)}, jobLimits)
			if err != nil || string(got) != want {
				t.Errorf("%d bytes %s: got %d bytes, %v", size, name, len(got), err)
			}
		}
	}
}

// shortened shortens a text that arrives in two parts.
func shortened(text []byte, limit, at int) []byte {
	s := shortener{limits: limits{text: limit}}
	s.write(text[:at])
	s.write(text[at:])
	return s.text
}

func TestShortener(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"keeps a string at the limit", `"12345678"`, `"12345678"`},
		{"truncates a longer one", `"123456789"`, `"12345678"`},
		{"truncates names too", `{"123456789":1}`, `{"12345678":1}`},
		{"truncates each string", `["123456789","1","123456789"]`, `["12345678","1","12345678"]`},
		{"truncates before a rune", `"作业失败"`, `"作业"`},
		{"truncates before an escape", `"1234567\n9"`, `"1234567"`},
		{"truncates after an escape", `"123456\n9"`, `"123456\n"`},
		{"truncates before a surrogate pair", `"\ud83d\ude00"`, `""`},
		{"truncates between an escape and text that resembles one", `"1\\ud83d9"`, `"1\\ud83d"`},
		{"does not end at an escaped quote", `"\"\"\"\"\""`, `"\"\"\"\""`},
		{"does not treat an escaped backslash as an escape", `"\\\\\\\\\\"`, `"\\\\\\\\"`},
		{"keeps numbers and literals", `[1234567890123, true, null]`, `[1234567890123, true, null]`},
		{"reduces white space to one blank", "{ \r\n\t\"a\" :  1  }", `{ "a" : 1 }`},
		{"keeps blanks in strings", `"a   b"`, `"a   b"`},
		{"does not join separate values", "1 \n 2", "1 2"},
		{"keeps what is invalid before the cut", `"000\u00X0"`, `"000\u00X"`},
		{"marks what is invalid in the omitted part", "\"1234567890\n\"", "\"12345678\x00\""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for at := range len(tc.text) + 1 {
				if got := string(shortened([]byte(tc.text), 8, at)); got != tc.want {
					t.Fatalf("in two parts, at %d: want %s, got %s", at, tc.want, got)
				}
			}
		})
	}
}

// FuzzShortener checks for any text: the copy is valid JSON if and only if the text is;
// it has the same values, except that strings are prefixes of the originals; and the
// result depends neither on the parts in which the text arrives nor on copying in
// place.
func FuzzShortener(f *testing.F) {
	for _, text := range []string{
		finished, sample, `"作业失败"`, `["\ud83d\ude00\ud83d\ude00",1 ,2]`, `"12345678\x"`, "\"12345678\n\"", `"12345678\u12g4"`,
		"{\"a\xff\xff\xff\xff\xff\xff\xff\xff\": \"\\ud800\\ud800\\ud800\"}  x", `1  2`, "  ", `"`,
	} {
		f.Add([]byte(text), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, at int) {
		const limit = 8
		whole := shortened(text, limit, 0)
		if parts := shortened(text, limit, min(max(at, 0), len(text))); !bytes.Equal(whole, parts) {
			t.Errorf("%q, in parts %q", whole, parts)
		}
		inPlace := shortener{limits: limits{text: limit}, text: bytes.Clone(text)}
		original := inPlace.text
		inPlace.text = original[:0]
		if inPlace.write(original); !bytes.Equal(whole, inPlace.text) {
			t.Errorf("%q, in place %q", whole, inPlace.text)
		}
		if json.Valid(text) != json.Valid(whole) {
			t.Fatalf("%q became %q", text, whole)
		}
		if json.Valid(text) {
			compareTokens(t, text, whole)
		}
	})
}

func compareTokens(t *testing.T, text, short []byte) {
	t.Helper()
	originals, copies := json.NewDecoder(bytes.NewReader(text)), json.NewDecoder(bytes.NewReader(short))
	originals.UseNumber()
	copies.UseNumber()
	for {
		want, errWant := originals.Token()
		got, errGot := copies.Token()
		if errors.Is(errWant, io.EOF) && errors.Is(errGot, io.EOF) {
			return
		}
		wantText, isText := want.(string)
		gotText, ok := got.(string)
		if isText != ok || isText && !strings.HasPrefix(wantText, gotText) || !isText && want != got {
			t.Fatalf("%q became %q: %v became %v", text, short, want, got)
		}
	}
}
