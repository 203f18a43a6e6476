// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// User is a user of a project and its credentials: an access key, with a security
// token if it is temporary, or an IAM token, or both. For several projects, the user
// is listed several times.
type User struct {
	// ProjectID is the project; any project if empty.
	ProjectID       string `json:"projectID,omitempty"`
	AccessKeyID     string `json:"accessKeyID,omitempty"`
	SecretAccessKey string `json:"secretAccessKey,omitempty"`
	SecurityToken   string `json:"securityToken,omitempty"`
	Token           string `json:"token,omitempty"`
	// Denied are the actions that the user may not perform in the project, such as
	// dli:jobs:list.
	Denied []string `json:"denied,omitempty"`
}

// SetUsers replaces the users, for example for a rotation or revocation. Without users,
// every request is rejected. The state of an access key, such as a lock, is kept.
func (s *Server) SetUsers(users ...User) {
	next := &accounts{byKey: map[string]*account{}, byToken: map[string]*account{}}
	for _, u := range users {
		if u.AccessKeyID != "" {
			a := next.byKey[u.AccessKeyID]
			if a == nil || !a.holds(u) {
				a = newAccount(u, s.caller(u.AccessKeyID))
				next.byKey[u.AccessKeyID] = a
			}
			a.grants = append(a.grants, u)
		}
		if u.Token != "" {
			a := next.byToken[u.Token]
			if a == nil {
				a = newAccount(u, s.caller("token"))
				next.byToken[u.Token] = a
			}
			a.grants = append(a.grants, u)
		}
	}
	s.accounts.Store(next)
}

// accounts are the users of SetUsers, indexed for lookups.
type accounts struct {
	byKey, byToken map[string]*account
}

type account struct {
	secret, securityToken string
	// grants are the users with this key or token, one for each project.
	grants []User
	caller *caller
	// macs are keyed hashes: keying one costs as much as a signature.
	macs sync.Pool
}

func newAccount(u User, c *caller) *account {
	return &account{
		secret: u.SecretAccessKey, securityToken: u.SecurityToken, caller: c,
		macs: sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(u.SecretAccessKey)) }},
	}
}

func (a *account) holds(u User) bool {
	return a.secret == u.SecretAccessKey && a.securityToken == u.SecurityToken
}

func (a *account) authorize(project, action string) *Response {
	why := "Permission denied: the user may not read jobs of project " + project + "."
	for _, u := range a.grants {
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

// caller is the gateway's state of an access key, or of all tokens.
type caller struct {
	authenticated, failures atomic.Int64
	admitted                window

	// misses are consecutive signature failures; lockedUntil is in nanoseconds.
	misses, lockedUntil atomic.Int64
}

func (s *Server) caller(name string) *caller {
	if c, ok := s.callers.Load(name); ok {
		return c.(*caller)
	}
	c, _ := s.callers.LoadOrStore(name, new(caller))
	return c.(*caller)
}

// An access key with more than maxMisses consecutive failures is locked for all its
// users, even for valid signatures.
const (
	maxMisses = 5
	lockTime  = 5 * time.Minute
)

func (c *caller) locked(now time.Time) bool { return now.UnixNano() < c.lockedUntil.Load() }

func (c *caller) missed(now time.Time) {
	if c.misses.Add(1) > maxMisses {
		c.misses.Store(0)
		c.lockedUntil.Store(now.Add(lockTime).UnixNano())
	}
}

// accept counts a success; it avoids an unnecessary write to memory that all requests
// share.
func (c *caller) accept() {
	c.authenticated.Add(1)
	if c.misses.Load() != 0 {
		c.misses.Store(0)
	}
}

const (
	maxSkew  = 15 * time.Minute
	dateForm = "20060102T150405Z"
)

// authenticate returns the account of a request, or why there is none.
func (s *Server) authenticate(r *http.Request, now time.Time, requestID string) (*account, *Response) {
	refuse := func(c *caller, code, why string) (*account, *Response) {
		c.failures.Add(1)
		return nil, GatewayError(http.StatusUnauthorized, code,
			"Incorrect IAM authentication information: "+why, requestID)
	}
	accounts := s.accounts.Load()
	header, token := r.Header.Get("Authorization"), r.Header.Get("X-Auth-Token")
	switch {
	case header == "" && token == "":
		s.caller("").failures.Add(1)
		return nil, DLIError(http.StatusUnauthorized, "DLI.0013", "X-Auth-Token is not defined in request")
	case header == "":
		a := accounts.byToken[token]
		if a == nil {
			return refuse(s.caller("token"), "APIGW.0301", "decrypt token fail")
		}
		a.caller.accept()
		return a, nil
	case token != "":
		return refuse(s.caller(""), "APIGW.0301", "both Authorization and X-Auth-Token")
	}

	claim, ok := parseAuthorization(header)
	if !ok {
		return refuse(s.caller(""), "APIGW.0301", "invalid Authorization header")
	}
	a := accounts.byKey[claim.accessKey]
	if a == nil {
		return refuse(s.caller(claim.accessKey), "APIGW.0301", "ak "+claim.accessKey+" not exist")
	}
	c := a.caller
	if c.locked(now) {
		return refuse(c, "APIGW.0301", "AK access failed to reach the limit,forbidden.")
	}
	date, err := time.Parse(dateForm, r.Header.Get("X-Sdk-Date"))
	if err != nil {
		return refuse(c, "APIGW.0301", "invalid X-Sdk-Date")
	}
	if date.Sub(now).Abs() > maxSkew {
		return refuse(c, "APIGW.0303", "signature expired, signature time:"+r.Header.Get("X-Sdk-Date")+
			",server time:"+now.UTC().Format(dateForm))
	}
	if r.Header.Get("X-Security-Token") != a.securityToken {
		c.missed(now)
		return refuse(c, "APIGW.0301", "decrypt token fail")
	}
	if !a.signed(r, claim) {
		c.missed(now)
		return refuse(c, "APIGW.0301", "verify aksk signature fail")
	}
	c.accept()
	return a, nil
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

// signed reports whether the request has a valid signature: the HMAC-SHA256, keyed by
// the secret, of
//
//	SDK-HMAC-SHA256 \n date \n hex(sha256(canonical request))
func (a *account) signed(r *http.Request, c claim) bool {
	buffer := bodies.Get().(*[]byte)
	defer bodies.Put(buffer)
	text, ok := appendCanonical((*buffer)[:0], r, c.signedHeaders)
	if !ok {
		return false
	}
	*buffer = text
	mac := a.macs.Get().(hash.Hash)
	defer a.macs.Put(mac)
	mac.Reset()
	return hmac.Equal(appendSignature(text, r, mac), []byte(c.signature))
}
