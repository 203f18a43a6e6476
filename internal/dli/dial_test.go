// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestForbiddenAddresses(t *testing.T) {
	for address, what := range map[string]string{
		"127.0.0.1":              "a loopback",
		"127.8.8.8":              "a loopback",
		"::1":                    "a loopback",
		"::ffff:127.0.0.1":       "a loopback",
		"169.254.169.254":        "a link-local",
		"::ffff:169.254.169.254": "a link-local",
		"fe80::1":                "a link-local",
		"fe80::1%eth0":           "a link-local",
		"0.0.0.0":                "an unspecified",
		"::":                     "an unspecified",
		"::ffff:0.0.0.0":         "an unspecified",
		"224.0.0.1":              "a multicast",
		"239.255.255.250":        "a multicast",
		"ff02::1":                "a multicast",
		"ff0e::1":                "a multicast",
		"64:ff9b::7f00:1":        "a loopback",
		"64:ff9b::a9fe:a9fe":     "a link-local",
		"64:ff9b::":              "an unspecified",
		"2002:7f00:1::":          "a loopback",
		"2002:a9fe:a9fe::1":      "a link-local",
		"2002:6464:64c8::":       "a metadata service's",
		"::127.0.0.1":            "a loopback",
		"::a9fe:a9fe":            "a link-local",
		"fd00:ec2::254":          "a metadata service's",
		"fd00:ec2::254%eth0":     "a metadata service's",
		"100.100.100.200":        "a metadata service's",
		"64:ff9b::6464:64c8":     "a metadata service's",
		"::ffff:100.100.100.200": "a metadata service's",
		"64:ff9b::808:808":       "",
		"64:ff9b:1::7f00:1":      "a loopback",
		"2002:808:808::1":        "",
		"10.1.2.3":               "",
		"192.168.1.1":            "",
		"100.64.0.1":             "",
		"fd00::1":                "",
		"8.8.8.8":                "",
		"2001:db8::1":            "",
	} {
		err := checkAddress("dli.example.com", net.JoinHostPort(address, "443"))
		switch e, ok := AsError(err); {
		case what == "" && err != nil:
			t.Errorf("%s is rejected: %v", address, err)
		case what != "" && (!ok || e.Kind != KindConfig || !strings.Contains(e.Message, what)):
			t.Errorf("want %s rejected as %s address, got %v", address, what, err)
		}
	}
}

func TestEndpointResolvesToAForbiddenAddress(t *testing.T) {
	server := httptest.NewTLSServer(reply(200, finished))
	defer server.Close()
	_, port, err := net.SplitHostPort(hostOf(server))
	if err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, "https://localhost:"+port, func(c *Config) { c.AllowInsecure = false })
	_, err = client.JobStatus(background, accessKey, jobID)
	e, ok := AsError(err)
	if !ok || e.Kind != KindConfig || !strings.Contains(e.Message, "the endpoint localhost resolves to ") ||
		!strings.Contains(e.Message, "have the operator allow insecure endpoints") {
		t.Errorf("want an error of KindConfig, got %v", err)
	}
	if opened := client.OpenedConnections(); opened != 0 {
		t.Errorf("%d connections were opened", opened)
	}
}

// The proxy of TestProxyFromEnvironment has a loopback address, which is allowed for
// proxies; it decides itself where it connects to.
func TestProxyFromEnvironment(t *testing.T) {
	target := httptest.NewTLSServer(reply(200, finished))
	defer target.Close()
	tunnel := func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "example.com:443" || r.Header.Get("Proxy-Authorization") == "" {
			t.Errorf("got %s %s", r.Method, r.Host)
		}
		if r.Header.Get("Authorization") != "" {
			t.Error("the proxy received the signature")
		}
		there, err := net.Dial("tcp", hostOf(target))
		if err != nil {
			t.Error(err)
			return
		}
		// The client may send data as soon as it has the 200, so it is sent only when
		// this tunnel is the only reader of the connection, and what was read before is
		// forwarded.
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
		if _, err := there.Write(early); err != nil {
			t.Error(err)
		}
		fmt.Fprint(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go pipe(there, here)
		pipe(here, there)
	}
	for _, tc := range []struct {
		name  string
		proxy http.HandlerFunc
		want  any
	}{
		{"that opens a tunnel", tunnel, finishedStatus()},
		{"that forbids", reply(403, "no"), &Error{Kind: KindConfig, Message: "the proxy HOST answered HTTP 403; check the proxy set in the operator's environment"}},
		{"that requires a password", reply(407, "no"), &Error{Kind: KindConfig, Message: "the proxy HOST answered HTTP 407; check the proxy set in the operator's environment"}},
		{"that cannot connect", reply(502, "no"), &Error{Kind: KindUnreachable, Message: "the proxy HOST answered HTTP 502"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			proxy := httptest.NewServer(tc.proxy)
			defer proxy.Close()
			t.Setenv("HTTPS_PROXY", "http://user:pass1234@"+hostOf(proxy))
			t.Setenv("NO_PROXY", "")
			// The test server's certificate is for example.com.
			client := clientOf(t, "https://example.com", func(c *Config) {
				c.AllowInsecure = false
				c.CABundle = pemOf(target.Certificate())
			})
			if want, ok := tc.want.(*Error); ok {
				want.Message = strings.Replace(want.Message, "HOST", hostOf(proxy), 1)
			}
			status, err := client.JobStatus(background, accessKey, jobID)
			check(t, status, err, tc.want)
			client.CloseIdleConnections()
		})
	}

	for _, address := range []string{"169.254.169.254", "8.8.8.8", "[2001:db8::1]", "127.1", "2852039166", "0xa9fea9fe"} {
		t.Run("does not allow the address "+address, func(t *testing.T) {
			t.Setenv("HTTPS_PROXY", "http://proxy.corp.example:3128")
			if _, err := NewClient(Config{Endpoint: "https://" + address, ProjectID: projectID}); err == nil {
				t.Error("the endpoint is not rejected")
			}
		})
	}
}

func pipe(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

// TestSocketFailures covers every kernel error that has a message.
func TestSocketFailures(t *testing.T) {
	endpoint, err := parseEndpoint("https://dli.example.com/path", false)
	if err != nil {
		t.Fatal(err)
	}
	n := network{endpoint: endpoint, timeout: defaultTimeout}
	for _, failure := range socketFailures {
		cause := &net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{Port: 40000}, Err: failure.errno}
		e, ok := AsError(n.failure(context.Background(), 0, cause))
		if !ok || e.Kind != KindUnreachable || !strings.HasSuffix(e.Message, " dli.example.com:443") || !errors.Is(e.Err, failure.errno) {
			t.Errorf("%v: got %v", failure.errno, e)
		}
	}
}
