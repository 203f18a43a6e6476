// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/dli-operator/dli-operator/controllers"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
	"github.com/dli-operator/dli-operator/internal/poller"
)

// Options configure an operator. main.go has a flag for each, and says what it means.
type Options struct {
	Controllers controllers.Options

	DefaultConnection string
	WatchNamespaces   []string
	WatchSelector     string

	LeaderElect             bool
	LeaderElectionNamespace string
	LeaderElectionID        string

	MetricsAddress string
	MetricsSecure  bool
	MetricsCertDir string
	ProbeAddress   string
	PprofAddress   string

	Logger logr.Logger

	selector labels.Selector // WatchSelector
}

// DefaultOptions returns the options of an operator without flags.
func DefaultOptions(version string) Options {
	return Options{
		Controllers: controllers.Options{
			Schedule: poller.DefaultSchedule(),
			Connections: connection.Options{
				AllowedHosts: slices.Clone(dli.DefaultAllowedHosts),
				UserAgent:    "dli-operator/" + version,
			},
			MaxConcurrentPolls:      100,
			MaxConcurrentReconciles: 100,
			ReportConnections:       true,
			Version:                 version,
			Registry:                metrics.Registry,
		},
		LeaderElectionID: "dli-operator",
		MetricsAddress:   ":8443",
		MetricsSecure:    true,
		ProbeAddress:     ":8081",
		PprofAddress:     "0",
	}
}

// complete validates the options and derives those that depend on others.
func (o *Options) complete() error {
	if err := o.Controllers.Schedule.Validate(); err != nil {
		return err
	}
	if o.Controllers.MaxConcurrentReconciles < 1 || o.Controllers.MaxConcurrentPolls < 1 {
		return fmt.Errorf("--max-concurrent-reconciles=%d, --max-concurrent-polls=%d: each must be at least 1",
			o.Controllers.MaxConcurrentReconciles, o.Controllers.MaxConcurrentPolls)
	}
	if o.MetricsCertDir != "" { // else the server would sign a certificate itself
		if _, err := tls.LoadX509KeyPair(filepath.Join(o.MetricsCertDir, "tls.crt"), filepath.Join(o.MetricsCertDir, "tls.key")); err != nil {
			return fmt.Errorf("--metrics-cert-dir=%s: %w", o.MetricsCertDir, err)
		}
	}
	var err error
	if o.selector, err = labels.Parse(o.WatchSelector); err != nil {
		return fmt.Errorf("--watch-label-selector=%s: %w", o.WatchSelector, err)
	}
	if o.DefaultConnection != "" {
		namespace, name, ok := strings.Cut(o.DefaultConnection, "/")
		if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			return fmt.Errorf("--default-connection=%s: must be namespace/name", o.DefaultConnection)
		}
		o.Controllers.Connections.Default = types.NamespacedName{Namespace: namespace, Name: name}
	}
	return nil
}
