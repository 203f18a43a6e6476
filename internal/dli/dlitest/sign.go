// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const unsignedPayload = "UNSIGNED-PAYLOAD"

// Sign signs a request without a body as a user with an access key, with the host among
// the signed headers. Headers that are set later are not signed.
func Sign(r *http.Request, u User, now time.Time) error {
	r.Header.Set("X-Sdk-Date", now.UTC().Format(dateForm))
	names := []string{"host", "x-sdk-date"}
	if r.Header.Get("X-Project-Id") != "" {
		names = []string{"host", "x-project-id", "x-sdk-date"}
	}
	if u.SecurityToken != "" {
		r.Header.Set("X-Security-Token", u.SecurityToken)
		names = append(names, "x-security-token")
	}
	signed := strings.Join(names, ";")
	text, ok := canonical(r, signed)
	if !ok {
		return errors.New("the path of the request cannot be signed")
	}
	r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access="+u.AccessKeyID+", SignedHeaders="+signed+", Signature="+signature(r, text, u.SecretAccessKey))
	return nil
}

// signature returns the signature of a request in its canonical form: the HMAC-SHA256,
// keyed by the secret, of
//
//	SDK-HMAC-SHA256 \n date \n hex(sha256(canonical request))
func signature(r *http.Request, canonical, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(mac, "SDK-HMAC-SHA256\n"+r.Header.Get("X-Sdk-Date")+"\n"+hexSHA256([]byte(canonical)))
	return hex.EncodeToString(mac.Sum(nil))
}

func hexSHA256(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// canonical returns the canonical request:
//
//	method \n path/ \n query \n name:value\n... \n names \n hex(sha256(body))
//
// It fails for header names that are unsorted, in upper case or missing, and if the
// date is not among them: then the signature would not cover the time.
func canonical(r *http.Request, signedHeaders string) (text string, ok bool) {
	path, ok := canonicalPath(r.URL.EscapedPath())
	if !ok {
		return "", false
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(r.URL.RawQuery) + "\n")
	previous, dated := "", false
	for name := range strings.SplitSeq(signedHeaders, ";") {
		values := r.Header.Values(name)
		if name == "host" {
			values = []string{cmp.Or(r.Host, r.URL.Host)}
		}
		if name <= previous || name != strings.ToLower(name) || len(values) == 0 {
			return "", false
		}
		previous, dated = name, dated || name == "x-sdk-date"
		for _, value := range slices.Sorted(slices.Values(values)) {
			b.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
		}
	}
	b.WriteString("\n" + signedHeaders + "\n")
	if r.Header.Get("X-Sdk-Content-Sha256") == unsignedPayload {
		return b.String() + unsignedPayload, dated
	}
	var body []byte
	if r.ContentLength != 0 {
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody)); err != nil {
			return "", false
		}
	}
	return b.String() + hexSHA256(body), dated
}

// canonicalPath escapes each segment again, because clients differ in what they
// escape, and appends a slash if the path has none.
func canonicalPath(path string) (text string, ok bool) {
	var b strings.Builder
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return "", false
		}
		b.WriteString("/" + blanksEscaped(url.QueryEscape(plain)))
	}
	return b.String() + "/", true
}

// canonicalQuery sorts the parameters by name, then value.
func canonicalQuery(raw string) string {
	query, err := url.ParseQuery(raw)
	if err != nil || raw == "" {
		return raw
	}
	for _, values := range query {
		slices.Sort(values)
	}
	return blanksEscaped(query.Encode())
}

// blanksEscaped escapes blanks in the way of a path also in a query.
func blanksEscaped(text string) string { return strings.ReplaceAll(text, "+", "%20") }
