// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// newDialer returns a function that opens connections, each counted in opened.
//
// Unless insecure, it rejects addresses of this machine or node, where DLI never is
// but other services may be: users who can write an endpoint must not reach the
// node's metadata service with it. Addresses are checked after name resolution, right
// before connecting, so that a name cannot resolve differently in between.
//
// A proxy's address is not checked: it comes from the operator's own environment.
// The proxy decides what it connects to, and resolves names itself; an endpoint that is
// itself an address is rejected: see checkProxied.
func newDialer(endpoint, proxy *url.URL, insecure bool, timeout time.Duration, opened *atomic.Uint64) dialFunc {
	dialer := &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
	if proxy == nil && !insecure {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			return checkAddress(endpoint.Hostname(), address)
		}
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			opened.Add(1)
		}
		return conn, err
	}
}

// checkAddress returns an error if connecting to host's address, with its port, is
// not allowed.
func checkAddress(host, address string) error {
	resolved, err := netip.ParseAddrPort(address)
	if err != nil {
		return misconfigured("the endpoint %s resolves to %s, which is not an IP address", host, address)
	}
	if what := refusedAs(resolved.Addr()); what != "" {
		return misconfigured("the endpoint %s resolves to %s, %s address, which is not allowed; "+
			"use DLI's host, or have the operator allow insecure endpoints", host, resolved.Addr().Unmap(), what)
	}
	return nil
}

// metadataServices are the addresses of clouds' metadata services that are not
// link-local: they hand out a node's credentials to whoever asks.
var metadataServices = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),
	netip.MustParseAddr("100.100.100.200"),
}

// refusedAs returns the kind of address that ip is if that is rejected; else "". An
// IPv6 address that stands for an IPv4 address is treated as that address.
func refusedAs(ip netip.Addr) string {
	ip = withoutTranslation(ip)
	switch {
	case slices.Contains(metadataServices, ip.WithZone("")):
		return "a metadata service's"
	case ip.IsLoopback():
		return "a loopback"
	case ip.IsUnspecified():
		return "an unspecified"
	case ip.IsLinkLocalUnicast():
		return "a link-local"
	case ip.IsMulticast():
		return "a multicast"
	}
	return ""
}

var (
	// translated is the prefix of NAT64 (RFC 6052), and relayed is that of 6to4 (RFC 3056).
	translated = netip.MustParsePrefix("64:ff9b::/96")
	relayed    = netip.MustParsePrefix("2002::/16")
	// locallyTranslated is the prefix of a network's own NAT64 (RFC 8215).
	locallyTranslated = netip.MustParsePrefix("64:ff9b:1::/48")
	// compatible is the prefix of IPv4-compatible addresses (RFC 4291), which are
	// deprecated; :: and ::1 are part of it.
	compatible = netip.MustParsePrefix("::/96")
)

// withoutTranslation returns the IPv4 address that an IPv6 address stands for, in any of
// the forms that a network may translate; other addresses unchanged.
func withoutTranslation(ip netip.Addr) netip.Addr {
	ip = ip.Unmap()
	bytes := ip.As16()
	switch plain := ip.WithZone(""); {
	case ip.Is4(), ip.IsLoopback(), ip.IsUnspecified():
		return ip
	case translated.Contains(plain), locallyTranslated.Contains(plain), compatible.Contains(plain):
		return netip.AddrFrom4([4]byte(bytes[12:]))
	case relayed.Contains(plain):
		return netip.AddrFrom4([4]byte(bytes[2:6]))
	}
	return ip
}

// proxyFor returns the proxy set in the environment for an endpoint; nil if
// none. The environment is read for each client.
func proxyFor(endpoint *url.URL) (*url.URL, error) {
	proxy, err := httpproxy.FromEnvironment().ProxyFunc()(endpoint)
	if err != nil {
		// The error is not shown: it may quote a URL that holds a password.
		return nil, misconfigured("the proxy set in the environment for %s cannot be used", endpoint.Host)
	}
	return proxy, nil
}

// checkProxied returns an error if an endpoint may not be reached through a proxy. An
// address is nothing that a proxy resolves, so a proxy that trusts its clients would
// connect to whatever is written there.
func checkProxied(endpoint, proxy *url.URL) error {
	if proxy == nil {
		return nil
	}
	if _, err := netip.ParseAddr(endpoint.Hostname()); err == nil {
		return misconfigured("the endpoint %s is an address, which is not allowed through the proxy %s; use DLI's host name", endpoint.Hostname(), proxy.Host)
	}
	return nil
}

// proxyRefusalError is a proxy's refusal to open a tunnel.
type proxyRefusalError struct{ status int }

func (proxyRefusalError) Error() string { return "the proxy refused the connection" }

func checkProxy(_ context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
	if response.StatusCode != http.StatusOK {
		return proxyRefusalError{status: response.StatusCode}
	}
	return nil
}
