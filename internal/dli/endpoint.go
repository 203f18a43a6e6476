// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// DefaultAllowedHosts are the hosts of the public clouds that offer this API.
var DefaultAllowedHosts = []string{
	"dli.*.myhuaweicloud.com",
	"dli.*.myhuaweicloud.eu",
	"dli.*.otc.t-systems.com",
	"dli.*.prod-cloud-ocb.orange-business.com",
}

var (
	regionForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	hostForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*$`)
	// numericForm matches hosts that some resolvers and proxies read as an IPv4 address,
	// such as 127.1, 2130706433 or 0x7f000001: no name ends in a number.
	numericForm = regexp.MustCompile(`(^|\.)([0-9]+|0x[0-9a-f]*)$`)
	// pathForm only allows characters that no encoding changes, so that the signed
	// path cannot differ from the path that is sent.
	pathForm = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)
)

// ResolveEndpoint returns the base URL of an endpoint without a trailing slash.
// Exactly one of region and endpoint must be set. A region is looked up in the
// table. An endpoint is a URL, which may have a path; its host must match
// allowedHosts or be the host of a region.
//
// A pattern in allowedHosts is a host, for any port, in which a label may be *: it
// matches any one label, or one or more labels at the start of the pattern. Without
// patterns, every host is allowed. allowInsecure allows every host and address, and
// http.
//
// The error is an *Error of KindConfig.
func ResolveEndpoint(region, endpoint string, allowedHosts []string, allowInsecure bool) (string, error) {
	switch {
	case region == "" && endpoint == "":
		return "", misconfigured("neither a region nor an endpoint is set; set one of them")
	case region != "" && endpoint != "":
		return "", misconfigured("both a region and an endpoint are set; set only one of them")
	case region != "":
		address, err := regionEndpoint(region)
		if err != nil {
			return "", err
		}
		base, err := parseEndpoint(address, allowInsecure)
		if err != nil {
			return "", err
		}
		return base.String(), nil
	}
	base, err := parseEndpoint(endpoint, allowInsecure)
	if err != nil {
		return "", err
	}
	if !allowInsecure && !hostAllowed(base.Hostname(), allowedHosts) {
		return "", misconfigured("the endpoint's host %s is not allowed; "+
			"the operator's administrator can add it to the allowed hosts", base.Hostname())
	}
	return base.String(), nil
}

// parseEndpoint parses an endpoint's URL and rejects one that cannot be a base for
// signed requests. Errors do not quote the URL, which may contain a password.
func parseEndpoint(endpoint string, allowInsecure bool) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return nil, misconfigured("the endpoint is not a URL such as https://dli.cn-north-4.myhuaweicloud.com")
	}
	switch {
	case u.Scheme == "http" && !allowInsecure:
		return nil, misconfigured("the endpoint must begin with https://; http would send the credentials unencrypted")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, misconfigured("the endpoint must begin with https://")
	case u.User != nil:
		return nil, misconfigured("the endpoint must not contain a user or password")
	case strings.ContainsAny(endpoint, "?#"):
		return nil, misconfigured("the endpoint must not have a query or fragment")
	}

	host := strings.ToLower(u.Hostname())
	address, notAddress := netip.ParseAddr(host)
	switch {
	case notAddress != nil && (!hostForm.MatchString(host) || numericForm.MatchString(host)), address.Zone() != "":
		return nil, misconfigured("the endpoint's host is neither a name nor an address")
	case !validPort(u):
		return nil, misconfigured("the endpoint's port is not a number from 1 to 65535")
	case notAddress == nil && !allowInsecure:
		if err := checkAddress(host, netip.AddrPortFrom(address, 443).String()); err != nil {
			return nil, err
		}
	}

	path := strings.TrimRight(u.Path, "/")
	if u.RawPath != "" || !pathForm.MatchString(path) || hasDots(path) {
		return nil, misconfigured("the endpoint's path may only contain letters, digits and - . _ ~ between single slashes")
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: path}, nil
}

func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}

// hasDots reports whether a path has the segments . or .. in it.
func hasDots(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(segment string) bool {
		return segment == "." || segment == ".."
	})
}

func hostAllowed(host string, patterns []string) bool {
	return len(patterns) == 0 || isRegionHost(host) || slices.ContainsFunc(patterns, func(pattern string) bool {
		return hostMatches(host, strings.ToLower(pattern))
	})
}

// hostMatches reports whether a pattern matches a host: see ResolveEndpoint.
func hostMatches(host, pattern string) bool {
	labels, wanted := strings.Split(host, "."), strings.Split(pattern, ".")
	if wanted[0] == "*" && len(labels) > len(wanted) {
		labels = labels[len(labels)-len(wanted):]
	}
	return slices.EqualFunc(labels, wanted, func(label, want string) bool {
		return want == "*" || label == want
	})
}

// isRegionHost reports whether host belongs to a region in the table.
func isRegionHost(host string) bool {
	labels := strings.Split(host, ".")
	if len(labels) < 3 || labels[0] != "dli" {
		return false
	}
	endpoint, err := regionEndpoint(labels[1])
	return err == nil && endpoint == "https://"+host
}

//go:generate go -C ../../hack/sdk run . ../../internal/dli/regions.go

// regionEndpoint returns the URL of a region's endpoint.
func regionEndpoint(id string) (string, error) {
	if len(id) > 64 || !regionForm.MatchString(id) {
		return "", misconfigured("the region must be an ID such as cn-north-4")
	}
	endpoint, ok := regionEndpoints[id]
	if !ok {
		for known := range regionEndpoints {
			if strings.ReplaceAll(known, "-", "") == strings.ReplaceAll(id, "-", "") {
				return "", misconfigured("the region %s is unknown; did you mean %s?", id, known)
			}
		}
		return "", misconfigured("the region %s is unknown; set its endpoint instead, such as https://dli.%s.myhuaweicloud.com", id, id)
	}
	return endpoint, nil
}
