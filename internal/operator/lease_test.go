// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// memoryLock is a lock for the leader election, of the process a1 of the pod a.
type memoryLock struct {
	resourcelock.Interface

	stored  resourcelock.LeaderElectionRecord
	latency time.Duration
	err     error
}

func (*memoryLock) Identity() string { return "a_1" }

func (m *memoryLock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	r := m.stored
	return &r, nil, m.err
}

func (m *memoryLock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return m.Update(ctx, r)
}

func (m *memoryLock) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	<-time.After(m.latency)
	if m.err == nil {
		m.stored = r
	}
	return m.err
}

// heldBy returns the record of a process that has led for a time.
func heldBy(identity string, led time.Duration) resourcelock.LeaderElectionRecord {
	return resourcelock.LeaderElectionRecord{
		HolderIdentity: identity, AcquireTime: metav1.NewTime(time.Now().Add(-led)), RenewTime: metav1.Now(),
	}
}

func TestALeaseIsHeldForTheDeadlineAfterItWasRenewed(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(t *testing.T, l *lease, lock *memoryLock)
		want bool
	}{
		"never acquired": {func(*testing.T, *lease, *memoryLock) {}, false},
		"acquired": {func(t *testing.T, l *lease, _ *memoryLock) {
			t.Helper()
			must(t, l.Create(t.Context(), heldBy("a_1", 0)))
		}, true},
		"renewed": {func(t *testing.T, l *lease, _ *memoryLock) {
			t.Helper()
			must(t, l.Update(t.Context(), heldBy("a_1", 0)))
		}, true},
		"released": {func(t *testing.T, l *lease, _ *memoryLock) {
			t.Helper()
			must(t, l.Update(t.Context(), heldBy("a_1", 0)))
			must(t, l.Update(t.Context(), heldBy("", 0)))
		}, false},
		"renewed long ago": {func(t *testing.T, l *lease, _ *memoryLock) {
			t.Helper()
			must(t, l.Update(t.Context(), heldBy("a_1", 0)))
			<-time.After(renewDeadline)
		}, false},
		"renewed by a request that took long": {func(t *testing.T, l *lease, lock *memoryLock) {
			t.Helper()
			lock.latency = renewDeadline
			must(t, l.Update(t.Context(), heldBy("a_1", 0)))
		}, false},
		"not renewed, but a moment ago": {func(t *testing.T, l *lease, lock *memoryLock) {
			t.Helper()
			must(t, l.Update(t.Context(), heldBy("a_1", 0)))
			lock.err = errors.New("conflict")
			if l.Update(t.Context(), heldBy("a_1", 0)) == nil {
				t.Error("the error is lost")
			}
		}, true},
		"renewed before the machine was suspended": {func(t *testing.T, l *lease, _ *memoryLock) {
			t.Helper()
			must(t, l.Update(t.Context(), heldBy("a_1", 0)))
			r := *l.renewed.Load()
			r.wall = r.wall.Add(-renewDeadline) // the monotonic clock stood still
			l.renewed.Store(&r)
		}, false},
		"renewed before the clock was set back": {func(t *testing.T, l *lease, _ *memoryLock) {
			t.Helper()
			must(t, l.Update(t.Context(), heldBy("a_1", 0)))
			r := *l.renewed.Load()
			r.wall = r.wall.Add(time.Hour)
			l.renewed.Store(&r)
			<-time.After(renewDeadline)
		}, false},
		"taken by another replica": {func(t *testing.T, l *lease, lock *memoryLock) {
			t.Helper()
			must(t, l.Update(t.Context(), heldBy("a_1", 0)))
			lock.stored = heldBy("b_1", 0)
			_, _, err := l.Get(t.Context())
			must(t, err)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lock := &memoryLock{}
				l := wrapLock(lock, "a_", func(error) {})
				test.do(t, l, lock)
				if got := l.isHeld(time.Now()); got != test.want {
					t.Errorf("got %v, want %v", got, test.want)
				}
			})
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestALostLeaseEndsTheOperator(t *testing.T) {
	for name, test := range map[string]struct {
		lose func(t *testing.T, l *lease, lock *memoryLock)
		want error
	}{
		"not renewed in time": {func(*testing.T, *lease, *memoryLock) { <-time.After(renewDeadline) }, errNotRenewed},
		"taken by another replica": {func(t *testing.T, l *lease, lock *memoryLock) {
			t.Helper()
			lock.stored = heldBy("b_1", 0)
			_, _, err := l.Get(t.Context())
			must(t, err)
			<-time.After(renewDeadline)
		}, errNotRenewed},
		"renewed in time": {func(t *testing.T, l *lease, _ *memoryLock) {
			t.Helper()
			for range 10 {
				<-time.After(renewDeadline - time.Second)
				must(t, l.Update(t.Context(), heldBy("a_1", 0)))
			}
		}, nil},
		"released": {func(t *testing.T, l *lease, _ *memoryLock) {
			t.Helper()
			must(t, l.Update(t.Context(), heldBy("", 0)))
			<-time.After(time.Hour)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got error
				lock := &memoryLock{}
				l := wrapLock(lock, "a_", func(err error) { got = err })
				must(t, l.Update(t.Context(), heldBy("a_1", 0)))
				test.lose(t, l, lock)
				synctest.Wait()
				if !errors.Is(got, test.want) || test.want == nil && got != nil {
					t.Errorf("it ended with %v, want %v", got, test.want)
				}
			})
		})
	}
}

