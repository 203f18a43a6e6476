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
	tests := []struct {
		name   string
		change func(*http.Request)
		status int
		code   string
	}{
		{"the published example is accepted", func(*http.Request) {}, 200, ""},
		{"a header that is not signed may change", func(r *http.Request) {
			r.Header.Set("User-Agent", "other")
		}, 200, ""},
		{"another job is rejected", func(r *http.Request) {
			r.URL.Path = strings.Replace(r.URL.Path, "6d", "6e", 1)
		}, 401, "APIGW.0301"},
		{"a query is rejected", func(r *http.Request) { r.URL.RawQuery = "a=b" }, 401, "APIGW.0301"},
		{"a changed signed header is rejected", func(r *http.Request) {
			r.Header.Set("X-Project-Id", "48cc2c48765f481480c7db940d6409d2")
		}, 401, "APIGW.0301"},
		{"a missing signed header is rejected", func(r *http.Request) {
			r.Header.Del("X-Project-Id")
		}, 401, "APIGW.0301"},
		{"another date is rejected", func(r *http.Request) {
			r.Header.Set("X-Sdk-Date", "20260101T000001Z")
		}, 401, "APIGW.0301"},
		{"an invalid date is rejected", func(r *http.Request) {
			r.Header.Set("X-Sdk-Date", "2026-01-01T00:00:00Z")
		}, 401, "APIGW.0301"},
		{"a body that was not signed is rejected", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1
		}, 401, "APIGW.0301"},
		{"a signature in capitals is rejected", func(r *http.Request) {
			replaceAuthorization(r, vectorSignature, strings.ToUpper(vectorSignature))
		}, 401, "APIGW.0301"},
		{"one changed digit is rejected", func(r *http.Request) {
			replaceAuthorization(r, "Signature=d7", "Signature=d8")
		}, 401, "APIGW.0301"},
		{"a truncated signature is rejected", func(r *http.Request) {
			replaceAuthorization(r, "546", "")
		}, 401, "APIGW.0301"},
		{"signed headers out of order are rejected", func(r *http.Request) {
			replaceAuthorization(r, "x-project-id;x-sdk-date", "x-sdk-date;x-project-id")
		}, 401, "APIGW.0301"},
		{"an unknown access key is rejected", func(r *http.Request) {
			replaceAuthorization(r, "AKEXAMPLE", "AKOTHER")
		}, 401, "APIGW.0301"},
		{"another algorithm is rejected", func(r *http.Request) {
			replaceAuthorization(r, "SDK-HMAC-SHA256", "V11-HMAC-SHA256")
		}, 401, "APIGW.0301"},
		{"a security token that the key does not have is rejected", func(r *http.Request) {
			r.Header.Set("X-Security-Token", "T")
		}, 401, "APIGW.0301"},
		{"a token in addition to a signature is rejected", func(r *http.Request) {
			r.Header.Set("X-Auth-Token", "TOKENEXAMPLE")
		}, 401, "APIGW.0301"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, WithClock(vectorTime))
			s.SetJob(Query(SampleInserted))
			r := vectorRequest()
			test.change(r)
			got := serve(s, r)
			got.is(t, test.status, test.code)
		})
	}
}

func replaceAuthorization(r *http.Request, old, text string) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, text, 1))
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
	tests := []struct {
		name    string
		request func(r *http.Request, now time.Time)
		status  int
		code    string
	}{
		{"an access key is accepted", func(r *http.Request, now time.Time) { sign(r, alice, now) }, 200, ""},
		{"a temporary access key is accepted", func(r *http.Request, now time.Time) {
			sign(r, temporary, now)
		}, 200, ""},
		{"a temporary access key without its security token is rejected", func(r *http.Request, now time.Time) {
			sign(r, temporary, now)
			r.Header.Del("X-Security-Token")
		}, 401, "APIGW.0301"},
		{"a token is accepted", func(r *http.Request, _ time.Time) {
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-Auth-Token", "T1")
		}, 200, ""},
		{"a wrong token is rejected", func(r *http.Request, _ time.Time) {
			r.Header.Set("X-Auth-Token", "T2")
		}, 401, "APIGW.0301"},
		{"neither key nor token is rejected", func(*http.Request, time.Time) {}, 401, "DLI.0013"},
		{"a clock 15 minutes off is accepted", func(r *http.Request, now time.Time) {
			sign(r, alice, now.Add(-15*time.Minute))
		}, 200, ""},
		{"a clock further behind is rejected", func(r *http.Request, now time.Time) {
			sign(r, alice, now.Add(-15*time.Minute-time.Second))
		}, 401, "APIGW.0303"},
		{"a clock further ahead is rejected", func(r *http.Request, now time.Time) {
			sign(r, alice, now.Add(15*time.Minute+time.Second))
		}, 401, "APIGW.0303"},
		{"another user's project is rejected", func(r *http.Request, now time.Time) {
			r.URL.Path = "/v1.0/p2/jobs/j/status"
			sign(r, alice, now)
		}, 403, "DLI.0003"},
		{"a project header that differs from the path is rejected", func(r *http.Request, now time.Time) {
			sign(r, alice, now)
			r.Header.Set("X-Project-Id", "p2")
		}, 400, "DLI.0001"},
		{"a request without content type is rejected", func(r *http.Request, now time.Time) {
			sign(r, alice, now)
			r.Header.Del("Content-Type")
		}, 400, "DLI.0001"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, WithClock(vectorTime))
			s.SetUsers(alice, temporary, robot)
			s.SetJob(Query("j"))
			r := httptest.NewRequest(http.MethodGet, "/v1.0/"+project+"/jobs/j/status", nil)
			test.request(r, vectorTime())
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
