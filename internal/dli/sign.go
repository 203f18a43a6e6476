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
	"maps"
	"net/http"
	"net/url"
	"strings"
)

const (
	headerProjectID     = "X-Project-Id"
	headerAuthToken     = "X-Auth-Token"
	headerSecurityToken = "X-Security-Token"
	headerDate          = "X-Sdk-Date"

	dateForm = "20060102T150405Z"
	// emptyBody is the hash of the body of a GET.
	emptyBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	// canonicalBytes is more than a request without a security token needs.
	canonicalBytes = 512
)

// newRequest builds and authenticates the request for a question. It also returns the
// signature, "" for a token, because it must be redacted.
func (c *Client) newRequest(ctx context.Context, creds Credentials, q question) (r *http.Request, signature string, err error) {
	if err := creds.Validate(); err != nil {
		return nil, "", &Error{Kind: KindAuth, Message: "the source of the credentials " + err.Error()}
	}
	path, query := c.endpoint.Path+q.path, q.rawQuery()
	r = c.template.WithContext(ctx)
	r.URL = &url.URL{Scheme: c.endpoint.Scheme, Host: c.endpoint.Host, Path: path, RawQuery: query}
	// The values are shared by all requests: nobody changes them.
	r.Header = make(http.Header, len(c.template.Header)+3)
	maps.Copy(r.Header, c.template.Header)
	if creds.Token != "" {
		r.Header[headerAuthToken] = []string{creds.Token}
		return r, "", nil
	}
	date := c.signingDate()
	signature = sign(creds, canonicalRequest{
		path: path, query: query, host: r.Host, projectID: c.projectID, date: date, securityToken: creds.SecurityToken,
	})
	r.Header[headerDate] = []string{date}
	if creds.SecurityToken != "" {
		r.Header[headerSecurityToken] = []string{creds.SecurityToken}
	}
	r.Header["Authorization"] = []string{"SDK-HMAC-SHA256 Access=" + creds.AccessKeyID +
		", SignedHeaders=" + signedHeaders(creds.SecurityToken != "") + ", Signature=" + signature}
	return r, signature, nil
}

// newTemplate returns what all requests of a client have in common.
func newTemplate(endpoint *url.URL, projectID, userAgent string) *http.Request {
	return &http.Request{
		Method: http.MethodGet,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Host: hostHeader(endpoint),
		Header: http.Header{
			"Content-Type": {"application/json"},
			"User-Agent":   {userAgent},
			// Without it, DLI may explain errors in Chinese.
			"X-Language":    {"en-us"},
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

// canonicalRequest is what a signature covers: a GET without a body. Nothing in it needs
// escaping, but for the query, which is sorted and escaped.
type canonicalRequest struct {
	path, query                          string
	host, projectID, date, securityToken string
}

// sign returns the signature of a request: with the access key's secret as key, the
// HMAC-SHA256 of
//
//	SDK-HMAC-SHA256 \n date \n hex(sha256(canonical request))
func sign(creds Credentials, r canonicalRequest) string {
	var buffer [canonicalBytes]byte
	sum := sha256.Sum256(r.appendTo(buffer[:0]))

	text := append(make([]byte, 0, 128), "SDK-HMAC-SHA256\n"...)
	text = append(text, r.date...)
	text = append(text, '\n')
	text = hex.AppendEncode(text, sum[:])
	mac := hmac.New(sha256.New, []byte(creds.SecretAccessKey))
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(sum[:0]))
}

// appendTo appends the canonical request:
//
//	GET \n path/ \n query \n name:value\n... \n names \n hex(sha256(body))
//
// The host is signed so that an endpoint cannot use what it receives at another one.
func (r canonicalRequest) appendTo(b []byte) []byte {
	b = append(b, "GET\n"...)
	b = append(b, r.path...)
	b = append(b, "/\n"...)
	b = append(b, r.query...)
	b = append(b, "\nhost:"...)
	b = append(b, r.host...)
	b = append(b, "\nx-project-id:"...)
	b = append(b, r.projectID...)
	b = append(b, "\nx-sdk-date:"...)
	b = append(b, r.date...)
	if r.securityToken != "" {
		b = append(b, "\nx-security-token:"...)
		b = append(b, r.securityToken...)
	}
	b = append(b, "\n\n"...)
	b = append(b, signedHeaders(r.securityToken != "")...)
	b = append(b, '\n')
	return append(b, emptyBody...)
}

// signedHeaders names the headers of a canonical request.
func signedHeaders(isTemporary bool) string {
	if isTemporary {
		return "host;x-project-id;x-sdk-date;x-security-token"
	}
	return "host;x-project-id;x-sdk-date"
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
