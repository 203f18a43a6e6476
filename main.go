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

// The DLI operator watches SQL jobs in Huawei Cloud Data Lake Insight on behalf
// of DLIJob resources.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/controllers"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// version is set at build time.
var version = "dev"

// options are the command-line options.
type options struct {
	controllers controllers.Options

	defaultConnection string
	allowedHosts      string
	podIdentity       string
	watchNamespaces   string
	watchSelector     string

	leaderElect             bool
	leaderElectionNamespace string
	leaderElectionID        string

	metricsAddress string
	metricsSecure  bool
	probeAddress   string
	pprofAddress   string

	showVersion bool
	logging     zap.Options
}

func (o *options) bind(flags *flag.FlagSet) {
	schedule := &o.controllers.Schedule
	*schedule = poller.DefaultSchedule()
	flags.DurationVar(&schedule.PollIntervalMin, "poll-interval-min", schedule.PollIntervalMin, "Minimum time between two polls of a job without pollIntervalSeconds.")
	flags.DurationVar(&schedule.PollIntervalMax, "poll-interval-max", schedule.PollIntervalMax, "Maximum time between two polls of a job without pollIntervalSeconds.")
	flags.Float64Var(&schedule.PollIntervalFactor, "poll-interval-factor", schedule.PollIntervalFactor, "Time until the next poll, as a fraction of the time that the job has been running.")
	flags.DurationVar(&schedule.ListInterval, "list-interval", schedule.ListInterval, "Time between two lists of a connection's active jobs, used where lists take fewer requests than polling each job; 0 disables lists.")
	flags.DurationVar(&schedule.ListTrust, "list-trust", schedule.ListTrust, "Maximum time without an individual poll of a job without pollIntervalSeconds, even if lists show it as active.")
	flags.DurationVar(&schedule.StatusRefreshInterval, "status-refresh-interval", schedule.StatusRefreshInterval, "Minimum time between two writes of a running job's figures.")
	flags.DurationVar(&schedule.StallAfter, "stall-after", schedule.StallAfter, "How long a job may be unreadable for a cause that requires user action before its DLIJob is Stalled.")
	flags.DurationVar(&schedule.NotFoundAfter, "not-found-after", schedule.NotFoundAfter, "How long DLI must report that it has no such job before the operator treats this as confirmed.")

	flags.StringVar(&o.defaultConnection, "default-connection", "", "The DLIConnection, as namespace/name, for DLIJobs that name none and whose namespace has none named \"default\".")
	flags.StringVar(&o.allowedHosts, "allowed-endpoint-hosts", strings.Join(dli.DefaultAllowedHosts, ","), "Comma-separated patterns of the hosts that a DLIConnection may use as its endpoint; * matches one label, or one or more at the beginning.")
	flags.StringVar(&o.podIdentity, "pod-identity-namespaces", "", "Comma-separated namespaces whose DLIConnections may use podIdentity, which uses the operator's own permissions in DLI; empty for all.")
	flags.BoolVar(&o.controllers.Connections.AllowInsecure, "allow-insecure-endpoints", false, "Allow http, and any host and address as endpoint. For demos and tests only: credentials are sent unencrypted, and DLIConnections can make the operator call hosts of its own network.")
	flags.IntVar(&o.controllers.MaxConcurrentReconciles, "max-concurrent-reconciles", 100, "Maximum number of DLIJobs written concurrently.")
	flags.IntVar(&o.controllers.MaxConcurrentPolls, "max-concurrent-polls", 100, "Maximum number of concurrent requests to DLI.")
	flags.StringVar(&o.watchNamespaces, "watch-namespaces", "", "Comma-separated namespaces to watch; empty for all. If set, permissions in these namespaces are enough.")
	flags.StringVar(&o.watchSelector, "watch-label-selector", "", "Label selector of the DLIJobs to watch; empty for all.")

	flags.BoolVar(&o.controllers.ReportConnections, "report-connections", true, "Write the status of DLIConnections. If several operators share the DLIJobs by --watch-label-selector, enable this on one of them.")

	flags.BoolVar(&o.leaderElect, "leader-elect", false, "Work only while holding the lease, so that several replicas can run.")
	flags.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "", "Namespace of the lease; the operator's own if empty.")
	flags.StringVar(&o.leaderElectionID, "leader-election-id", "dli-operator", "Name of the lease.")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8443", "Address of the metrics endpoint; 0 disables it.")
	flags.BoolVar(&o.metricsSecure, "metrics-secure", true, "Serve metrics over TLS, to clients that the API server authenticates and authorizes.")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz; 0 disables them.")
	flags.StringVar(&o.pprofAddress, "pprof-bind-address", "0", "Address of the profiler, such as localhost:6060; 0 disables it.")
	flags.BoolVar(&o.showVersion, "version", false, "Print the version and exit.")
	o.logging.BindFlags(flags)
}

