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

package dli

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

const (
	// maxBodyBytes limits what is kept of an answer, after decompression. The API
	// document sets no limit; statements, messages and schemas are the large parts.
	maxBodyBytes = 4 << 20

	// chunkBytes is how much is read at a time beyond maxBodyBytes.
	chunkBytes = 32 << 10
	// maxKeptBuffer is the largest buffer worth keeping for the next answer: enough
	// for a page of 100 typical jobs.
	maxKeptBuffer = 256 << 10
)

// limits are how far an answer larger than maxBodyBytes is read: a failed job must be
// seen as failed, no matter how long its message is.
type limits struct {
	// stream limits the bytes read, and text each text as encoded in the answer.
	stream, text int
}

var (
	// jobLimits apply to an answer about one job.
	jobLimits = limits{stream: 64 << 20, text: 256 << 10}
	// pageLimits apply to a page of jobs: enough to skip 100 statements of 1 MiB.
	// No name is long enough to be cut here.
	pageLimits = limits{stream: 128 << 20, text: 8 << 10}
)

// bodies are buffers for answers. Decoding copies the values.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

func keepBody(buffer *[]byte) {
	if cap(*buffer) <= maxKeptBuffer {
		*buffer = (*buffer)[:0]
		bodies.Put(buffer)
	}
}

// readBody reads a response's body into buffer and returns it. It reads to the end,
// so that the connection can be reused, or to the limit, and then closing the body
// closes the connection. If a body larger than maxBodyBytes may be a result, its long
// texts are truncated, within the limits; for all others, maxBodyBytes is the limit.
func readBody(buffer []byte, response *http.Response, within limits) ([]byte, error) {
	for {
		if len(buffer) == cap(buffer) {
			buffer = enlarge(buffer)
		}
		n, err := response.Body.Read(buffer[len(buffer):min(cap(buffer), maxBodyBytes+1)])
		buffer = buffer[:len(buffer)+n]
		switch {
		case err != nil && err != io.EOF:
			return buffer, err
		case len(buffer) > maxBodyBytes && response.StatusCode == http.StatusOK:
			return shorten(buffer, response.Body, within)
		case len(buffer) > maxBodyBytes:
			return buffer, tooLarge(maxBodyBytes, "")
		case err == io.EOF:
			return buffer, nil
		}
	}
}

// enlarge returns buffer with more room. It grows in few steps; the last one has room
// for maxBodyBytes and a chunk, and no body needs more.
func enlarge(buffer []byte) []byte {
	room := max(4*cap(buffer), 4<<10)
	if room >= maxBodyBytes {
		room = maxBodyBytes + 1 + chunkBytes
	}
	return append(make([]byte, 0, room), buffer...)
}

// shorten truncates the long texts of a body that starts with buffer and continues
// with rest. It works in place: the output never overtakes the input.
func shorten(buffer []byte, rest io.Reader, within limits) ([]byte, error) {
	s := shortener{limit: within.text, text: buffer[:0]}
	s.write(buffer)
	chunk := make([]byte, chunkBytes)
	for read := len(buffer); ; {
		if len(s.text) > maxBodyBytes {
			return s.text, tooLarge(maxBodyBytes, " even after truncating its long texts")
		}
		n, err := rest.Read(chunk)
		s.write(chunk[:n])
		read += n
		switch {
		case read > within.stream:
			return s.text, tooLarge(within.stream, "")
		case err == io.EOF:
			return s.text, nil
		case err != nil:
			return s.text, err
		}
	}
}

func tooLarge(limit int, although string) *Error {
	return &Error{Kind: KindInvalid, Message: fmt.Sprintf("the response is larger than %d MiB%s", limit>>20, although)}
}
