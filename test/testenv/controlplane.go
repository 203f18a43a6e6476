/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

// Package testenv is a real control plane for tests and measurements: a
// kube-apiserver and its etcd, which can be stopped, started again and set back
// to an earlier state, and a proxy in front of it that makes it slow, refuses
// writes, goes away, and counts. It also runs what works on the control plane:
// kubectl, and the operator as a process.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// ControlPlane is a kube-apiserver with its etcd. Set the fields, then call
// Start. Its methods are not safe for use by several goroutines.
type ControlPlane struct {
	// CRDs is a directory or a file of custom resources to install; none if empty.
	CRDs string
	// Sync has etcd write to the disk what it has promised to keep, as it must in
	// production and need not in a test.
	Sync bool

	environment *envtest.Environment
	config      *rest.Config
	dir         string
	snapshots   int
}

// Start starts the control plane, with the data and on the ports that it had if
// it ran before, and returns when it serves.
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
	// With directories of their own both keep what they have when they stop.
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
		// Part of it may be running.
		return errors.Join(fmt.Errorf("starting the control plane, which make test builds: %w", err), c.environment.Stop(), os.RemoveAll(c.dir))
	}
	// The API server's own fairness is enough.
	c.config.QPS = -1
	return nil
}

func (c *ControlPlane) etcdDir() string { return filepath.Join(c.dir, "etcd") }
func (c *ControlPlane) certDir() string { return filepath.Join(c.dir, "certificates") }

// ready waits until the API server serves what etcd holds.
func (c *ControlPlane) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) //nolint:forbidigo // it bounds this call and nothing else
	defer cancel()
	server, _, err := rest.DefaultServerUrlFor(c.config)
	if err != nil {
		return err
	}
	transport, err := rest.TransportFor(c.config)
	if err != nil {
		return err
	}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.JoinPath("readyz").String(), http.NoBody)
		if err != nil {
			return err
		}
		response, err := transport.RoundTrip(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(response.Status)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the API server does not get ready: %w", err)
		}
	}
}

// patience is how long each process may take to end before it is killed. Those
// who watch keep a kube-apiserver from ending for a minute; it has nothing to
// lose, and what etcd has written stays written.
const patience = 3 * time.Second

// Stop stops the control plane; its data stays.
func (c *ControlPlane) Stop() error {
	err := c.environment.ControlPlane.Stop()
	plane := c.environment.ControlPlane
	for _, address := range []string{plane.APIServer.SecureServing.URL("https", "").Host, plane.Etcd.URL.Host} {
		if !released(address) {
			return errors.Join(fmt.Errorf("%s is still served", address), err)
		}
	}
	// What had to be killed is an error to envtest and none here.
	return nil
}

// StopAPIServer stops the kube-apiserver alone; its etcd goes on.
func (c *ControlPlane) StopAPIServer() error {
	err := c.environment.ControlPlane.APIServer.Stop()
	if address := c.environment.ControlPlane.APIServer.SecureServing.URL("https", "").Host; !released(address) {
		return errors.Join(fmt.Errorf("%s is still served", address), err)
	}
	return nil
}

// StartAPIServer ends what StopAPIServer began.
func (c *ControlPlane) StartAPIServer() error {
	if err := c.environment.ControlPlane.APIServer.Start(); err != nil {
		return fmt.Errorf("starting the API server again: %w", err)
	}
	return c.ready()
}

// released waits until nobody listens on an address.
func released(address string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) //nolint:forbidigo // it bounds this call and nothing else
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return ctx.Err() == nil
		}
		conn.Close()
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Close stops the control plane and removes its data.
func (c *ControlPlane) Close() error { return errors.Join(c.Stop(), os.RemoveAll(c.dir)) }

// Config is what clients need, as a user who may do everything.
func (c *ControlPlane) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Scheme returns a scheme with the types of Kubernetes and of the operator.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// Snapshot is a state of etcd.
type Snapshot struct{ dir string }

// Snapshot keeps the state of etcd. The control plane is away for a moment.
func (c *ControlPlane) Snapshot() (Snapshot, error) {
	c.snapshots++
	s := Snapshot{filepath.Join(c.dir, fmt.Sprintf("snapshot-%d", c.snapshots))}
	return s, c.whileStopped(func() error { return os.CopyFS(s.dir, os.DirFS(c.etcdDir())) })
}

// Restore sets etcd back to an earlier state, resource versions and all, as an
// administrator does after a disaster. The control plane is away for a moment.
func (c *ControlPlane) Restore(s Snapshot) error {
	return c.whileStopped(func() error {
		if err := os.RemoveAll(c.etcdDir()); err != nil {
			return err
		}
		if err := os.CopyFS(c.etcdDir(), os.DirFS(s.dir)); err != nil {
			return err
		}
		// etcd insists on a directory that nobody else can read.
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
