// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// PodIdentity simulates the endpoint on a CCE node that provides temporary credentials
// for a pod's identity: a POST of {} with the pod's token in Authorization. It is a
// handler for the test's own server.
type PodIdentity struct {
	token string
	life  time.Duration
	now   func() time.Time
	user  User
}

// NewPodIdentity provides the credentials of user for that token. They claim to expire
// life after each fetch; whether they do is up to Server.SetUsers.
func NewPodIdentity(token string, user User, life time.Duration, now func() time.Time) *PodIdentity {
	return &PodIdentity{token: token, user: user, life: life, now: now}
}

// ServeHTTP answers one request.
func (p *PodIdentity) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.answer(r).write(w)
}

func (p *PodIdentity) answer(r *http.Request) *Response {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1024))
	switch {
	case r.Method != http.MethodPost:
		return DLIError(http.StatusMethodNotAllowed, "PodIdentity.405", "only POST is allowed")
	case r.Header.Get("Authorization") != p.token:
		return DLIError(http.StatusUnauthorized, "PodIdentity.401", "the token is not valid")
	case err != nil || strings.TrimSpace(string(body)) != "{}":
		return DLIError(http.StatusBadRequest, "PodIdentity.400", "the body is not {}")
	}
	answer := map[string]map[string]string{"credentials": {
		"accessKeyId":     p.user.AccessKeyID,
		"secretAccessKey": p.user.SecretAccessKey,
		"securityToken":   p.user.SecurityToken,
		"expiration":      p.now().Add(p.life).UTC().Format("2006-01-02T15:04:05.000000Z"),
	}}
	// Strings only: it cannot fail.
	text, _ := json.Marshal(answer)
	return &Response{Body: string(text)}
}
