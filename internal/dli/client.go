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
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"regexp"
	"sync/atomic"
	"time"
)

const (
	defaultTimeout      = 10 * time.Second
	defaultMaxIdleConns = 64
	defaultUserAgent    = "dli-operator"
)

var (
	projectIDForm = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
	// jobIDForm is wider than the API document's rule, which its own examples,
	// all of them UUIDs, break.
	jobIDForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
)

// Config says where a Client asks, and how.
type Config struct {
	// Endpoint is the base URL, as ResolveEndpoint returns it.
	Endpoint string
	// ProjectID is the id of the project that the jobs are in, not its name.
	ProjectID string
	// CABundle holds the certificates, in PEM, that sign the endpoint's; nil
	// means those that the system trusts.
	CABundle []byte
	// AllowInsecure permits http and every address: for demonstrations and
	// tests.
	AllowInsecure bool
	// Timeout bounds a request from its first byte to the last one of the
	// answer; 0 means 10 s.
	Timeout time.Duration
	// MaxIdleConns is how many connections are kept alive; 0 means 64.
	MaxIdleConns int
	// UserAgent names the program to the service; "" means dli-operator.
	UserAgent string
	// Now is the clock for signatures, Retry-After and ClockSkew; nil means time.Now.
	Now func() time.Time
}

// Client asks one endpoint about the jobs of one project. It is safe for
// concurrent use and keeps no credentials.
type Client struct {
	endpoint  *url.URL
	projectID string
	timeout   time.Duration
	userAgent string
	now       func() time.Time
	network   network
	// A transport rather than an http.Client: nothing here wants redirects,
	// which would carry credentials elsewhere, or cookies.
	transport *http.Transport
	opened    atomic.Uint64
}

// NewClient returns a client of its own connections; CloseIdleConnections
// releases them. Its error is an *Error of KindConfig: the endpoint, the
// project's id or the CA bundle cannot be used. The proxy is the one that the
// environment names for the endpoint at this time.
func NewClient(config Config) (*Client, error) {
	endpoint, err := parseEndpoint(config.Endpoint, config.AllowInsecure)
	if err != nil {
		return nil, err
	}
	if !projectIDForm.MatchString(config.ProjectID) {
		return nil, misconfigured("the project ID must be 1 to 64 letters and digits; it is not the project's name")
	}
	tlsConfig, err := tlsConfigFor(config.CABundle)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyFor(endpoint)
	if err != nil {
		return nil, err
	}

	c := &Client{
		endpoint:  endpoint,
		projectID: config.ProjectID,
		timeout:   config.Timeout,
		userAgent: config.UserAgent,
		now:       config.Now,
	}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if c.userAgent == "" {
		c.userAgent = defaultUserAgent
	}
	if c.now == nil {
		c.now = time.Now
	}
	maxIdle := config.MaxIdleConns
	if maxIdle <= 0 {
		maxIdle = defaultMaxIdleConns
	}
	c.network = network{endpoint: endpoint, proxy: proxy, timeout: c.timeout}
	dial := newDialer(endpoint, proxy, config.AllowInsecure, c.timeout, &c.opened)
	c.transport = newTransport(dial, proxy, tlsConfig, maxIdle, c.timeout)
	return c, nil
}

func tlsConfigFor(caBundle []byte) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(caBundle) == 0 {
		return config, nil
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(caBundle) {
		return nil, misconfigured("the CA bundle contains no PEM certificate")
	}
	return config, nil
}

// CloseIdleConnections closes the connections that are kept alive. The client
// can be used after it.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

// OpenedConnections counts the TCP connections opened since NewClient.
func (c *Client) OpenedConnections() uint64 { return c.opened.Load() }

// JobStatus asks DLI for the status of a job.
//
// The error is an *Error, but for one case: when ctx is cancelled, it is ctx's
// own. An id or credentials that cannot be sent are refused without a request.
func (c *Client) JobStatus(ctx context.Context, creds Credentials, jobID string) (*JobStatus, error) {
	q, err := c.statusQuestion(jobID)
	if err != nil {
		return nil, err
	}
	return ask(ctx, c, creds, q, statusOf(jobID))
}

func (c *Client) statusQuestion(jobID string) (question, error) {
	if err := checkJobID(jobID); err != nil {
		return question{}, err
	}
	return question{path: c.jobsPath("v1.0") + "/" + url.PathEscape(jobID) + "/status", limits: jobLimits}, nil
}

// checkJobID refuses an id that no path can hold.
func checkJobID(jobID string) error {
	if !jobIDForm.MatchString(jobID) {
		return &Error{Kind: KindRejected, Message: "the job ID must be 1 to 64 letters, digits, hyphens and underscores, and start with a letter or digit"}
	}
	return nil
}

// jobsPath is the path of the project's jobs in a version of the API.
func (c *Client) jobsPath(version string) string {
	return "/" + version + "/" + url.PathEscape(c.projectID) + "/jobs"
}

// newTransport returns a transport of one endpoint. A transport goes on opening
// a connection after the request that wanted it has given up, for the next one
// to use; timeout bounds that, so that a dead endpoint holds no more than the
// dials of its last few requests.
func newTransport(dial dialFunc, proxy *url.URL, tlsConfig *tls.Config, maxIdle int, timeout time.Duration) *http.Transport {
	transport := &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: timeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        maxIdle,
		MaxIdleConnsPerHost: maxIdle,
		// Polls come in bursts, some minutes apart: what one has opened is kept for
		// the next.
		IdleConnTimeout: 5 * time.Minute,
		// An answer has few headers; what sends more is not DLI.
		MaxResponseHeaderBytes: 64 << 10,
		// All requests share one HTTP/2 connection: without pings they would
		// wait on a dead one until the kernel gives it up, many minutes later.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	if proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
		transport.OnProxyConnectResponse = checkProxy
	}
	return transport
}
