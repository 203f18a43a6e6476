// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// podIdentityURI and podIdentityTokenFile are the environment variables that
	// CCE sets in a pod that has an identity.
	podIdentityURI       = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	podIdentityTokenFile = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"

	podIdentityTimeout = 10 * time.Second
	// maxPodIdentityBytes limits the token file and the answer, each.
	maxPodIdentityBytes = 64 << 10
)

// PodIdentity fetches the temporary credentials that CCE provides to the pod: it
// sends the token in a file to a URI, which returns an access key. It caches nothing.
type PodIdentity struct {
	uri       *url.URL
	tokenFile string
	transport *http.Transport
	now       func() time.Time
}

// PodIdentityFromEnv returns the identity that CCE sets in the environment. Its error
// is an *Error of KindConfig: the pod has none, or an invalid one.
func PodIdentityFromEnv() (*PodIdentity, error) {
	uri, tokenFile := os.Getenv(podIdentityURI), os.Getenv(podIdentityTokenFile)
	if uri == "" || tokenFile == "" {
		return nil, misconfigured("this pod has no identity: CCE sets %s and %s in a pod whose service account has one", podIdentityURI, podIdentityTokenFile)
	}
	return NewPodIdentity(uri, tokenFile)
}

// NewPodIdentity returns the identity that is provided at a URI, http or https, for
// the token in a file. Its error is an *Error of KindConfig.
func NewPodIdentity(uri, tokenFile string) (*PodIdentity, error) {
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return nil, misconfigured("the URI of the pod's identity must be an http or https URL")
	case u.User != nil || u.Fragment != "":
		return nil, misconfigured("the URI of the pod's identity must not contain a user, password or fragment")
	case tokenFile == "":
		return nil, misconfigured("the pod's identity needs a token file")
	}
	return &PodIdentity{
		uri:       u,
		tokenFile: tokenFile,
		now:       time.Now,
		// Fetches are rare, so connections are not kept; the service is local to the
		// node, so no proxy is used.
		transport: &http.Transport{
			DisableKeepAlives:   true,
			DialContext:         (&net.Dialer{Timeout: podIdentityTimeout}).DialContext,
			TLSHandshakeTimeout: podIdentityTimeout,
		},
	}, nil
}

// Fetch returns temporary credentials and when they expire. It takes at most 10 s.
// The error is an *Error, except if ctx is cancelled: then it is ctx's own.
func (p *PodIdentity) Fetch(ctx context.Context) (Credentials, time.Time, error) {
	token, err := p.token()
	if err != nil {
		return Credentials{}, time.Time{}, err
	}
	timed, cancel := context.WithTimeout(ctx, podIdentityTimeout)
	defer cancel()
	network := network{endpoint: p.uri, timeout: podIdentityTimeout}

	r, err := http.NewRequestWithContext(timed, http.MethodPost, p.uri.String(), strings.NewReader("{}"))
	if err != nil {
		return Credentials{}, time.Time{}, misconfigured("the URI of the pod's identity is not valid")
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("Authorization", token)
	response, err := p.transport.RoundTrip(r)
	if err != nil {
		return Credentials{}, time.Time{}, network.failure(ctx, 0, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPodIdentityBytes+1))
	if err != nil {
		return Credentials{}, time.Time{}, network.failure(ctx, response.StatusCode, err)
	}

	if response.StatusCode != http.StatusOK {
		hide := secretsOf(Credentials{Token: token}, "")
		return Credentials{}, time.Time{}, errorFrom(answer{
			status: response.StatusCode, header: response.Header, body: body, now: p.now(),
		}, &hide)
	}
	return p.read(body)
}

// token reads the token of the pod. The file is read for each fetch, because the
// kubelet replaces the token before it expires.
func (p *PodIdentity) token() (string, error) {
	file, err := os.Open(p.tokenFile)
	if err != nil {
		return "", misconfigured("the token of the pod's identity cannot be read: cannot open %s", p.tokenFile)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPodIdentityBytes+1))
	token := string(bytes.TrimSpace(text))
	switch {
	case err != nil:
		return "", misconfigured("the token of the pod's identity cannot be read: cannot read %s", p.tokenFile)
	case token == "", len(text) > maxPodIdentityBytes, strings.ContainsFunc(token, unsendable):
		return "", misconfigured("the token of the pod's identity cannot be used: %s contains no valid token", p.tokenFile)
	}
	return token, nil
}

// read reads the answer:
//
//	{"credentials":{"accessKeyId":"","secretAccessKey":"","securityToken":"","expiration":"2026-01-01T00:00:00Z"}}
func (p *PodIdentity) read(body []byte) (creds Credentials, expiry time.Time, err error) {
	object, ok := parseJSON(body)
	if !ok || len(body) > maxPodIdentityBytes {
		return Credentials{}, time.Time{}, invalid("the response with the pod's identity is not one JSON value")
	}
	var said identityBody
	readObject(object, &said)
	creds = Credentials{
		AccessKeyID:     string(said.Credentials.AccessKeyID),
		SecretAccessKey: string(said.Credentials.SecretAccessKey),
		SecurityToken:   string(said.Credentials.SecurityToken),
	}
	expiry, _ = time.Parse(time.RFC3339, string(said.Credentials.Expiration))
	switch {
	case creds.SecurityToken == "" || creds.Validate() != nil:
		return Credentials{}, time.Time{}, invalid("the response with the pod's identity has no temporary access key")
	case !expiry.After(p.now()):
		return Credentials{}, time.Time{}, invalid("the response with the pod's identity has an access key that has expired or has no expiration time")
	}
	return creds, expiry, nil
}
