// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

const (
	// maxBodyBytes limits what is kept of an answer, after decompression. The API
	// document sets no limit; statements, messages and schemas are the large parts.
	maxBodyBytes = 4 << 20

	// chunkBytes is how much room there is for each read of a large answer.
	chunkBytes = 32 << 10
)

// limits are how far an answer of a result is read: a failed job must be seen as failed,
// no matter how long its message is. A compressed answer, and an error, only count with
// their first maxBodyBytes, because they cost more than they have bytes.
type limits struct {
	// stream limits the bytes read.
	stream int
	// text limits each text of an answer larger than smallBytes, as encoded in it, except
	// for the values of the members in named, which have a limit of their own.
	text  int
	named map[string]int
}

// of is the limit of a member's text.
func (l limits) of(member []byte) int {
	if limit, ok := l.named[string(member)]; ok {
		return limit
	}
	return l.text
}

var (
	// jobLimits apply to an answer about one job. Its texts are longer than what is
	// decoded of them, and the schema is the only one that is useful as a whole.
	jobLimits = limits{stream: 64 << 20, text: 32 << 10, named: map[string]int{"detail": 2 * maxDetailBytes}}
	// pageLimits apply to a page of jobs: enough to skip 100 statements of 1 MiB.
	// No name is long enough to be cut here.
	pageLimits = limits{stream: 128 << 20, text: 8 << 10, named: map[string]int{"detail": 0, "statement": 0, "user_conf": 0, "req_body": 0}}
)

// bodies are buffers for answers. Decoding copies the values.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

func keepBody(buffer *[]byte) {
	if cap(*buffer) <= smallBytes {
		*buffer = (*buffer)[:0]
		bodies.Put(buffer)
	}
}

// readBody reads a response's body into buffer and returns it. It reads to the end,
// so that the connection can be reused, or to the limit, and then closing the body
// closes the connection. The long texts of a body larger than smallBytes are truncated
// while it is read. It waits for its share of the budget.
func readBody(ctx context.Context, buffer []byte, response *http.Response, within limits, memory *share) ([]byte, error) {
	if response.StatusCode != http.StatusOK || response.Uncompressed {
		within.stream = maxBodyBytes
	}
	if err := memory.takeSmall(ctx); err != nil {
		return buffer, err
	}
	short := shortener{limits: within}
	for read, shortens := 0, false; ; {
		switch room := cap(buffer) - len(buffer); {
		case room == 0 && cap(buffer) < smallBytes:
			buffer = enlarge(buffer, min(4*cap(buffer), smallBytes))
		case room == 0 && !shortens:
			buffer, shortens = short.shorten(buffer, 0), true
			continue
		case shortens && len(buffer) > maxBodyBytes:
			return buffer, tooLarge(maxBodyBytes, " even after truncating its long texts")
		case shortens && room < chunkBytes && !memory.holdsLarge:
			if err := memory.takeLarge(ctx); err != nil {
				return buffer, err
			}
			buffer = enlarge(buffer, maxBodyBytes+chunkBytes)
		}
		end := len(buffer)
		n, err := response.Body.Read(buffer[end:cap(buffer)])
		buffer, read = buffer[:end+n], read+n
		if shortens {
			buffer = short.shorten(buffer, end)
		}
		switch {
		case read > within.stream:
			return buffer, tooLarge(within.stream, "")
		case err == io.EOF && len(buffer) <= maxBodyBytes:
			return buffer, nil
		case err != nil && err != io.EOF:
			return buffer, err
		}
	}
}

// enlarge returns buffer with that much room in all, and at least 4 KiB.
func enlarge(buffer []byte, size int) []byte {
	return append(make([]byte, 0, max(size, 4<<10)), buffer...)
}

func tooLarge(limit int, although string) *Error {
	return &Error{Kind: KindInvalid, Message: fmt.Sprintf("the response is larger than %d MiB%s", limit>>20, although)}
}
