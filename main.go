// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// The DLI operator watches SQL and Spark jobs of Huawei Cloud Data Lake Insight on
// behalf of DLIJob resources.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/dli-operator/dli-operator/internal/operator"
)

// version is set at build time.
var version = "dev"

func main() {
	operator.TuneMemory(os.DirFS("/"), os.Getenv)
	options := operator.DefaultOptions(version)
	logging := zap.Options{}
	bindFlags(flag.CommandLine, &options)
	logging.BindFlags(flag.CommandLine)
	showVersion := flag.Bool("version", false, "Print the version and exit.")
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
	case *showVersion:
		fmt.Println(version)
		return
	}
	log := operator.NewLogger(zap.UseFlagOptions(&logging))
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	options.Logger = log
	config, err := ctrl.GetConfig()
	if err == nil {
		err = operator.Run(ctrl.SetupSignalHandler(), config, options)
	}
	if err != nil {
		log.Error(err, "the operator has stopped")
		os.Exit(1)
	}
}

// bindFlags adds the flags that set options, with the present values as defaults.
func bindFlags(flags *flag.FlagSet, o *operator.Options) {
	schedule := &o.Controllers.Schedule
	flags.DurationVar(&schedule.PollIntervalMin, "poll-interval-min", schedule.PollIntervalMin, "Minimum time between two polls of a job without pollIntervalSeconds.")
	flags.DurationVar(&schedule.PollIntervalMax, "poll-interval-max", schedule.PollIntervalMax, "Maximum time between two polls of a job without pollIntervalSeconds.")
	flags.Float64Var(&schedule.PollIntervalFactor, "poll-interval-factor", schedule.PollIntervalFactor, "Time until the next poll, as a fraction of the time that the job has been running.")
	flags.DurationVar(&schedule.ListInterval, "list-interval", schedule.ListInterval, "Time between two lists of a connection's active jobs, used where they cost little; 0 disables lists.")
	flags.DurationVar(&schedule.ListTrust, "list-trust", schedule.ListTrust, "Maximum time without an individual poll of a job without pollIntervalSeconds, even if lists show it as active.")
	flags.DurationVar(&schedule.StatusRefreshInterval, "status-refresh-interval", schedule.StatusRefreshInterval, "Minimum time between two writes of a running job's figures.")
	flags.DurationVar(&schedule.StallAfter, "stall-after", schedule.StallAfter, "How long a job may be unreadable for a cause that requires user action before its DLIJob is Stalled.")
	flags.DurationVar(&schedule.NotFoundAfter, "not-found-after", schedule.NotFoundAfter, "How long DLI must report that it has no such job before the operator treats this as confirmed.")

	connections := &o.Controllers.Connections
	flags.StringVar(&o.DefaultConnection, "default-connection", o.DefaultConnection, "The DLIConnection, as namespace/name, for DLIJobs that name none and whose namespace has none named \"default\".")
	flags.Func("allowed-endpoint-hosts", "Comma-separated patterns of the hosts that a DLIConnection may use as its endpoint; * matches one label, or one or more at the beginning. (default "+strings.Join(connections.AllowedHosts, ",")+")", parseList(&connections.AllowedHosts))
	flags.Func("pod-identity-namespaces", "Comma-separated namespaces whose DLIConnections may use podIdentity, which uses the operator's own permissions in DLI; empty for all.", parseList(&connections.PodIdentityNamespaces))
	flags.BoolVar(&connections.AllowInsecure, "allow-insecure-endpoints", connections.AllowInsecure, "Allow http, and any host and address as endpoint. For demos and tests only: credentials are sent unencrypted, and DLIConnections can make the operator call hosts of its own network.")
	flags.IntVar(&o.Controllers.MaxConcurrentReconciles, "max-concurrent-reconciles", o.Controllers.MaxConcurrentReconciles, "Maximum number of DLIJobs written concurrently; up to four times as many while writes are slow and the API server refuses none.")
	flags.IntVar(&o.Controllers.MaxConcurrentPolls, "max-concurrent-polls", o.Controllers.MaxConcurrentPolls, "Maximum number of concurrent requests to DLI.")
	flags.Func("watch-namespaces", "Comma-separated namespaces to watch; empty for all. If set, permissions in these namespaces are enough.", parseList(&o.WatchNamespaces))
	flags.StringVar(&o.WatchSelector, "watch-label-selector", o.WatchSelector, "Label selector of the DLIJobs to watch; empty for all.")
	flags.BoolVar(&o.Controllers.ReportConnections, "report-connections", o.Controllers.ReportConnections, "Write the status of DLIConnections. If several operators share the DLIJobs by --watch-label-selector, enable this on one of them.")

	flags.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "Work only while holding the lease, so that several replicas can run.")
	flags.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", o.LeaderElectionNamespace, "Namespace of the lease; the operator's own if empty.")
	flags.StringVar(&o.LeaderElectionID, "leader-election-id", o.LeaderElectionID, "Name of the lease.")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", o.MetricsAddress, "Address of the metrics endpoint; 0 disables it.")
	flags.BoolVar(&o.MetricsSecure, "metrics-secure", o.MetricsSecure, "Serve metrics over TLS, to clients that the API server authenticates and authorizes.")
	flags.StringVar(&o.MetricsCertDir, "metrics-cert-dir", o.MetricsCertDir, "Directory with tls.crt and tls.key for metrics, which may be renewed there at any time; if empty, the operator signs a certificate itself at each start.")
	flags.StringVar(&o.ProbeAddress, "health-probe-bind-address", o.ProbeAddress, "Address of /healthz and /readyz; 0 disables them.")
	flags.StringVar(&o.PprofAddress, "pprof-bind-address", o.PprofAddress, "Address of the profiler, such as localhost:6060; 0 disables it.")
}

// parseList returns the parser of a comma-separated flag.
func parseList(list *[]string) func(text string) error {
	return func(text string) error {
		*list = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	}
}
