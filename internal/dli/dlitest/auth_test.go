// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// vector is the published example of the signature: a request and the expected signature.
const (
	vectorPath      = "/v1.0/48cc2c48765f481480c7db940d6409d1/jobs/6d2146a0-c2d5-41bd-8ca0-ca9694ada992/status"
	vectorDate      = "20260101T000000Z"
	vectorSignature = "d747ab87a1f7ae2e8d1978f270aacb7ae8a641b0fb43062cbe7f4059ab5ca546"
)

func vectorTime() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func vectorRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, vectorPath, nil)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Project-Id", "48cc2c48765f481480c7db940d6409d1")
	r.Header.Set("X-Sdk-Date", vectorDate)
	r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access=AKEXAMPLE, "+
		"SignedHeaders=x-project-id;x-sdk-date, Signature="+vectorSignature)
	return r
}

// sign signs the simple requests of these tests as specified, for tests of anything but
// the signature.
func sign(r *http.Request, u User, now time.Time) {
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Sdk-Date", now.UTC().Format("20060102T150405Z"))
	text := fmt.Sprintf("GET\n%s/\n\nx-sdk-date:%s\n\nx-sdk-date\n%s",
		r.URL.Path, r.Header.Get("X-Sdk-Date"), hexSHA256(nil))
	if u.SecurityToken != "" {
		r.Header.Set("X-Security-Token", u.SecurityToken)
	}
	mac := hmac.New(sha256.New, []byte(u.SecretAccessKey))
	fmt.Fprintf(mac, "SDK-HMAC-SHA256\n%s\n%s", r.Header.Get("X-Sdk-Date"), hexSHA256([]byte(text)))
	r.Header.Set("Authorization", fmt.Sprintf("SDK-HMAC-SHA256 Access=%s, SignedHeaders=x-sdk-date, Signature=%x",
		u.AccessKeyID, mac.Sum(nil)))
}

func TestSignature(t *testing.T) {
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	replaced := func(old, text string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, text, 1))
		}
	}
	send := func(t *testing.T, change func(*http.Request)) answer {
		t.Helper()
		s := newServer(t, WithClock(vectorTime))
		s.SetJob(Query(SampleInserted))
		r := vectorRequest()
		change(r)
		return serve(s, r)
	}
	for name, change := range map[string]func(*http.Request){
		"the published example":       func(*http.Request) {},
		"a header that is not signed": set("User-Agent", "other"),
	} {
		t.Run(name+" is accepted", func(t *testing.T) { send(t, change).is(t, 200, "") })
	}
	for name, change := range map[string]func(*http.Request){
		"another job":             func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, "6d", "6e", 1) },
		"a query":                 func(r *http.Request) { r.URL.RawQuery = "a=b" },
		"a changed signed header": set("X-Project-Id", "48cc2c48765f481480c7db940d6409d2"),
		"a missing signed header": func(r *http.Request) { r.Header.Del("X-Project-Id") },
		"another date":            set("X-Sdk-Date", "20260101T000001Z"),
		"an invalid date":         set("X-Sdk-Date", "2026-01-01T00:00:00Z"),
		"a body that was not signed": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1
		},
		"a signature in capitals":                     replaced(vectorSignature, strings.ToUpper(vectorSignature)),
		"one changed digit":                           replaced("Signature=d7", "Signature=d8"),
		"a truncated signature":                       replaced("546", ""),
		"signed headers out of order":                 replaced("x-project-id;x-sdk-date", "x-sdk-date;x-project-id"),
		"an unknown access key":                       replaced("AKEXAMPLE", "AKOTHER"),
		"another algorithm":                           replaced("SDK-HMAC-SHA256", "V11-HMAC-SHA256"),
		"a security token that the key does not have": set("X-Security-Token", "T"),
		"a token in addition to a signature":          set("X-Auth-Token", "TOKENEXAMPLE"),
	} {
		t.Run(name+" is rejected", func(t *testing.T) { send(t, change).is(t, 401, "APIGW.0301") })
	}
}

