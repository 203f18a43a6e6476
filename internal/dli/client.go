// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"cmp"
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
	defaultLanguage     = "en-us"
	// connBufferBytes is half of what net/http uses.
	connBufferBytes = 2 << 10
)

var (
	projectIDForm = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
	// jobIDForm is wider than the API document's rule, which the document's own
	// examples, all of them UUIDs, violate.
	jobIDForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
)

// Config configures a Client.
type Config struct {
	// Endpoint is the base URL, as returned by ResolveEndpoint.
	Endpoint string
	// ProjectID is the ID of the project of the jobs, not its name.
	ProjectID string
	// CABundle holds the CA certificates, in PEM, that sign the endpoint's
	// certificate; nil means the system's.
	CABundle []byte
	// AllowInsecure permits http and every address: for demonstrations and
	// tests.
	AllowInsecure bool
	// Timeout limits a request from its first byte to the last one of the answer, to the
	// hundredth; 0 means 10 s.
	Timeout time.Duration
	// MaxIdleConns is how many idle connections are kept; 0 means 64.
	MaxIdleConns int
	// UserAgent is sent to the service; "" means dli-operator.
	UserAgent string
	// Language is the language of the service's messages, such as zh-cn; "" means en-us.
	Language string
	// Budget limits the memory of responses, together with all other clients that have
	// it; nil means one of DefaultResponseBytes for this client alone.
	Budget *ResponseBudget
	// Now is the clock for signatures, Retry-After and ClockSkew; nil means time.Now.
	Now func() time.Time
}

// Client reads the jobs of one project from one endpoint. It is safe for concurrent
// use, and of credentials it only remembers the latest.
type Client struct {
	endpoint  *url.URL
	projectID string
	timeout   time.Duration
	userAgent string
	budget    *ResponseBudget
	now       func() time.Time
	network   network
	template  *http.Request
	// lastDate and lastSigner are what the latest request was signed with, and lastTimeout
	// its context.
	lastDate    atomic.Pointer[formattedDate]
	lastSigner  atomic.Pointer[signer]
	lastTimeout atomic.Pointer[sharedTimeout]
	// A transport rather than an http.Client, because redirects, which would send
	// credentials elsewhere, and cookies are unwanted.
	transport *http.Transport
	opened    atomic.Uint64
}

// NewClient returns a client with its own connections; CloseIdleConnections
// releases them. Its error is an *Error of KindConfig: the endpoint, project ID or
// CA bundle is invalid. The proxy is the one set for the endpoint in the environment
// at this time.
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
	if !config.AllowInsecure {
		if err := checkProxied(endpoint, proxy); err != nil {
			return nil, err
		}
	}

	c := &Client{
		endpoint:  endpoint,
		projectID: config.ProjectID,
		timeout:   config.Timeout,
		userAgent: config.UserAgent,
		budget:    config.Budget,
		now:       config.Now,
	}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if c.userAgent == "" {
		c.userAgent = defaultUserAgent
	}
	if c.budget == nil {
		c.budget = NewResponseBudget(DefaultResponseBytes)
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.template = newTemplate(endpoint, c.projectID, c.userAgent, cmp.Or(config.Language, defaultLanguage))
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

// CloseIdleConnections closes idle connections. The client remains usable.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

// OpenedConnections counts the TCP connections opened since NewClient.
func (c *Client) OpenedConnections() uint64 { return c.opened.Load() }

// JobType is a type of job, each with calls of its own.
type JobType string

// The types of jobs.
const (
	// JobTypeSQL is a SQL job; so is the zero value.
	JobTypeSQL JobType = "SQL"
	// JobTypeSpark is a Spark job, which DLI calls a batch.
	JobTypeSpark JobType = "Spark"
)

// HasProgress reports whether DLI can report the progress of a job of the type.
func (t JobType) HasProgress() bool { return t != JobTypeSpark }

// Status returns the status of a job of a type: see JobStatus and BatchStatus.
func (c *Client) Status(ctx context.Context, creds Credentials, jobType JobType, id string) (*JobStatus, error) {
	if jobType == JobTypeSpark {
		return c.BatchStatus(ctx, creds, id)
	}
	return c.JobStatus(ctx, creds, id)
}

// List returns a page of the jobs of a type: see ListJobs and ListBatches.
func (c *Client) List(ctx context.Context, creds Credentials, jobType JobType, options ListOptions) (*JobList, error) {
	if jobType == JobTypeSpark {
		return c.ListBatches(ctx, creds, options)
	}
	return c.ListJobs(ctx, creds, options)
}

// JobStatus returns the status of a SQL job.
//
// The error is an *Error, except if ctx is cancelled, when it is ctx's own, or if there
// are too many large responses at once, when it is ErrNoBudget and to be tried again. An
// invalid ID or credentials are rejected without a request.
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

// checkJobID rejects an ID that is invalid in a path.
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

// newTransport returns a transport for one endpoint. A transport continues to open a
// connection after the request that needed it has given up, so that the next one can
// use it; timeout limits that, so that a dead endpoint only holds the dials of its
// last few requests.
func newTransport(dial dialFunc, proxy *url.URL, tlsConfig *tls.Config, maxIdle int, timeout time.Duration) *http.Transport {
	transport := &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: timeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        maxIdle,
		MaxIdleConnsPerHost: maxIdle,
		// A request or response about a job fits, and an idle connection keeps its buffers.
		ReadBufferSize:  connBufferBytes,
		WriteBufferSize: connBufferBytes,
		// Polls come in bursts, some minutes apart, and reuse connections.
		IdleConnTimeout: 5 * time.Minute,
		// DLI sends few headers.
		MaxResponseHeaderBytes: 64 << 10,
		// All requests share one HTTP/2 connection: without pings they would wait on a
		// dead one until the kernel gives up, many minutes later.
		// A response must not fill memory before it has its share of the budget.
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second,
			MaxReceiveBufferPerStream: smallBytes,
		},
	}
	if proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
		transport.OnProxyConnectResponse = checkProxy
	}
	return transport
}