// A container that restarts need not wait until the lease of its previous process has
// expired, unless that one crashed soon after it had taken the lease.
func TestARestartedContainerTakesItsOwnLease(t *testing.T) {
	for name, test := range map[string]struct {
		stored resourcelock.LeaderElectionRecord
		pod    string
		want   string
	}{
		"of its previous process":                         {heldBy("a_0", leaseDuration), "a_", ""},
		"of its previous process, which led only briefly": {heldBy("a_0", leaseDuration-time.Second), "a_", "a_0"},
		"its own":            {heldBy("a_1", time.Hour), "a_", "a_1"},
		"of another replica": {heldBy("b_0", time.Hour), "a_", "b_0"},
		"of nobody":          {heldBy("", time.Hour), "a_", ""},
		"of a process that may run, because it is in no pod": {heldBy("a_0", time.Hour), "", "a_0"},
	} {
		t.Run(name, func(t *testing.T) {
			l := wrapLock(&memoryLock{stored: test.stored}, test.pod, func(err error) { t.Error(err) })
			got, _, err := l.Get(t.Context())
			must(t, err)
			if got.HolderIdentity != test.want {
				t.Errorf("the holder is %q, want %q", got.HolderIdentity, test.want)
			}
		})
	}
}

// memoryLeases has one lease.
type memoryLeases struct {
	coordinationclient.LeaseInterface

	version string
}

func (m *memoryLeases) Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error) {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{ResourceVersion: m.version}}, nil
}

func (m *memoryLeases) Update(ctx context.Context, _ *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	return m.Get(ctx, "", metav1.GetOptions{})
}

func TestARestoredLeaseEndsTheOperator(t *testing.T) {
	for name, test := range map[string]struct {
		versions []string
		isOlder  bool
	}{
		"the first":                  {[]string{"100"}, false},
		"unchanged":                  {[]string{"100", "100"}, false},
		"renewed":                    {[]string{"99", "100", "1000"}, false},
		"restored":                   {[]string{"1000", "999"}, true},
		"restored with a digit less": {[]string{"100", "99"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var causes []error
			lock := &memoryLeases{}
			leases := &versionedLeases{LeaseInterface: lock, fail: func(err error) { causes = append(causes, err) }}
			for i, version := range test.versions {
				lock.version = version
				read := func() (*coordinationv1.Lease, error) { return leases.Get(t.Context(), "", metav1.GetOptions{}) }
				if i%2 == 1 {
					read = func() (*coordinationv1.Lease, error) { return leases.Update(t.Context(), nil, metav1.UpdateOptions{}) }
				}
				if lease, err := read(); err != nil || lease.ResourceVersion != version {
					t.Errorf("read %v, %v", lease, err)
				}
			}
			if isOlder := slices.Contains(causes, errRestored); isOlder != test.isOlder {
				t.Errorf("the operator ends with %v", causes)
			}
		})
	}
}

func TestIdentitiesTellPodsAndProcessesApart(t *testing.T) {
	pod, first := newIdentities("operator-0", "uid-1")
	_, second := newIdentities("operator-0", "uid-1")
	other, _ := newIdentities("operator-0", "uid-2")
	if first == second || pod == other || !strings.HasPrefix(first, pod) || !strings.HasPrefix(second, pod) {
		t.Errorf("the processes of %s are %s and %s, another pod is %s", pod, first, second, other)
	}
	none, first := newIdentities("laptop", "")
	if _, second := newIdentities("laptop", ""); none != "" || first == second {
		t.Errorf("outside a pod: %q, %s and %s", none, first, second)
	}
}

// With the timeout of the lease, no list of many DLIJobs would ever be complete.
func TestTheLeaseHasAConfigOfItsOwn(t *testing.T) {
	config, want := &rest.Config{Host: "https://127.0.0.1:1"}, &rest.Config{Host: "https://127.0.0.1:1"}
	o := Options{LeaderElectionID: "id", LeaderElectionNamespace: "namespace"}
	if _, err := newLease(t.Context(), config, o, func(error) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := findScope(canceled(t), config, o); err == nil {
		t.Error("there is no API server, but permissions were checked")
	}
	if !reflect.DeepEqual(config, want) {
		t.Errorf("the config has become %v, want %v", config, want)
	}
}

func canceled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
