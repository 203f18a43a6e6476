// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// Proxy is a proxy for an API server. Its methods are safe for concurrent use.
//
// It serves HTTP without TLS on loopback. Requests with a token are forwarded with it,
// all others as the user of the config that the proxy was created with.
type Proxy struct {
	address string
	handler http.Handler

	mu     sync.Mutex
	server *http.Server // nil while stopped
	rules  []rule
	// lost counts the writes that may be lost.
	lost int
	// watches is the status with which new watches are rejected; 0 for none.
	watches int
	writes  map[Write]int
}

// Write describes writes, which the proxy counts.
type Write struct {
	// Method is PATCH, PUT, POST or DELETE.
	Method string
	// Resource is the plural, with the subresource if there is one: dlijobs/status.
	Resource string
	// Status is the HTTP status of the response; 0 if there was none.
	Status int
}

// rule is how writes of some resources are treated, or all if there are none.
type rule struct {
	resources []string
	treatment
}

// treatment is what happens to a write.
type treatment struct {
	wait time.Duration
	// isHeld is set if the write arrives even if the client no longer waits for it.
	isHeld bool
	// isLossy is set if every second response is lost.
	isLossy bool
	// status is the one with which it is rejected; 0 if it is not.
	status int
}

// NewProxy starts a proxy for the API server of a config.
func NewProxy(config *rest.Config) (*Proxy, error) {
	target, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	asUser, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	asBearer, err := rest.TransportFor(rest.AnonymousClientConfig(config))
	if err != nil {
		return nil, err
	}
	p := &Proxy{address: "127.0.0.1:0", writes: map[Write]int{}}
	p.handler = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
		},
		Transport: credentials{asUser: asUser, asBearer: asBearer},
		// Watch events must not be buffered.
		FlushInterval: -1,
		// Tests that stop the API server expect these errors.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			// The client sees a broken connection, as it would without a proxy.
			panic(http.ErrAbortHandler)
		},
	}
	return p, p.Resume()
}

// credentials forwards each request with its own credentials.
type credentials struct{ asUser, asBearer http.RoundTripper }

func (c credentials) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") != "" {
		return c.asBearer.RoundTrip(r)
	}
	return c.asUser.RoundTrip(r)
}

// Config returns the client config for the proxy.
func (p *Proxy) Config() *rest.Config { return &rest.Config{Host: "http://" + p.address, QPS: -1} }

// Delay delays writes of the resources, or of all if there are none. It replaces an
// earlier delay of the same resources; 0 ends it.
func (p *Proxy) Delay(d time.Duration, resources ...string) {
	p.treat(resources, func(t *treatment) { t.wait, t.isHeld = d, false })
}

// Hold is Delay for writes that are on their way in the network: they arrive even if the
// client has given up or ended.
func (p *Proxy) Hold(d time.Duration, resources ...string) {
	p.treat(resources, func(t *treatment) { t.wait, t.isHeld = d, d > 0 })
}

// LoseResponses loses every second response to writes of the resources: the API server has
// done what was asked, and the client sees a broken connection.
func (p *Proxy) LoseResponses(on bool, resources ...string) {
	p.treat(resources, func(t *treatment) { t.isLossy = on })
}

// Refuse rejects writes of the resources, or of all if there are none, with an HTTP
// status. It replaces an earlier refusal of the same resources; 0 ends it.
func (p *Proxy) Refuse(status int, resources ...string) {
	p.treat(resources, func(t *treatment) { t.status = status })
}

func (p *Proxy) treat(resources []string, change func(*treatment)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.rules, func(r rule) bool { return slices.Equal(r.resources, resources) })
	if i < 0 {
		i, p.rules = len(p.rules), append(p.rules, rule{resources: resources})
	}
	change(&p.rules[i].treatment)
}

// RefuseWatches rejects new watches with an HTTP status: 410 makes clients list again.
// 0 ends it.
func (p *Proxy) RefuseWatches(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches = status
}

// Stop breaks all connections and accepts no others, as if the API server were down.
func (p *Proxy) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil
	}
	err := p.server.Close()
	p.server = nil
	return err
}

// Resume accepts connections again after Stop.
func (p *Proxy) Resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return errors.New("the proxy is running")
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", p.address) //nolint:forbidigo // a listener lives until Stop
	if err != nil {
		return fmt.Errorf("starting the proxy: %w", err)
	}
	p.address = listener.Addr().String()
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go func(server *http.Server) { _ = server.Serve(listener) }(p.server)
	return nil
}

// Writes returns the number of writes since the start or the last Reset.
func (p *Proxy) Writes() map[Write]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.writes)
}

// Count returns the number of writes that meet a condition.
func (p *Proxy) Count(is func(Write) bool) (n int) {
	for write, times := range p.Writes() {
		if is(write) {
			n += times
		}
	}
	return n
}

// Reset sets all counts to zero.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes = map[Write]int{}
}

// ServeHTTP forwards a request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains([]string{http.MethodPatch, http.MethodPut, http.MethodPost, http.MethodDelete}, r.Method) {
		p.read(w, r)
		return
	}
	write := Write{Method: r.Method, Resource: resource(r.URL.Path)}
	count := sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.writes[write]++
	})
	// Counted before the response is sent, so that whoever received it finds it
	// counted.
	answer := &recorder{ResponseWriter: w, answered: func(status int) { write.Status = status; count() }}
	defer count()
	treatment, isLost := p.treatmentOf(write.Resource)
	if treatment.isHeld {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r = r.WithContext(context.WithoutCancel(r.Context()))
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if treatment.wait > 0 {
		select {
		case <-time.After(treatment.wait):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case treatment.status > 0:
		http.Error(answer, "rejected by the proxy", treatment.status)
	case isLost:
		p.handler.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		p.handler.ServeHTTP(answer, r)
	}
}

func (p *Proxy) read(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	status := p.watches
	p.mu.Unlock()
	if status > 0 && r.URL.Query().Get("watch") == "true" {
		http.Error(w, "rejected by the proxy", status)
		return
	}
	p.handler.ServeHTTP(w, r)
}

// treatmentOf returns the treatment of a write, and whether its response is lost.
func (p *Proxy) treatmentOf(resource string) (t treatment, isLost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		if len(r.resources) == 0 || slices.Contains(r.resources, resource) {
			t = treatment{max(t.wait, r.wait), t.isHeld || r.isHeld, t.isLossy || r.isLossy, max(t.status, r.status)}
		}
	}
	if t.isLossy {
		p.lost++
	}
	return t, t.isLossy && p.lost%2 == 0
}

// recorder reports the status of a response before it is sent.
type recorder struct {
	http.ResponseWriter

	answered func(status int)
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.answered(status)
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController flush.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// resource returns the resource and subresource in the path of a request:
//
//	/api/v1/namespaces/{namespace}/{resource}/{name}/{subresource} @2
func resource(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return path
	}
	if len(parts) > 2 && parts[0] == "namespaces" && parts[2] != "status" && parts[2] != "finalize" {
		parts = parts[2:]
	}
	if len(parts) > 2 {
		return parts[0] + "/" + parts[2]
	}
	return parts[0]
}
