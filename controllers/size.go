// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

const (
	// maxStatusBytes limits a status as JSON on the wire, where each of < > & takes
	// six bytes: a quarter of a MiB, minus the rest of the object. etcd rejects objects
	// of 1.5 MiB, and every watcher receives each version of every object.
	maxStatusBytes = 200 << 10
	// smallStatusBytes is enough for a table of a hundred columns, and largeBytesPerMinute
	// what the statuses that are larger may have beyond that, for all connections of a
	// namespace together.
	smallStatusBytes    = 16 << 10
	largeBytesPerMinute = 8 << 20
	// maxColumnBytes is the size of the largest column.
	maxColumnBytes = 256 + 1024
)

// sizeLimit limits the bytes of large statuses: who chooses an endpoint chooses what is
// written, for any number of jobs, and etcd is everybody's.
type sizeLimit struct {
	mu sync.Mutex
	// minute is when the present minute began, and spent what each namespace has written in
	// it beyond small statuses.
	minute time.Time
	spent  map[string]int
}

// shorten drops columns and long texts from a large status if the namespace of its
// connection, which has a name, has written too much. It returns the status' size.
func (l *sizeLimit) shorten(status *v1alpha1.DLIJobStatus, connection string, now time.Time) (size int) {
	namespace, _, _ := strings.Cut(connection, "/")
	size = wireSize(status)
	if excess := size - smallStatusBytes; excess <= 0 || l.spend(namespace, excess, now) {
		return size
	}
	dropColumns(status, smallStatusBytes)
	if size = wireSize(status); size > smallStatusBytes {
		status.Statement, status.StatementTruncated, status.Message = "", true, ""
		size = wireSize(status)
	}
	return size
}

// spend reports whether a namespace may write more bytes, and counts them if so.
func (l *sizeLimit) spend(namespace string, bytes int, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.minute) >= time.Minute {
		l.minute, l.spent = now, map[string]int{}
	}
	if l.spent[namespace]+bytes > largeBytesPerMinute {
		return false
	}
	l.spent[namespace] += bytes
	return true
}

// dropColumns drops columns from a status until it has a size, as far as they make it
// larger, and counts them. Everything else has its own limits.
func dropColumns(status *v1alpha1.DLIJobStatus, limit int) {
	if len(status.Columns)*maxColumnBytes < limit/6 {
		return
	}
	for size := wireSize(status); size > limit && len(status.Columns) > 0; size = wireSize(status) {
		// At least one, and about as many as make up the surplus.
		surplus := (size - limit) * len(status.Columns) / size
		kept := len(status.Columns) - max(surplus, 1)
		status.ColumnsOmitted += int32(len(status.Columns) - kept)
		status.Columns = status.Columns[:kept]
	}
}

// wireSize is the size of a value as JSON.
func wireSize(v any) int {
	data, _ := json.Marshal(v) // a status can always be encoded
	return len(data)
}
