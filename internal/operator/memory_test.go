// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/text"
)

func TestMemoryLimitOfTheContainer(t *testing.T) {
	const v1, v2 = "sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory.max"
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	const before = 12345678
	for name, test := range map[string]struct {
		files fstest.MapFS
		env   string
		want  int64
	}{
		"version 2":                {fstest.MapFS{v2: {Data: []byte("1073741824\n")}}, "", 1073741824 / 100 * 90},
		"version 1":                {fstest.MapFS{v1: {Data: []byte("536870912\n")}}, "", 536870912 / 100 * 90},
		"version 2 without":        {fstest.MapFS{v2: {Data: []byte("max\n")}}, "", before},
		"version 1 without":        {fstest.MapFS{v1: {Data: []byte("9223372036854771712\n")}}, "", before},
		"outside a container":      {fstest.MapFS{}, "", before},
		"the environment variable": {fstest.MapFS{v2: {Data: []byte("1073741824\n")}}, "1GiB", before},
	} {
		t.Run(name, func(t *testing.T) {
			debug.SetMemoryLimit(before)
			TuneMemory(test.files, func(name string) string { return map[string]string{"GOMEMLIMIT": test.env}[name] })
			if got := debug.SetMemoryLimit(-1); got != test.want {
				t.Errorf("the limit is %d, want %d", got, test.want)
			}
		})
	}
}

// Whatever the author of a DLIJob puts into its metadata, it costs little memory.
func TestALargeJobCostsLittleMemory(t *testing.T) {
	const n, limit = 100, 4 << 10
	padding := strings.Repeat("x", 250_000)
	body := `{"metadata":{"namespace":"a","name":"b","annotations":{"padding":"` + padding + `","` +
		v1alpha1.PollRequestedAtAnnotation + `":"` + padding + `"},"labels":{"a":"` + padding[:60_000] + `"},"finalizers":["` + padding + `"],` +
		`"ownerReferences":[{"name":"` + padding + `"}],"managedFields":[{"manager":"` + padding + `"}]},"spec":{"jobID":"c"}}`
	jobs, transform := make([]any, n), newTransform(new(text.Pool))
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range jobs {
		job := &v1alpha1.DLIJob{}
		if err := json.Unmarshal([]byte(body), job); err != nil {
			t.Fatal(err)
		}
		var err error
		if jobs[i], err = transform(job); err != nil {
			t.Fatal(err)
		}
	}
	if each := (int64(heap()) - int64(before)) / n; each > limit {
		t.Errorf("a job costs %d bytes, want %d at most", each, limit)
	}
	runtime.KeepAlive(jobs)
}
