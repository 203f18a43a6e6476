// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"strings"
	"testing"
)

func TestResolveEndpoint(t *testing.T) {
	private := []string{"DLI.corp.example", "*.cloud.example"}
	for _, tc := range []struct {
		name             string
		region, endpoint string
		allowed          []string
		insecure         bool
		want             string
		refusal          string
	}{
		{name: "a region", region: "cn-north-4", want: "https://dli.cn-north-4.myhuaweicloud.com"},
		{name: "the region of another domain", region: "eu-west-101", want: "https://dli.eu-west-101.myhuaweicloud.eu"},
		{name: "a region with other allowed hosts", region: "cn-north-4", allowed: private, want: "https://dli.cn-north-4.myhuaweicloud.com"},
		{name: "a misspelt region", region: "cn-north4", refusal: "the region cn-north4 is unknown; did you mean cn-north-4?"},
		{name: "no such region", region: "mars-1", refusal: "the region mars-1 is unknown; set its endpoint instead, such as https://dli.mars-1.myhuaweicloud.com"},
		{name: "an invalid region", region: "../x", refusal: "must be an ID"},
		{name: "neither", refusal: "set one of them"},
		{name: "both", region: "cn-north-4", endpoint: "https://dli.corp.example", refusal: "set only one of them"},
		{name: "an endpoint", endpoint: "https://dli.corp.example", want: "https://dli.corp.example"},
		{name: "capitals, a port, a path and slashes", endpoint: "https://DLI.corp.example:8443/api/v2.x//", want: "https://dli.corp.example:8443/api/v2.x"},
		{name: "a private address", endpoint: "https://10.1.2.3", want: "https://10.1.2.3"},
		{name: "a private IPv6 address", endpoint: "https://[FD00::1]:8443", want: "https://[fd00::1]:8443"},
		{name: "an allowed host", endpoint: "https://dli.corp.example:8443", allowed: private, want: "https://dli.corp.example:8443"},
		{name: "a host under an allowed one", endpoint: "https://dli.region-1.cloud.example", allowed: private, want: "https://dli.region-1.cloud.example"},
		{name: "a wildcard is not the host without it", endpoint: "https://cloud.example", allowed: private, refusal: "is not allowed"},
		{name: "a wildcard matches whole labels", endpoint: "https://evilcloud.example", allowed: private, refusal: "is not allowed"},
		{name: "a region's host is always allowed", endpoint: "https://dli.cn-north-4.myhuaweicloud.com", allowed: private, want: "https://dli.cn-north-4.myhuaweicloud.com"},
		{name: "a name like a region's host", endpoint: "https://dli.cn-north-4.myhuaweicloud.com.evil.example", allowed: private, refusal: "is not allowed"},
		{name: "a public cloud's host", endpoint: "https://dli.new-region-1.myhuaweicloud.com", allowed: DefaultAllowedHosts, want: "https://dli.new-region-1.myhuaweicloud.com"},
		{name: "Open Telekom Cloud", endpoint: "https://dli.eu-de.otc.t-systems.com", allowed: DefaultAllowedHosts, want: "https://dli.eu-de.otc.t-systems.com"},
		{name: "Flexible Engine", endpoint: "https://dli.eu-west-0.prod-cloud-ocb.orange-business.com", allowed: DefaultAllowedHosts, want: "https://dli.eu-west-0.prod-cloud-ocb.orange-business.com"},
		{name: "a bucket named dli", endpoint: "https://dli.obs.cn-north-4.myhuaweicloud.com", allowed: DefaultAllowedHosts, refusal: "is not allowed"},
		{name: "any host if insecure", endpoint: "http://127.0.0.1:8080/", allowed: DefaultAllowedHosts, insecure: true, want: "http://127.0.0.1:8080"},
		{name: "http", endpoint: "http://dli.corp.example", refusal: "must begin with https://"},
		{name: "another scheme", endpoint: "ftp://dli.corp.example", insecure: true, refusal: "must begin with https://"},
		{name: "no scheme", endpoint: "dli.corp.example", refusal: "not a URL"},
		{name: "no host", endpoint: "https:///path", refusal: "not a URL"},
		{name: "a user", endpoint: "https://user:pass1234@dli.corp.example", refusal: "must not contain a user or password"},
		{name: "a query", endpoint: "https://dli.corp.example/?", refusal: "query or fragment"},
		{name: "a fragment", endpoint: "https://dli.corp.example/#", refusal: "query or fragment"},
		{name: "an invalid port", endpoint: "https://dli.corp.example:99999", refusal: "port"},
		{name: "an empty port", endpoint: "https://dli.corp.example:", refusal: "port"},
		{name: "a path with dot segments", endpoint: "https://dli.corp.example/a/../b", refusal: "path"},
		{name: "an escaped path", endpoint: "https://dli.corp.example/a%2Fb", refusal: "path"},
		{name: "a path with blanks", endpoint: "https://dli.corp.example/a b", refusal: "path"},
		{name: "a path with an empty segment", endpoint: "https://dli.corp.example/a//b", refusal: "path"},
		{name: "a host with non-ASCII letters", endpoint: "https://dli.cörp.example", refusal: "neither a name nor an address"},
		{name: "a host that ends in a dot", endpoint: "https://dli.corp.example.", refusal: "neither a name nor an address"},
		{name: "a zone", endpoint: "https://[fe80::1%25eth0]", refusal: "neither a name nor an address"},
		{name: "the metadata service", endpoint: "https://169.254.169.254", refusal: "resolves to 169.254.169.254, a link-local address"},
		{name: "the metadata service in disguise", endpoint: "https://[::ffff:169.254.169.254]", refusal: "resolves to 169.254.169.254, a link-local address"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ResolveEndpoint(tc.region, tc.endpoint, tc.allowed, tc.insecure)
			if got != tc.want {
				t.Errorf("want %q, got %q", tc.want, got)
			}
			switch e, ok := AsError(err); {
			case tc.refusal == "" && err != nil:
				t.Errorf("rejected: %v", err)
			case tc.refusal != "" && (!ok || e.Kind != KindConfig || !strings.Contains(e.Message, tc.refusal)):
				t.Errorf("want an error with %q, got %v", tc.refusal, err)
			case ok && strings.Contains(e.Message, "pass1234"):
				t.Errorf("the error contains the password: %v", err)
			}
		})
	}
}
