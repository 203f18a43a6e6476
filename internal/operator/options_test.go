// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

func TestInvalidOptions(t *testing.T) {
	for says, change := range map[string]func(o *Options){
		"poll interval":              func(o *Options) { o.Controllers.Schedule.PollIntervalMin = o.Controllers.Schedule.PollIntervalMax * 2 },
		"factor":                     func(o *Options) { o.Controllers.Schedule.PollIntervalFactor = 0 },
		"list interval":              func(o *Options) { o.Controllers.Schedule.ListInterval = 1 },
		"negative":                   func(o *Options) { o.Controllers.Schedule.StatusRefreshInterval = -1 },
		"at least 1":                 func(o *Options) { o.Controllers.MaxConcurrentReconciles = 0 },
		"=name: must be namespace":   func(o *Options) { o.DefaultConnection = "name" },
		"=a/b/c: must be":            func(o *Options) { o.DefaultConnection = "a/b/c" },
		"--metrics-cert-dir=/none: ": func(o *Options) { o.MetricsCertDir = "/none" },
		"--watch-label-selector":     func(o *Options) { o.WatchSelector = "a in (" },
	} {
		o := DefaultOptions("test")
		change(&o)
		if err := Run(t.Context(), &rest.Config{}, o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error is %v, want one that says %q", err, says)
		}
	}
}
