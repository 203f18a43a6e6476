/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package dli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
)

const (
	headerProjectID     = "X-Project-Id"
	headerAuthToken     = "X-Auth-Token"
	headerSecurityToken = "X-Security-Token"
	headerDate          = "X-Sdk-Date"

	dateForm = "20060102T150405Z"
)

// newRequest builds and authenticates the request for a question. It also returns the
// signature, "" for a token, because it must be redacted.
func (c *Client) newRequest(ctx context.Context, creds Credentials, q question) (r *http.Request, signature string, err error) {
	if err := creds.Validate(); err != nil {
		return nil, "", &Error{Kind: KindAuth, Message: "the source of the credentials " + err.Error()}
	}
	target := *c.endpoint
	target.Path += q.path
	target.RawQuery = q.rawQuery()
	r, err = http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, "", misconfigured("the endpoint and the request path do not form a valid URL")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", c.userAgent)
	// Without it, DLI may explain errors in Chinese.
	r.Header.Set("X-Language", "en-us")

	if creds.Token != "" {
		r.Header.Set(headerProjectID, c.projectID)
		r.Header.Set(headerAuthToken, creds.Token)
		return r, "", nil
	}
	signature, err = c.sign(r, creds, q.query)
	return r, signature, err
}

// sign adds the signed headers and the signature to r, and returns the signature. Each
// SDK request is only signed once: signing it again would keep the old date.
func (c *Client) sign(r *http.Request, creds Credentials, query url.Values) (signature string, err error) {
	builder := request.NewHttpRequestBuilder().
		WithEndpoint(c.endpoint.Scheme+"://"+c.endpoint.Host).
		WithPath(r.URL.Path).
		WithMethod(r.Method).
		AddHeaderParam("Content-Type", r.Header.Get("Content-Type")).
		AddHeaderParam(headerProjectID, c.projectID).
		AddHeaderParam(headerDate, c.now().UTC().Format(dateForm))
	if creds.SecurityToken != "" {
		builder.AddHeaderParam(headerSecurityToken, creds.SecurityToken)
	}
	for name, values := range query {
		// The signer silently ignores anything that is not a reflect.Value.
		builder.AddQueryParam(name, reflect.ValueOf(values))
	}
	unsigned := builder.Build()
	signed, err := signer.Sign(unsigned, creds.AccessKeyID, creds.SecretAccessKey)
	if err != nil {
		return "", &Error{Kind: KindAuth, Message: "the request cannot be signed with this access key"}
	}
	for name, value := range unsigned.GetHeaderParams() {
		r.Header.Set(name, value)
	}
	for name, value := range signed {
		r.Header.Set(name, value)
	}
	_, signature, _ = strings.Cut(r.Header.Get("Authorization"), "Signature=")
	return signature, nil
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
