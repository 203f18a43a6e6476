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

package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/dli-operator/dli-operator/test/testenv"
)

func TestInvalidFlags(t *testing.T) {
	nobody, err := testenv.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	for given, says := range map[string]string{
		"--poll-interval-min=2m":         "poll interval",
		"--poll-interval-factor=0":       "factor",
		"--list-interval=10ms":           "list interval",
		"--max-concurrent-reconciles=0":  "at least 1",
		"--default-connection=name":      "namespace/name",
		"--default-connection=a/b/c":     "namespace/name",
		"--watch-label-selector=a in (":  "--watch-label-selector",
		"--status-refresh-interval=-10s": "negative",
	} {
		var o options
		flags := flag.NewFlagSet("manager", flag.ContinueOnError)
		o.bind(flags)
		if err := flags.Parse([]string{given, "--metrics-bind-address=0", "--health-probe-bind-address=0"}); err != nil {
			t.Fatal(err)
		}
		err := run(t.Context(), &rest.Config{Host: nobody}, o, logr.Discard())
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error is %v, want one that says %q", given, err, says)
		}
	}
}
