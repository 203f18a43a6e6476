// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"net/http"
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
