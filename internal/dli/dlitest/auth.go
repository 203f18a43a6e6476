// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// User is a user of a project and its credentials: an access key, with a security
// token if it is temporary, or an IAM token, or both. For several projects, the user
// is listed several times.
type User struct {
	// ProjectID is the project; any project if empty.
	ProjectID       string
	AccessKeyID     string
	SecretAccessKey string
	SecurityToken   string
	Token           string
	// Denied are the actions that the user may not perform in the project, such as
	// dli:jobs:list.
	Denied []string
}

// SetUsers replaces the users, for example for a rotation or revocation. Without users,
// every request is rejected. The state of an access key, such as a lock, is kept.
func (s *Server) SetUsers(users ...User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = users
}

// account returns the users with an access key or a token, one for each project, which share
// their secret: the last one with the key has it.
func account(users []User, is func(User) bool) (grants []User) {
	for _, u := range users {
		if !is(u) {
			continue
		}
		if len(grants) > 0 && (grants[0].SecretAccessKey != u.SecretAccessKey || grants[0].SecurityToken != u.SecurityToken) {
			grants = nil
		}
		grants = append(grants, u)
	}
	return grants
}

// authorize returns why none of the users may perform an action; nil if one may.
func authorize(grants []User, project, action string) *Response {
	why := "Permission denied: the user may not read jobs of project " + project + "."
	for _, u := range grants {
		switch {
		case u.ProjectID != project && u.ProjectID != "":
		case slices.Contains(u.Denied, action):
			why = "Policy doesn't allow " + action + " to be performed."
		default:
			return nil
		}
	}
	return DLIError(http.StatusForbidden, "DLI.0003", why)
}

// lock is what the gateway knows of the failures of an access key.
type lock struct {
	// misses are consecutive signature failures.
	misses int
	until  time.Time
}

// An access key with more than maxMisses consecutive failures is locked for all its
// users, even for valid signatures.
const (
	maxMisses = 5
	lockTime  = 5 * time.Minute
)

func (l *lock) missed(now time.Time) {
	if l.misses++; l.misses > maxMisses {
		*l = lock{until: now.Add(lockTime)}
	}
}

const (
	maxSkew  = 15 * time.Minute
	dateForm = "20060102T150405Z"
)

// authenticate returns the users who may have sent a request, or why there are none.
func (s *Server) authenticate(r *http.Request, q question) ([]User, *Response) {
	refuse := func(name, code, why string) ([]User, *Response) {
		s.stats.AuthFailures[name]++
		return nil, GatewayError(http.StatusUnauthorized, code,
			"Incorrect IAM authentication information: "+why, q.requestID)
	}
	header, token := r.Header.Get("Authorization"), r.Header.Get("X-Auth-Token")
	switch {
	case header == "" && token == "":
		s.stats.AuthFailures[""]++
		return nil, DLIError(http.StatusUnauthorized, "DLI.0013", "X-Auth-Token is not defined in request")
	case header == "":
		grants := account(s.users, func(u User) bool { return u.Token == token })
		if len(grants) == 0 {
			return refuse("token", "APIGW.0301", "decrypt token fail")
		}
		s.stats.Authenticated["token"]++
		return grants, nil
	case token != "":
		return refuse("", "APIGW.0301", "both Authorization and X-Auth-Token")
	}

	claim, ok := parseAuthorization(header)
	if !ok {
		return refuse("", "APIGW.0301", "invalid Authorization header")
	}
	key := claim.accessKey
	grants := account(s.users, func(u User) bool { return u.AccessKeyID == key && key != "" })
	if len(grants) == 0 {
		return refuse(key, "APIGW.0301", "ak "+key+" not exist")
	}
	if s.locks[key] == nil {
		s.locks[key] = &lock{}
	}
	lock, date := s.locks[key], r.Header.Get("X-Sdk-Date")
	if q.now.Before(lock.until) {
		return refuse(key, "APIGW.0301", "AK access failed to reach the limit,forbidden.")
	}
	signed, err := time.Parse(dateForm, date)
	if err != nil {
		return refuse(key, "APIGW.0301", "invalid X-Sdk-Date")
	}
	if signed.Sub(q.now).Abs() > maxSkew {
		return refuse(key, "APIGW.0303", "signature expired, signature time:"+date+",server time:"+q.now.UTC().Format(dateForm))
	}
	if r.Header.Get("X-Security-Token") != grants[0].SecurityToken {
		lock.missed(q.now)
		return refuse(key, "APIGW.0301", "decrypt token fail")
	}
	text, ok := canonical(r, claim.signedHeaders)
	if !ok || !hmac.Equal([]byte(signature(r, text, grants[0].SecretAccessKey)), []byte(claim.signature)) {
		lock.missed(q.now)
		return refuse(key, "APIGW.0301", "verify aksk signature fail")
	}
	lock.misses = 0
	s.stats.Authenticated[key]++
	return grants, nil
}

// claim is the content of an Authorization header.
type claim struct {
	accessKey, signedHeaders, signature string
}

func parseAuthorization(header string) (c claim, ok bool) {
	rest, ok := strings.CutPrefix(header, "SDK-HMAC-SHA256 Access=")
	if !ok {
		return c, false
	}
	if c.accessKey, rest, ok = strings.Cut(rest, ", SignedHeaders="); !ok {
		return c, false
	}
	c.signedHeaders, c.signature, ok = strings.Cut(rest, ", Signature=")
	return c, ok && len(c.signature) == hex.EncodedLen(sha256.Size)
}
