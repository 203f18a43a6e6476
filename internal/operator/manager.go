// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/controllers"
)

// shutdownTimeout is how long writes that have begun may take after ctx is done.
const shutdownTimeout = 30 * time.Second

// errRestored says that only a new process is sure to see the current state.
var errRestored = errors.New("the API server has gone back to an earlier state, as after a restore of etcd; exiting to restart with fresh caches")

// Run runs an operator until ctx is done, or returns the error that prevents it from
// working. After an error, parts of it may still run: the process should end.
func Run(ctx context.Context, config *rest.Config, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	if o.Controllers.Connections.AllowInsecure {
		o.Logger.Info("WARNING: --allow-insecure-endpoints is set: credentials may be sent unencrypted, and a DLIConnection can make the operator call any host of its network")
	}
	config = rest.CopyConfig(config)
	// The API server's priority and fairness is enough; the client's default
	// would throttle status writes to tens per second.
	config.QPS = -1
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	scope, err := findScope(ctx, config, o)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	o.Controllers.Connections.Scope = scope
	fill := &firstFill{fail: fail}
	mgr, err := newManager(ctx, config, o, fill)
	if err != nil {
		return err
	}
	o.Logger.Info("starting", "version", o.Controllers.Version)
	stopped := make(chan error, 1)
	go func() {
		err := mgr.Start(ctx)
		fail(err)
		stopped <- err
	}()
	<-ctx.Done()
	switch cause := context.Cause(ctx); {
	case !errors.Is(cause, context.Canceled): // a failure waits for nothing that may hang
		return cause
	case !fill.done.Load():
		return nil // the manager would wait for its caches
	}
	return <-stopped
}

// newManager returns a manager with the controllers.
func newManager(ctx context.Context, config *rest.Config, o Options, fill *firstFill) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	metricsOptions := metricsserver.Options{BindAddress: o.MetricsAddress, SecureServing: o.MetricsSecure, CertDir: o.MetricsCertDir}
	if o.MetricsSecure {
		metricsOptions.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	managerOptions := ctrl.Options{
		Scheme:                        scheme,
		Logger:                        o.Logger,
		Cache:                         cacheOptions(o, fill.handleWatchError),
		Metrics:                       metricsOptions,
		HealthProbeBindAddress:        o.ProbeAddress,
		PprofBindAddress:              o.PprofAddress,
		LeaderElectionID:              o.LeaderElectionID, // names its metric
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
		RenewDeadline:                 new(renewDeadline),
		RetryPeriod:                   new(retryPeriod),
		GracefulShutdownTimeout:       new(shutdownTimeout),
		// Tests run several operators in one process.
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	}
	if o.LeaderElect {
		lease, err := newLease(ctx, config, o, fill.fail)
		if err != nil {
			return nil, fmt.Errorf("preparing the leader election: %w", err)
		}
		managerOptions.LeaderElection, managerOptions.LeaderElectionResourceLockInterface = true, lease
		o.Controllers.Leads = lease.isHeld
	}
	o.Controllers.Restored = func() { fill.fail(errRestored) }
	mgr, err := ctrl.NewManager(config, managerOptions)
	if err != nil {
		return nil, fmt.Errorf("creating the manager: %w", err)
	}
	if err := fill.addInformers(ctx, mgr.GetCache(), o.Controllers.Connections.Scope); err != nil {
		return nil, err
	}
	// The poller adds its own checks.
	return mgr, errors.Join(
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("caches", fill.checkReady),
		controllers.Add(ctx, mgr, o.Controllers),
	)
}
