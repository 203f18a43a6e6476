// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package testenv has a real control plane for tests and measurements: a kube-apiserver
// and its etcd, which can be stopped, restarted and restored to an earlier state, and a
// proxy that makes the API server slow, rejects writes, breaks connections, and counts
// writes. It also runs programs: kubectl, and the operator as a process.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// ControlPlane is a kube-apiserver with its etcd. Set the fields, then call Start. Its
// methods are not safe for concurrent use.
type ControlPlane struct {
	// CRDs is a directory or file of CustomResourceDefinitions to install; none if
	// empty.
	CRDs string
	// Sync makes etcd flush its writes to the disk, as in production; tests do not need
	// it.
	Sync bool

	environment *envtest.Environment
	config      *rest.Config
	dir         string
	snapshots   int
}

// Start starts the control plane, with the data and ports of the previous run if there
// was one, and returns when it is ready.
func (c *ControlPlane) Start() error {
	if c.environment == nil {
		return c.create()
	}
	if err := c.environment.ControlPlane.Start(); err != nil {
		return fmt.Errorf("starting the control plane again: %w", err)
	}
	return c.ready()
}

func (c *ControlPlane) create() (err error) {
	if c.dir, err = os.MkdirTemp("", "control-plane-"); err != nil {
		return err
	}
	for _, dir := range []string{c.etcdDir(), c.certDir()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	// With their own directories, both keep their data when they stop.
	etcd := &envtest.Etcd{DataDir: c.etcdDir()}
	if c.Sync {
		etcd.Configure().Disable("unsafe-no-fsync")
	}
	c.environment = &envtest.Environment{
		ErrorIfCRDPathMissing:    true,
		ControlPlane:             envtest.ControlPlane{Etcd: etcd, APIServer: &envtest.APIServer{CertDir: c.certDir()}},
		ControlPlaneStartTimeout: time.Minute, ControlPlaneStopTimeout: patience,
	}
	if c.CRDs != "" {
		c.environment.CRDDirectoryPaths = []string{c.CRDs}
	}
	if c.config, err = c.environment.Start(); err != nil {
		// Parts of it may be running.
		return errors.Join(fmt.Errorf("starting the control plane, which make test builds: %w", err), c.environment.Stop(), os.RemoveAll(c.dir))
	}
	// API Priority and Fairness is enough.
	c.config.QPS = -1
	return nil
}

func (c *ControlPlane) etcdDir() string { return filepath.Join(c.dir, "etcd") }
func (c *ControlPlane) certDir() string { return filepath.Join(c.dir, "certificates") }

// ready waits until the API server is ready.
func (c *ControlPlane) ready() error {
	d, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return err
	}
	if !WithinEvery(100*time.Millisecond, time.Minute, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) //nolint:forbidigo // it only limits this call
		defer cancel()
		err = d.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		return err == nil
	}) {
		return fmt.Errorf("the API server does not become ready: %w", err)
	}
	return nil
}

// patience is how long each process may take to stop before it is killed. Open watches
// delay the shutdown of a kube-apiserver by a minute; it has no data to lose, and what
// etcd has written remains.
const patience = 3 * time.Second

// Stop stops the control plane and keeps its data.
func (c *ControlPlane) Stop() error {
	err := c.environment.ControlPlane.Stop()
	plane := c.environment.ControlPlane
	for _, address := range []string{plane.APIServer.SecureServing.URL("https", "").Host, plane.Etcd.URL.Host} {
		if !released(address) {
			return errors.Join(fmt.Errorf("%s still has a listener", address), err)
		}
	}
	// envtest returns an error if it had to kill a process; that is fine here.
	return nil
}

// StopAPIServer stops only the kube-apiserver; etcd keeps running.
func (c *ControlPlane) StopAPIServer() error {
	err := c.environment.ControlPlane.APIServer.Stop()
	if address := c.environment.ControlPlane.APIServer.SecureServing.URL("https", "").Host; !released(address) {
		return errors.Join(fmt.Errorf("%s still has a listener", address), err)
	}
	return nil
}

// StartAPIServer starts the kube-apiserver again.
func (c *ControlPlane) StartAPIServer() error {
	if err := c.environment.ControlPlane.APIServer.Start(); err != nil {
		return fmt.Errorf("starting the API server again: %w", err)
	}
	return c.ready()
}

// FreezeAPIServer stops the process of the kube-apiserver as it is: connections stay open,
// and nothing is answered until ThawAPIServer.
func (c *ControlPlane) FreezeAPIServer() error { return c.signalAPIServer(syscall.SIGSTOP) }

// ThawAPIServer lets the kube-apiserver go on.
func (c *ControlPlane) ThawAPIServer() error { return c.signalAPIServer(syscall.SIGCONT) }

func (c *ControlPlane) signalAPIServer(s syscall.Signal) error {
	pid, err := c.PID("kube-apiserver")
	if err != nil {
		return err
	}
	return syscall.Kill(pid, s)
}

// PID returns the ID of the kube-apiserver's or etcd's process, which envtest does not tell.
// It needs Linux.
func (c *ControlPlane) PID(program string) (int, error) {
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range processes {
		line, _ := os.ReadFile(path) // none if it has ended
		name, args, _ := strings.Cut(string(line), "\x00")
		if filepath.Base(name) == program && strings.Contains(args, c.dir+"/") {
			return strconv.Atoi(filepath.Base(filepath.Dir(path)))
		}
	}
	return 0, errors.Join(fmt.Errorf("found no process %s", program), err)
}

// released waits until an address has no listener.
func released(address string) bool {
	return Within(10*time.Second, func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second) //nolint:noctx // it has a timeout
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

// Close stops the control plane and removes its data.
func (c *ControlPlane) Close() error { return errors.Join(c.Stop(), os.RemoveAll(c.dir)) }

// Config returns a client config with full access.
func (c *ControlPlane) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Scheme returns a scheme with the types of Kubernetes and the operator.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// Snapshot is a saved state of etcd.
type Snapshot struct{ dir string }

// Snapshot saves the state of etcd. The control plane is briefly unavailable.
func (c *ControlPlane) Snapshot() (Snapshot, error) {
	c.snapshots++
	s := Snapshot{filepath.Join(c.dir, fmt.Sprintf("snapshot-%d", c.snapshots))}
	return s, c.whileStopped(func() error { return os.CopyFS(s.dir, os.DirFS(c.etcdDir())) })
}

// Restore resets etcd to an earlier state, including the resource versions, like an
// administrator does after a disaster. The control plane is briefly unavailable.
func (c *ControlPlane) Restore(s Snapshot) error {
	return c.whileStopped(func() error {
		if err := os.RemoveAll(c.etcdDir()); err != nil {
			return err
		}
		if err := os.CopyFS(c.etcdDir(), os.DirFS(s.dir)); err != nil {
			return err
		}
		// etcd requires a directory that only its user can read.
		return os.Chmod(c.etcdDir(), 0o700)
	})
}

func (c *ControlPlane) whileStopped(do func() error) error {
	if err := c.Stop(); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return c.Start()
}
