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
	// maxBodyBytes bounds what is kept of an answer, after decompression. The API
	// document sets no limit; statements, messages and schemas are the large parts.
	maxBodyBytes = 4 << 20

	// chunkBytes is how much is read at a time behind maxBodyBytes.
	chunkBytes = 32 << 10
	// maxKeptBuffer is the largest buffer worth keeping for the next answer: that
	// of a page of 100 jobs as they mostly are.
	maxKeptBuffer = 256 << 10
)

// limits are how far an answer larger than maxBodyBytes is followed: a job that
// failed has failed, whatever the length of its message.
type limits struct {
	// stream bounds what is read of it, and text each text in it as it is written.
	stream, text int
}

var (
	// jobLimits are those of an answer about one job.
	jobLimits = limits{stream: 64 << 20, text: 256 << 10}
	// pageLimits are those of a page of jobs: 100 statements of 1 MiB are read over.
	// No text is a name that is so long that it is cut here.
	pageLimits = limits{stream: 128 << 20, text: 8 << 10}
)

// bodies are buffers to read answers into. What is decoded out of one is copied.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

func keepBody(buffer *[]byte) {
	if cap(*buffer) <= maxKeptBuffer {
		*buffer = (*buffer)[:0]
		bodies.Put(buffer)
	}
}

// readBody reads a response's body into buffer and returns it. It reads to the
// end, so that the connection can be used again, or to the bound, when closing
// the body takes the connection down. Of a body larger than maxBodyBytes that may
// be what was asked for, long texts are cut short, within the limits; the bound is
// maxBodyBytes for all others.
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

// enlarge returns buffer with more room: in few steps, of which the last has room
// for maxBodyBytes and a chunk, so that no body makes it grow beyond that.
func enlarge(buffer []byte) []byte {
	room := max(4*cap(buffer), 4<<10)
	if room >= maxBodyBytes {
		room = maxBodyBytes + 1 + chunkBytes
	}
	return append(make([]byte, 0, room), buffer...)
}

// shorten cuts the long texts of a body that begins with buffer and goes on with
// the rest. It works in place: what is kept is never ahead of what is read.
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
