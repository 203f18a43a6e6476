// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// emptyBody is the hash of no bytes, in hexadecimal.
	emptyBody       = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	unsignedPayload = "UNSIGNED-PAYLOAD"
)

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
	text, ok := appendCanonical(nil, r, signed)
	if !ok {
		return errors.New("the path of the request cannot be signed")
	}
	mac := hmac.New(sha256.New, []byte(u.SecretAccessKey))
	text = appendSignature(text, r, mac)
	r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access="+u.AccessKeyID+", SignedHeaders="+signed+", Signature="+string(text))
	return nil
}

// appendSignature replaces a request's canonical form by its signature.
func appendSignature(text []byte, r *http.Request, mac hash.Hash) []byte {
	sum := sha256.Sum256(text)
	text = append(text[:0], "SDK-HMAC-SHA256\n"...)
	text = append(text, r.Header.Get("X-Sdk-Date")...)
	text = append(text, '\n')
	text = hex.AppendEncode(text, sum[:])
	mac.Write(text)
	return hex.AppendEncode(text[:0], mac.Sum(sum[:0]))
}

// appendCanonical appends the canonical request:
//
//	method \n path/ \n query \n name:value\n... \n names \n hex(sha256(body))
//
// It fails for header names that are unsorted, in upper case or missing, and if the
// date is not among them: then the signature would not cover the time.
func appendCanonical(b []byte, r *http.Request, signedHeaders string) ([]byte, bool) {
	b = append(b, r.Method...)
	b = append(b, '\n')
	b, ok := appendCanonicalPath(b, r.URL.EscapedPath())
	if !ok {
		return b, false
	}
	b = append(b, '\n')
	b = appendCanonicalQuery(b, r.URL.RawQuery)
	b = append(b, '\n')

	previous, dated := "", false
	for name := range strings.SplitSeq(signedHeaders, ";") {
		values := r.Header.Values(name)
		if name == "host" {
			values = []string{hostOf(r)}
		}
		if name <= previous || name != strings.ToLower(name) || len(values) == 0 {
			return b, false
		}
		previous, dated = name, dated || name == "x-sdk-date"
		for _, value := range slices.Sorted(slices.Values(values)) {
			b = append(b, name...)
			b = append(b, ':')
			b = append(b, strings.TrimSpace(value)...)
			b = append(b, '\n')
		}
	}
	b = append(b, '\n')
	b = append(b, signedHeaders...)
	b = append(b, '\n')

	if r.Header.Get("X-Sdk-Content-Sha256") == unsignedPayload {
		return append(b, unsignedPayload...), dated
	}
	if r.ContentLength == 0 {
		return append(b, emptyBody...), dated
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return b, false
	}
	sum := sha256.Sum256(body)
	return hex.AppendEncode(b, sum[:]), dated
}

// hostOf is the host that a request is sent to, or came for.
func hostOf(r *http.Request) string {
	if r.Host == "" {
		return r.URL.Host
	}
	return r.Host
}

// appendCanonicalPath escapes each segment again, because clients differ in what they
// escape, and appends a slash if the path has none.
func appendCanonicalPath(b []byte, path string) ([]byte, bool) {
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return b, false
		}
		b = append(b, '/')
		b = appendEscaped(b, plain)
	}
	return append(b, '/'), true
}

func appendCanonicalQuery(b []byte, raw string) []byte {
	if raw == "" {
		return b
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return append(b, raw...)
	}
	separate := false
	for _, key := range slices.Sorted(maps.Keys(query)) {
		for _, value := range slices.Sorted(slices.Values(query[key])) {
			if separate {
				b = append(b, '&')
			}
			separate = true
			b = appendEscaped(b, key)
			b = append(b, '=')
			b = appendEscaped(b, value)
		}
	}
	return b
}

func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '.', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}
