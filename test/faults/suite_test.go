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

// Package faults tests how the operator handles failures of everything around it: DLI,
// its gateway and its clock, the API server and etcd, other writers, and its own
// restarts. It observes from outside: the API and the requests to DLI.
//
// test/robustness injects most faults. Here are those that need a stage of their own.
package faults

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// All tests share one control plane; each uses its own namespace.
var controlPlane = &testenv.ControlPlane{CRDs: "../../config/crd/bases"}

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	flag.Parse()
	// The tests spend most of their time waiting.
	must(flag.Set("test.parallel", "20"))
	ctrl.SetLogger(logr.Discard())
	if err := controlPlane.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	must(controlPlane.Close())
	return code
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// every sets the poll interval of a DLIJob.
func every(seconds int32) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) { job.Spec.PollIntervalSeconds = &seconds }
}

// of sets the connection of a DLIJob.
func of(connection string) func(*v1alpha1.DLIJob) {
	return func(job *v1alpha1.DLIJob) {
		job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: connection}
	}
}

// pollNow requests a poll.
func pollNow(job *v1alpha1.DLIJob) {
	metav1.SetMetaDataAnnotation(&job.ObjectMeta, v1alpha1.PollRequestedAtAnnotation, time.Now().Format(time.RFC3339Nano))
}

// events returns the Events about a DLIJob, as type and reason.
func events(w *world.World, name string) (told []string) {
	w.Helper()
	list := &eventsv1.EventList{}
	if err := w.List(w.Context(), list, client.InNamespace(w.Namespace)); err != nil {
		w.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Regarding.Kind == "DLIJob" && e.Regarding.Name == name {
			told = append(told, e.Type+" "+e.Reason)
		}
	}
	return told
}