// complete validates the flags and derives the settings that depend on several.
func (o *options) complete() error {
	if err := o.controllers.Schedule.Validate(); err != nil {
		return err
	}
	if o.controllers.MaxConcurrentReconciles < 1 || o.controllers.MaxConcurrentPolls < 1 {
		return fmt.Errorf("--max-concurrent-reconciles=%d, --max-concurrent-polls=%d: each must be at least 1",
			o.controllers.MaxConcurrentReconciles, o.controllers.MaxConcurrentPolls)
	}
	if o.defaultConnection != "" {
		namespace, name, ok := strings.Cut(o.defaultConnection, "/")
		if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			return fmt.Errorf("--default-connection=%s: must be namespace/name", o.defaultConnection)
		}
		o.controllers.Connections.Default = types.NamespacedName{Namespace: namespace, Name: name}
	}
	o.controllers.Connections.AllowedHosts = list(o.allowedHosts)
	o.controllers.Connections.PodIdentityNamespaces = list(o.podIdentity)
	o.controllers.Connections.UserAgent = "dli-operator/" + version
	o.controllers.Version = version
	o.controllers.Registry = metrics.Registry
	return nil
}

// list splits a comma-separated flag.
func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// gcPercent is how much the heap may grow before the next collection, unless GOGC is
// set: most of it is the long-lived cache, so Go's default of 100 would nearly double
// the operator's memory.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	var o options
	o.bind(flag.CommandLine)
	flag.CommandLine.Init("manager", flag.ContinueOnError)
	// The termination message has the last lines of the log only: with the usage after
	// the error, it would not show which flag is invalid.
	flag.Usage = func() {}
	switch err := flag.CommandLine.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		flag.PrintDefaults()
		return
	case err != nil:
		os.Exit(2)
	}
	if o.showVersion {
		fmt.Println(version)
		return
	}
	log := zap.New(zap.UseFlagOptions(&o.logging))
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	config, err := ctrl.GetConfig()
	if err == nil {
		err = run(ctrl.SetupSignalHandler(), config, o, log)
	}
	if err != nil {
		log.Error(err, "the operator has stopped")
		os.Exit(1)
	}
}

// run starts the operator and returns when ctx is done, or with an error that
// prevents it from working.
func run(ctx context.Context, config *rest.Config, o options, log logr.Logger) error {
	if err := o.complete(); err != nil {
		return err
	}
	if o.controllers.Connections.AllowInsecure {
		log.Info("WARNING: --allow-insecure-endpoints is set: credentials may be sent unencrypted, and a DLIConnection can make the operator call any host of its network")
	}
	// The API server's priority and fairness is enough; the client's default
	// would throttle status writes to tens per second.
	config.QPS = -1
	scope, err := findScope(ctx, config, o, log)
	if err != nil {
		return err
	}
	o.controllers.Connections.Scope = scope

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	fill := newFirstFill(ctx.Done(), stop)
	lease, err := newLease(config, o)
	if err != nil {
		return fmt.Errorf("preparing the leader election: %w", err)
	}
	mgr, err := newManager(config, o, fill, lease)
	if err != nil {
		return err
	}
	if err := fill.warm(ctx, mgr.GetCache(), scope); err != nil {
		return err
	}
	if lease != nil {
		lease.announcer.manager.Store(&mgr)
		o.controllers.Leads = lease.holds
		if err := mgr.Add(lease); err != nil {
			return fmt.Errorf("adding the watch of the lease: %w", err)
		}
	}
	rewound := make(chan struct{}, 1)
	o.controllers.Restored = func() {
		select {
		case rewound <- struct{}{}:
		default:
		}
	}
	if err := mgr.Add(endWhenRewound(rewound)); err != nil {
		return fmt.Errorf("adding the watch for restores of etcd: %w", err)
	}
	if err := controllers.Add(ctx, mgr, o.controllers); err != nil {
		return err
	}
	log.Info("starting", "version", version)
	go fill.wait(ctx, mgr.GetCache())
	return fill.outcome(mgr.Start(ctx))
}

// endWhenRewound stops the operator once the API server has gone back to an
// earlier state: only a new process is sure to see the current state.
func endWhenRewound(rewound <-chan struct{}) manager.RunnableFunc {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-rewound:
			return errors.New("the API server has gone back to an earlier state, as after a restore of etcd; exiting to restart with fresh caches")
		}
	}
}

func newManager(config *rest.Config, o options, fill *firstFill, lease *ownLease) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	cacheOptions, err := cacheOptions(o)
	if err != nil {
		return nil, err
	}
	metricsOptions := metricsserver.Options{BindAddress: o.metricsAddress, SecureServing: o.metricsSecure}
	if o.metricsSecure {
		metricsOptions.FilterProvider = filters.WithAuthenticationAndAuthorization
		metricsOptions.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }}
	}
	managerOptions := ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cacheOptions,
		NewCache:                      fill.newCache,
		Metrics:                       metricsOptions,
		HealthProbeBindAddress:        o.probeAddress,
		PprofBindAddress:              o.pprofAddress,
		LeaderElection:                lease != nil,
		LeaderElectionID:              o.leaderElectionID, // names its metric
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
		RenewDeadline:                 new(renewDeadline),
		RetryPeriod:                   new(retryPeriod),
		GracefulShutdownTimeout:       new(30 * time.Second),
	}
	if lease != nil {
		managerOptions.LeaderElectionResourceLockInterface = lease
	}
	mgr, err := ctrl.NewManager(config, managerOptions)
	if err != nil {
		return nil, fmt.Errorf("creating the manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	// The poller adds its own check.
	return mgr, mgr.AddReadyzCheck("caches", fill.ready)
}