func TestCanonicalRequest(t *testing.T) {
	tests := []struct {
		name, target, want string
	}{
		{"a path is escaped once", "/a%20b/%7Ec/d~", "/a%20b/~c/d~/"},
		{"an escaped slash stays one", "/a%2Fb", "/a%2Fb/"},
		{"a slash at the end is not doubled", "/a/", "/a/"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, test.target, nil)
			got, ok := canonicalPath(r.URL.EscapedPath())
			if !ok || got != test.want {
				t.Errorf("got %q, %v, want %q", got, ok, test.want)
			}
		})
	}
	t.Run("a query is sorted by name, then value", func(t *testing.T) {
		got := canonicalQuery("b=2&a=z%20z&b=1&c")
		if want := "a=z%20z&b=1&b=2&c="; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("a body counts by its hash, unless it is declared unsigned", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body"))
		r.Header.Set("X-Sdk-Date", vectorDate)
		got, _ := canonical(r, "x-sdk-date")
		if want := hexSHA256([]byte("body")); !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want it to end in %q", got, want)
		}
		r.Header.Set("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD")
		if got, _ = canonical(r, "x-sdk-date"); !strings.HasSuffix(got, "UNSIGNED-PAYLOAD") {
			t.Errorf("got %q, want it to end in UNSIGNED-PAYLOAD", got)
		}
	})
	t.Run("the host is signed unchanged", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodGet, "http://dli.example.com/", nil)
		r.Header.Set("X-Sdk-Date", vectorDate)
		got, ok := canonical(r, "host;x-sdk-date")
		if !ok || !strings.Contains(got, "\nhost:dli.example.com\nx-sdk-date:") {
			t.Errorf("got %q, %v", got, ok)
		}
	})
}

func TestAuthentication(t *testing.T) {
	const project = "p1"
	alice := User{ProjectID: project, AccessKeyID: "AK1", SecretAccessKey: "SK1"}
	temporary := User{ProjectID: project, AccessKeyID: "AK2", SecretAccessKey: "SK2", SecurityToken: "ST"}
	robot := User{ProjectID: project, Token: "T1"}
	signed := func(u User, late time.Duration, changes ...func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			sign(r, u, vectorTime().Add(-late))
			for _, change := range changes {
				change(r)
			}
		}
	}
	for name, test := range map[string]struct {
		request func(*http.Request)
		status  int
		code    string
	}{
		"an access key":           {signed(alice, 0), 200, ""},
		"a temporary access key":  {signed(temporary, 0), 200, ""},
		"a clock 15 minutes off":  {signed(alice, 15*time.Minute), 200, ""},
		"a clock further behind":  {signed(alice, 15*time.Minute+time.Second), 401, "APIGW.0303"},
		"a clock further ahead":   {signed(alice, -15*time.Minute-time.Second), 401, "APIGW.0303"},
		"neither a key nor token": {func(*http.Request) {}, 401, "DLI.0013"},
		"a wrong token":           {func(r *http.Request) { r.Header.Set("X-Auth-Token", "T2") }, 401, "APIGW.0301"},
		"a token": {func(r *http.Request) {
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-Auth-Token", "T1")
		}, 200, ""},
		"a temporary access key without its security token": {
			signed(temporary, 0, func(r *http.Request) { r.Header.Del("X-Security-Token") }), 401, "APIGW.0301",
		},
		"another user's project": {func(r *http.Request) {
			r.URL.Path = "/v1.0/p2/jobs/j/status"
			sign(r, alice, vectorTime())
		}, 403, "DLI.0003"},
		"a project header that differs from the path": {
			signed(alice, 0, func(r *http.Request) { r.Header.Set("X-Project-Id", "p2") }), 400, "DLI.0001",
		},
		"no content type": {signed(alice, 0, func(r *http.Request) { r.Header.Del("Content-Type") }), 400, "DLI.0001"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, WithClock(vectorTime))
			s.SetUsers(alice, temporary, robot)
			s.SetJob(Query("j"))
			r := httptest.NewRequest(http.MethodGet, "/v1.0/"+project+"/jobs/j/status", nil)
			test.request(r)
			serve(s, r).is(t, test.status, test.code)
		})
	}
}

