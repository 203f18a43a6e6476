// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/dli-operator/dli-operator/test/testenv"
)

// A standby operator that cannot list DLIConnections is not ready to take over.
func TestReadiness(t *testing.T) {
	c := newCluster(t, "crd")
	c.Kubectl("", "create", "namespace", namespace)
	leader := c.start(c.Admin, "--leader-elect")
	c.Eventually("the leader is ready", leader.ready)

	slow := slowAPIServer(t, c.Plane.Config(), "/dliconnections")
	behind := testenv.KubeConfig(t, &rest.Config{Host: slow.URL}, "")
	standby, other := c.start(behind, "--leader-elect"), c.start(behind, "--leader-elect")
	c.Eventually("both list DLIConnections", func() bool { return slow.waiting.Load() == 2 })
	for _, waiting := range []*operator{standby, other} {
		c.Eventually("the operator is alive", func() bool { return waiting.answers("/healthz") })
		if waiting.ready() {
			t.Error("ready before it has listed the DLIConnections")
		}
	}

	began := time.Now()
	other.Stop(time.Minute)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("an operator with unsynced caches takes %v to stop", took)
	}

	slow.release()
	c.Eventually("the standby is ready", standby.ready)
}

// slowServer is an API server that delays some requests until release is called.
type slowServer struct {
	*httptest.Server
	// waiting counts the delayed requests.
	waiting atomic.Int32
	release func()
}

func slowAPIServer(t *testing.T, config *rest.Config, path string) *slowServer {
	t.Helper()
	proxy, err := testenv.NewProxy(config)
	if err != nil {
		t.Fatal(err)
	}
	released := make(chan struct{})
	slow := &slowServer{release: sync.OnceFunc(func() { close(released) })}
	slow.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, path) {
			slow.waiting.Add(1)
			defer slow.waiting.Add(-1)
			select {
			case <-released:
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		slow.release()
		slow.CloseClientConnections()
		slow.Close()
		_ = proxy.Stop()
	})
	return slow
}
