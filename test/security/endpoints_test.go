// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package security

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// An endpoint sends the requests that it gets to another one, which knows the key, too.
func TestReplayedRequests(t *testing.T) {
	c := newCluster(t)
	c.sideBySide()
	other := testenv.DLI(t)
	target, err := url.Parse(c.DLI.URL())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	captured := map[string]*http.Request{}
	// What the operator gets are DLI's responses, so that it goes on.
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := "list"
		for _, of := range []string{"status", "progress"} {
			if strings.HasSuffix(r.URL.Path, of) {
				call = of
			}
		}
		mu.Lock()
		captured[call] = r.Clone(t.Context())
		mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(attacker.Close)
	tenant := c.tenant(nil)
	c.connect(tenant, "default", attacker.URL, func(spec *v1alpha1.DLIConnectionSpec) { spec.ReportProgress = true })
	// Enough for lists.
	c.createJobs(tenant, 20, func(job *v1alpha1.DLIJob, _ int) { c.Runs(job.Spec.JobID) })
	c.await("a request of each call is captured", func() bool { mu.Lock(); defer mu.Unlock(); return len(captured) == 3 })
	mu.Lock()
	defer mu.Unlock()
	for call, request := range captured {
		for at, want := range map[string]int{attacker.URL: http.StatusOK, other.URL(): http.StatusUnauthorized} {
			replay := request.Clone(t.Context())
			replay.RequestURI = ""
			if replay.URL, err = url.Parse(at + request.URL.RequestURI()); err != nil {
				t.Fatal(err)
			}
			replay.Host = replay.URL.Host
			if at == attacker.URL { // not captured again
				replay.URL.Host = target.Host
			}
			response, err := http.DefaultClient.Do(replay)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != want {
				t.Errorf("a captured request for the %s, sent to the host it was for (%v), gets %s", call, at == attacker.URL, response.Status)
			}
		}
	}
}

// listener counts connections, and closes each at once.
func listen(t *testing.T) (port string, connected func() int) {
	t.Helper()
	var mu sync.Mutex
	n := 0
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			_ = conn.Close()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// Endpoints are addresses of the operator's own machine, of its node's metadata service, and
// names and translations of these; without a proxy, and through one. Every host is allowed.
func TestForbiddenEndpoints(t *testing.T) {
	addresses := map[string]string{
		"loopback": "127.0.0.1", "loopback-v6": "[::1]", "metadata": "169.254.169.254",
		"nat64-loopback": "[64:ff9b::7f00:1]", "nat64-metadata": "[64:ff9b::a9fe:a9fe]", "nat64-local": "[64:ff9b:1::7f00:1]",
		"6to4": "[2002:7f00:1::]", "mapped": "[::ffff:127.0.0.1]", "compatible": "[::127.0.0.1]",
		"aws-v6": "[fd00:ec2::254]", "alibaba": "100.100.100.200", "number": "2130706433", "short": "127.1",
	}
	for name, proxied := range map[string]bool{"directly": false, "through a proxy": true} {
		t.Run(name, func(t *testing.T) {
			port, connected := listen(t)
			proxyPort, proxyConnected := listen(t)
			c := newCluster(t)
			if proxied {
				t.Setenv("HTTPS_PROXY", "http://127.0.0.1:"+proxyPort)
			}
			c.start(limit(), "--allow-insecure-endpoints=false", "--allowed-endpoint-hosts=*")
			all := map[string]string{}
			for name, address := range addresses {
				all[name] = "https://" + address + ":" + port
			}
			if proxied { // it would connect to any address
				all["address"] = "https://192.0.2.1:" + port
			} else { // a proxy resolves names itself, see the page
				all["name"] = "https://localhost:" + port
			}
			tenant := c.tenant(nil)
			for name, endpoint := range all {
				if err := c.Create(t.Context(), c.connection(tenant, name, endpoint)); err != nil {
					if !isInvalid(err) {
						t.Fatal(err)
					}
					t.Logf("%s is refused by the schema", endpoint)
					continue
				}
				job := &v1alpha1.DLIJob{}
				job.Namespace, job.Name, job.Spec.JobID = tenant, name, name
				refTo(tenant, name)(job)
				c.MustCreate(job)
				c.Await(job, world.Patience, "refused", func(job *v1alpha1.DLIJob) bool {
					return world.Condition(job.Status.Conditions, v1alpha1.SyncedCondition).Reason == v1alpha1.ReasonEndpointMisconfigured
				})
			}
			if connected() > 0 || proxyConnected() > 0 {
				t.Errorf("%d connections to forbidden addresses, %d to the proxy", connected(), proxyConnected())
			}
		})
	}
}

// user has a valid key.
func user() dlitest.User { return dlitest.SampleUser() }

// unauthorized is a rejection that is not about the signature of its request, once.
var unauthorized = &dlitest.Response{
	Status: http.StatusUnauthorized, Once: true,
	Body: `{"error_msg":"Incorrect IAM authentication information: verify aksk signature fail","error_code":"APIGW.0301"}`,
}

func changeConnection(c *cluster, connection *v1alpha1.DLIConnection, change func(*v1alpha1.DLIConnectionSpec)) {
	c.Helper()
	world.Change(c.World, connection, func(connection *v1alpha1.DLIConnection) { change(&connection.Spec) })
}
