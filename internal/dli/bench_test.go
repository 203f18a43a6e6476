// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func BenchmarkDecode(b *testing.B) {
	a := answer{status: 200, header: http.Header{}, body: []byte(finished), now: noon}
	hide := secretsOf(accessKey, "d747ab87a1f7ae2e8d1978f270aacb7ae8a641b0fb43062cbe7f4059ab5ca546")
	b.ReportAllocs()
	b.SetBytes(int64(len(a.body)))
	for b.Loop() {
		if _, failure := interpret(a, &hide, statusOf(jobID)); failure != nil {
			b.Fatal(failure)
		}
	}
}

// BenchmarkDecodeList decodes a full page of 100 jobs with all members.
func BenchmarkDecodeList(b *testing.B) {
	rows := make([]string, 100)
	for i := range rows {
		rows[i] = fullRow(fmt.Sprintf("208b08d4-0dc2-4dd7-8879-%012d", i))
	}
	a := answer{status: 200, header: http.Header{}, body: []byte(page(10000, rows...)), now: noon}
	hide := secretsOf(accessKey, "d747ab87a1f7ae2e8d1978f270aacb7ae8a641b0fb43062cbe7f4059ab5ca546")
	b.ReportAllocs()
	b.SetBytes(int64(len(a.body)))
	for b.Loop() {
		if list, failure := interpret(a, &hide, listOf(100)); failure != nil || len(list.Jobs) != 100 {
			b.Fatal(failure)
		}
	}
}

// BenchmarkShorten measures the cost per byte of a response that is too large to keep.
func BenchmarkShorten(b *testing.B) {
	part := []byte(strings.Repeat("0", chunkBytes))
	s := shortener{limits: jobLimits}
	s.write([]byte(`"`))
	b.SetBytes(int64(len(part)))
	for b.Loop() {
		s.write(part)
	}
}

func BenchmarkSchema(b *testing.B) {
	detail := []byte(`{"type":"struct","fields":[{"name":"id","type":"integer","nullable":true,"metadata":{}},` +
		`{"name":"tags","type":{"type":"map","keyType":"string","valueType":{"type":"array","elementType":"string","containsNull":true},"valueContainsNull":true},"nullable":true,"metadata":{}},` +
		`{"name":"price","type":"decimal(38,18)","nullable":false,"metadata":{}}]}`)
	b.ReportAllocs()
	for b.Loop() {
		if columns, _ := parseSchema(detail, &secrets{}); columns == nil {
			b.Fatal("no schema")
		}
	}
}

func BenchmarkSign(b *testing.B) {
	client := clientOf(b, "https://dli.cn-north-4.myhuaweicloud.com")
	q := questionAbout(b, client, jobID)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := client.newRequest(background, accessKey, q); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJobStatus includes the server's part of the work.
func BenchmarkJobStatus(b *testing.B) {
	answer := []byte(finished)
	client, _ := serve(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.JobStatus(background, accessKey, jobID); err != nil {
			b.Fatal(err)
		}
	}
}