func TestUsers(t *testing.T) {
	clock := newClock()
	ask := func(s *Server, u User, project string) answer {
		r := httptest.NewRequest(http.MethodGet, "/v1.0/"+project+"/jobs/j/status", nil)
		sign(r, u, clock.Now())
		return serve(s, r)
	}
	old := User{ProjectID: "p1", AccessKeyID: "AK", SecretAccessKey: "old"}
	renewed := User{ProjectID: "p1", AccessKeyID: "AK", SecretAccessKey: "new"}

	t.Run("a rotated secret replaces the old one", func(t *testing.T) {
		s := newServer(t, WithClock(clock.Now))
		s.SetJob(Query("j"))
		s.SetUsers(old)
		ask(s, old, "p1").is(t, 200, "")
		s.SetUsers(renewed)
		ask(s, old, "p1").is(t, 401, "APIGW.0301")
		ask(s, renewed, "p1").is(t, 200, "")
	})
	t.Run("all requests are rejected once all users are revoked", func(t *testing.T) {
		s := newServer(t, WithClock(clock.Now))
		s.SetUsers()
		ask(s, SampleUser(), SampleUser().ProjectID).is(t, 401, "APIGW.0301")
	})
	t.Run("one key may read several projects", func(t *testing.T) {
		s := newServer(t, WithClock(clock.Now))
		s.SetJob(Query("j"))
		other := old
		other.ProjectID = "p2"
		s.SetUsers(old, other)
		ask(s, old, "p1").is(t, 200, "")
		ask(s, old, "p2").is(t, 200, "")
		ask(s, old, "p3").is(t, 403, "DLI.0003")
	})
	t.Run("a user without a project may read all", func(t *testing.T) {
		s := newServer(t, WithClock(clock.Now))
		s.SetJob(Query("j"))
		s.SetUsers(User{AccessKeyID: "AK", SecretAccessKey: "old"})
		ask(s, old, "p3").is(t, 200, "")
	})
}

func TestAccessKeyLock(t *testing.T) {
	clock := newClock()
	s := newServer(t, WithClock(clock.Now))
	s.SetJob(Query("j"))
	good, bad := SampleUser(), SampleUser()
	bad.SecretAccessKey = "wrong"
	ask := func(u User) answer {
		r := httptest.NewRequest(http.MethodGet, "/v1.0/"+good.ProjectID+"/jobs/j/status", nil)
		sign(r, u, clock.Now())
		return serve(s, r)
	}
	const locked = "AK access failed to reach the limit,forbidden."

	for range 5 {
		ask(bad).is(t, 401, "APIGW.0301").says(t, "verify aksk signature fail")
	}
	// A success in between resets the count.
	ask(good).is(t, 200, "")
	for range 5 {
		ask(bad).is(t, 401, "APIGW.0301").says(t, "verify aksk signature fail")
	}
	ask(bad).says(t, "verify aksk signature fail")
	ask(good).is(t, 401, "APIGW.0301").says(t, locked)
	clock.advance(5*time.Minute - time.Second)
	ask(good).is(t, 401, "APIGW.0301").says(t, locked)
	clock.advance(time.Second)
	ask(good).is(t, 200, "")

	stats := s.Stats()
	if got := stats.AuthFailures["AKEXAMPLE"]; got != 13 {
		t.Errorf("got %d failures of the key, want 13", got)
	}
	if got := stats.Authenticated["AKEXAMPLE"]; got != 2 {
		t.Errorf("got %d successes of the key, want 2", got)
	}
}
