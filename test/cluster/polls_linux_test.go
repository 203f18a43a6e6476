// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	certutil "k8s.io/client-go/util/cert"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// dliServer is a simulated DLI for pods. It records which pod polls which job, and when.
type dliServer struct {
	*dlitest.Server
	url      string
	caBundle string

	mu    sync.Mutex
	polls map[string][]poll // by job ID, in the order of arrival
}

type poll struct {
	at  time.Time
	pod string // its address
}

func startDLI(t *testing.T) *dliServer {
	t.Helper()
	simulator, err := dlitest.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(simulator.Close)
	certificate, key, err := certutil.GenerateSelfSignedCertKey(address, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &dliServer{Server: simulator, caBundle: string(certificate), polls: map[string][]poll{}}
	server := httptest.NewUnstartedServer(s)
	server.Listener.Close()
	if server.Listener, err = net.Listen("tcp", address+":0"); err != nil {
		t.Fatal(err)
	}
	server.TLS, server.EnableHTTP2 = &tls.Config{Certificates: []tls.Certificate{pair}}, true
	server.StartTLS()
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// ServeHTTP records a status request before the simulator answers it.
func (s *dliServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if dir, found := strings.CutSuffix(r.URL.Path, "/status"); found {
		pod, _, _ := net.SplitHostPort(r.RemoteAddr)
		s.mu.Lock()
		id := path.Base(dir)
		s.polls[id] = append(s.polls[id], poll{time.Now(), pod})
		s.mu.Unlock()
	}
	s.Server.ServeHTTP(w, r)
}

// between returns the polls of a job in a time.
func (s *dliServer) between(id string, from, to time.Time) []poll {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.polls[id]), func(p poll) bool { return p.at.Before(from) || p.at.After(to) })
}

// longestGap returns the longest time without a poll, from the first time to the last.
func longestGap(from, to time.Time, polls []poll) (gap time.Duration) {
	last := from
	for _, p := range polls {
		gap, last = max(gap, p.at.Sub(last)), p.at
	}
	return max(gap, to.Sub(last))
}

// returningPod returns the pod that polled again after another pod did; empty if there is
// none. A leader that has handed over, or lost its lease, never leads again while its
// successor does.
func returningPod(polls []poll) string {
	var replaced []string
	for i, p := range polls {
		if slices.Contains(replaced, p.pod) {
			return p.pod
		}
		if i > 0 && polls[i-1].pod != p.pod {
			replaced = append(replaced, polls[i-1].pod)
		}
	}
	return ""
}

func TestGapsAndReturningPods(t *testing.T) {
	start := time.Now()
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	for _, tt := range []struct {
		name  string
		polls []poll
		gap   time.Duration
		pod   string
	}{
		{"no polls", nil, 10 * time.Second, ""},
		{"one pod", []poll{{at(1), "a"}, {at(4), "a"}, {at(9), "a"}}, 5 * time.Second, ""},
		{"two pods, one after the other", []poll{{at(2), "a"}, {at(5), "b"}, {at(6), "b"}}, 4 * time.Second, ""},
		{"two pods at a time", []poll{{at(2), "a"}, {at(5), "b"}, {at(6), "a"}, {at(7), "b"}}, 3 * time.Second, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if gap := longestGap(start, at(10), tt.polls); gap != tt.gap {
				t.Errorf("the gap is %v, want %v", gap, tt.gap)
			}
			if pod := returningPod(tt.polls); pod != tt.pod {
				t.Errorf("the returning pod is %q, want %q", pod, tt.pod)
			}
		})
	}
}
