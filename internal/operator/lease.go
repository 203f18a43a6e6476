// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"

	"github.com/dli-operator/dli-operator/controllers"
)

// Times of the leader election: another replica takes the lease if it was not
// renewed for leaseDuration; its holder gives up after renewDeadline.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	// With jitter, a released lease is taken after at most 3.3 s.
	retryPeriod = 1500 * time.Millisecond
)

// namespaceFile has the namespace of the pod.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

var errNotRenewed = fmt.Errorf("the lease was not renewed for %v: another replica may lead", renewDeadline)

// lease is the lock of the leader election, and knows when this process last renewed
// it. The election alone would let a process that was frozen for longer than its lease
// consider itself the leader until its next attempt to renew it, and would only end a
// process that lost the lease after further requests to an API server that may hang.
type lease struct {
	resourcelock.Interface

	// pod begins the identity of each process of this pod; "" outside a pod.
	pod     string
	renewed atomic.Pointer[renewal]
	// expiry ends the operator: after a lost lease there is nothing to wait for.
	expiry *time.Timer
}

// renewal is when the request that renewed the lease was sent, by two clocks: the wall
// clock may be set, and the monotonic clock stands still while the machine is suspended.
type renewal struct{ monotonic, wall time.Time }

// newLease returns the operator's lease. Its Events stop with ctx.
func newLease(ctx context.Context, config *rest.Config, o Options, fail func(error)) (*lease, error) {
	podNamespace, err := os.ReadFile(namespaceFile)
	if err != nil && o.LeaderElectionNamespace == "" {
		return nil, fmt.Errorf("outside a pod, --leader-election-namespace is required: %w", err)
	}
	config = rest.AddUserAgent(rest.CopyConfig(config), "leader-election")
	config.Timeout = renewDeadline / 2 // a single request that hangs must not cost the lease
	clients, errClients := kubernetes.NewForConfig(config)
	hostname, errHostname := os.Hostname()
	if err := errors.Join(errClients, errHostname); err != nil {
		return nil, err
	}
	pod, identity := newIdentities(hostname, os.Getenv("POD_UID"))
	events := record.NewBroadcaster(record.WithContext(ctx))
	events.StartRecordingToSink(&coreclient.EventSinkImpl{Interface: clients.CoreV1().Events("")})
	namespace := cmp.Or(o.LeaderElectionNamespace, string(podNamespace))
	return wrapLock(&resourcelock.LeaseLock{
		LeaseMeta: metav1.ObjectMeta{Namespace: namespace, Name: o.LeaderElectionID},
		Client:    &versionedLeases{LeaseInterface: clients.CoordinationV1().Leases(namespace), fail: fail},
		LockConfig: resourcelock.ResourceLockConfig{
			Identity:      identity,
			EventRecorder: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: o.LeaderElectionID}),
		},
	}, pod, fail), nil
}

// newIdentities returns what the identities of all processes of a pod begin with, and a
// new one for this process.
func newIdentities(hostname, podUID string) (pod, identity string) {
	if podUID == "" {
		return "", hostname + "_" + rand.String(10)
	}
	pod = hostname + "_" + podUID + "_"
	return pod, pod + rand.String(5)
}

func wrapLock(lock resourcelock.Interface, pod string, fail func(error)) *lease {
	l := &lease{Interface: lock, pod: pod, expiry: time.AfterFunc(renewDeadline, func() { fail(errNotRenewed) })}
	l.expiry.Stop()
	return l
}

// Get implements resourcelock.Interface. It shows a lease of this container's previous
// process as free: the kubelet has started this one because that one has ended. Not if
// that one led only briefly, so that a container that crashes again and again does not
// keep the lease from the other replicas.
func (l *lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	r, raw, err := l.Interface.Get(ctx)
	switch {
	case err != nil || r.HolderIdentity == "" || r.HolderIdentity == l.Identity():
	case l.renewed.Swap(nil) != nil: // another replica has taken the lease; expiry ends this process
	case l.pod != "" && strings.HasPrefix(r.HolderIdentity, l.pod) && r.RenewTime.Sub(r.AcquireTime.Time) >= leaseDuration:
		r.HolderIdentity = ""
	}
	return r, raw, err
}

// Create implements resourcelock.Interface.
func (l *lease) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	sent := time.Now()
	return l.noteRenewal(l.Interface.Create(ctx, r), r, sent)
}

// Update implements resourcelock.Interface.
func (l *lease) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	sent := time.Now()
	return l.noteRenewal(l.Interface.Update(ctx, r), r, sent)
}

// noteRenewal records when the request that renewed or released the lease was sent: other
// replicas wait from then on, no matter how long the response took.
func (l *lease) noteRenewal(err error, r resourcelock.LeaderElectionRecord, sent time.Time) error {
	switch {
	case err != nil:
	case r.HolderIdentity == l.Identity():
		l.renewed.Store(&renewal{monotonic: sent, wall: sent.Round(0)})
		l.expiry.Reset(time.Until(sent.Add(renewDeadline))) //nolint:forbidigo // a timer of this clock
	default:
		l.renewed.Store(nil)
		l.expiry.Stop()
	}
	return err
}

// isHeld reports whether this process certainly holds the lease at a time. Whoever sends a
// request to DLI or writes a status checks it right before.
func (l *lease) isHeld(now time.Time) bool {
	r := l.renewed.Load()
	return r != nil && now.Sub(r.monotonic) < renewDeadline && now.Round(0).Sub(r.wall) < renewDeadline
}

// versionedLeases ends the operator if the lease becomes older: the API server has gone back to
// an earlier state. Caches do not notice that, since their watches wait for the version that
// they have seen. Every replica reads or writes the lease every two seconds.
type versionedLeases struct {
	coordinationclient.LeaseInterface

	version string
	fail    func(error)
}

// Leases implements LeasesGetter.
func (v *versionedLeases) Leases(string) coordinationclient.LeaseInterface { return v }

// Get implements LeaseInterface.
func (v *versionedLeases) Get(ctx context.Context, name string, options metav1.GetOptions) (*coordinationv1.Lease, error) {
	lease, err := v.LeaseInterface.Get(ctx, name, options)
	return v.noteVersion(lease, err)
}

// Update implements LeaseInterface.
func (v *versionedLeases) Update(ctx context.Context, lease *coordinationv1.Lease, options metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	lease, err := v.LeaseInterface.Update(ctx, lease, options)
	return v.noteVersion(lease, err)
}

func (v *versionedLeases) noteVersion(lease *coordinationv1.Lease, err error) (*coordinationv1.Lease, error) {
	if err != nil {
		return nil, err
	}
	if controllers.IsOlder(lease, v.version) {
		v.fail(errRestored)
	}
	v.version = lease.ResourceVersion
	return lease, nil
}
