// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

const (
	headerProjectID     = "X-Project-Id"
	headerAuthToken     = "X-Auth-Token"
	headerSecurityToken = "X-Security-Token"
	headerDate          = "X-Sdk-Date"
	headerAuthorization = "Authorization"

	dateForm = "20060102T150405Z"
	// emptyBody is the hash of the body of a GET.
	emptyBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// newRequest builds and authenticates the request for a question. It also returns the
// signature, "" for a token, because it must be redacted.
func (c *Client) newRequest(ctx context.Context, creds Credentials, q question) (r *http.Request, signature string, err error) {
	signer, err := c.signerOf(creds)
	if err != nil {
		return nil, "", err
	}
	path, query := c.endpoint.Path+q.path, q.rawQuery()
	// One allocation for what is referred to by the request. The values of the template are
	// shared by all requests: nobody changes them.
	parts := &struct {
		url                         url.URL
		secret, date, authorization [1]string
	}{url: url.URL{Scheme: c.endpoint.Scheme, Host: c.endpoint.Host, Path: path, RawQuery: query}}
	r = c.template.WithContext(ctx)
	r.URL, r.Header = &parts.url, maps.Clone(c.template.Header)
	if creds.Token != "" {
		parts.secret[0] = creds.Token
		r.Header[headerAuthToken] = parts.secret[:]
		return r, "", nil
	}
	parts.date[0] = c.signingDate()
	parts.authorization[0], signature = signer.sign(path, query, parts.date[0])
	r.Header[headerDate], r.Header[headerAuthorization] = parts.date[:], parts.authorization[:]
	if creds.SecurityToken != "" {
		parts.secret[0] = creds.SecurityToken
		r.Header[headerSecurityToken] = parts.secret[:]
	}
	return r, signature, nil
}

// newTemplate returns what all requests of a client have in common.
func newTemplate(endpoint *url.URL, projectID, userAgent, language string) *http.Request {
	return &http.Request{
		Method: http.MethodGet,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Host: hostHeader(endpoint),
		Header: http.Header{
			"Content-Type":  {"application/json"},
			"User-Agent":    {userAgent},
			"X-Language":    {language},
			headerProjectID: {projectID},
		},
	}
}

// hostHeader is the host as it is sent and signed: without the scheme's own port, which
// whatever is in between may remove.
func hostHeader(endpoint *url.URL) string {
	port := map[string]string{"https": ":443", "http": ":80"}[endpoint.Scheme]
	return strings.TrimSuffix(endpoint.Host, port)
}

// signer signs the requests of a client with an access key. What is the same in all of them
// is prepared once.
type signer struct {
	creds Credentials
	// head is what a canonical request has between the query and the date, tail what it has
	// after it, and authorization the header's value up to the signature.
	head, tail, authorization string
	// states are signingStates that are not in use.
	states sync.Pool
}

// signingState is what one signature needs: memory, and the keyed hash.
type signingState struct {
	mac  hash.Hash
	text []byte
}

// signerOf returns the signer for credentials. It is the last one if they have not changed.
// The error is an *Error: the credentials are invalid.
func (c *Client) signerOf(creds Credentials) (*signer, error) {
	if last := c.lastSigner.Load(); last != nil && last.creds == creds {
		return last, nil
	}
	if err := creds.Validate(); err != nil {
		return nil, &Error{Kind: KindAuth, Message: "the source of the credentials " + err.Error()}
	}
	s := newSigner(creds, c.template.Host, c.projectID)
	c.lastSigner.Store(s)
	return s, nil
}

func newSigner(creds Credentials, host, projectID string) *signer {
	names, token := "host;x-project-id;x-sdk-date", ""
	if creds.SecurityToken != "" {
		names, token = names+";x-security-token", "\nx-security-token:"+creds.SecurityToken
	}
	s := &signer{
		creds:         creds,
		head:          "\nhost:" + host + "\nx-project-id:" + projectID + "\nx-sdk-date:",
		tail:          token + "\n\n" + names + "\n" + emptyBody,
		authorization: "SDK-HMAC-SHA256 Access=" + creds.AccessKeyID + ", SignedHeaders=" + names + ", Signature=",
	}
	s.states.New = func() any {
		return &signingState{mac: hmac.New(sha256.New, []byte(creds.SecretAccessKey))}
	}
	return s
}

// sign returns the value of the header Authorization, and the signature in it, of a GET
// without a body. Nothing in the path needs escaping; the query is sorted and escaped. The
// signature is, with the access key's secret as key, the HMAC-SHA256 of
//
//	SDK-HMAC-SHA256 \n date \n hex(sha256(canonical request))
//
// and the canonical request
//
//	GET \n path/ \n query \n name:value\n... \n names \n hex(sha256(body))
//
// The host is signed so that an endpoint cannot use what it receives at another one.
func (s *signer) sign(path, query, date string) (authorization, signature string) {
	state := s.states.Get().(*signingState)
	defer s.states.Put(state)
	b := state.text[:0]
	b = append(b, "GET\n"...)
	b = append(b, path...)
	b = append(b, "/\n"...)
	b = append(b, query...)
	b = append(b, s.head...)
	b = append(b, date...)
	b = append(b, s.tail...)
	sum := sha256.Sum256(b)

	b = append(b[:0], "SDK-HMAC-SHA256\n"...)
	b = append(b, date...)
	b = append(b, '\n')
	b = hex.AppendEncode(b, sum[:])
	state.mac.Reset()
	_, _ = state.mac.Write(b)

	b = state.mac.Sum(b[:0])
	b = append(b, s.authorization...)
	b = hex.AppendEncode(b, b[:sha256.Size])
	state.text = b
	authorization = string(b[sha256.Size:])
	return authorization, authorization[len(s.authorization):]
}

// signingDate is the time of the client's clock in dateForm. Requests come in bursts, and
// share it for a second.
func (c *Client) signingDate() string {
	now := c.now()
	if last := c.lastDate.Load(); last != nil && last.second == now.Unix() {
		return last.text
	}
	date := &formattedDate{second: now.Unix(), text: now.UTC().Format(dateForm)}
	c.lastDate.Store(date)
	return date.text
}

type formattedDate struct {
	second int64
	text   string
}

// Validate returns an error if a request cannot be made with the credentials. The
// error completes a sentence about their source, such as "Secret x lacks
// secretAccessKey", and names the parts like the keys of the Secret.
func (creds Credentials) Validate() error {
	hasKey := creds.AccessKeyID != "" || creds.SecretAccessKey != "" || creds.SecurityToken != ""
	switch {
	case creds.Token != "" && hasKey:
		return errors.New("holds both an access key and a token")
	case creds.Token != "":
	case !hasKey:
		return errors.New("holds no credentials")
	case creds.AccessKeyID == "":
		return errors.New("lacks accessKeyID")
	case creds.SecretAccessKey == "":
		return errors.New("lacks secretAccessKey")
	}
	for _, part := range []struct{ name, text string }{
		{"accessKeyID", creds.AccessKeyID},
		{"secretAccessKey", creds.SecretAccessKey},
		{"securityToken", creds.SecurityToken},
		{"token", creds.Token},
	} {
		if strings.ContainsFunc(part.text, unsendable) {
			return fmt.Errorf("has invalid characters in %s", part.name)
		}
	}
	return nil
}

// unsendable reports whether r is invalid in a credential: usually it is the newline of
// a file that a Secret was created from.
func unsendable(r rune) bool { return r <= ' ' || r >= 0x7f }
