// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
	"github.com/dli-operator/dli-operator/test/world"
)

// The exporter's templates get an Event of the core API, in which the operator's Events
// must be found as the page says.
func TestNotificationsNameTheJobAndItsError(t *testing.T) {
	w := world.New(t, controlPlane)
	w.DLI.SetJob(dlitest.Query("nightly-load").Running(time.Second).Fails("DLI.0005: no such table"))
	w.WatchJob("nightly-load")
	w.Options.Controllers.Schedule = quick()
	w.Start()

	var exporter struct {
		Route struct {
			Routes []struct {
				Match []struct{ Kind, Type, Receiver string }
			}
		}
		Receivers []struct {
			Name    string
			Webhook struct{ Layout map[string]any }
		}
	}
	block := testenv.CodeBlock(t, testenv.Read(t, "../docs/notifications.md"), "yaml", "logLevel")
	if err := yaml.Unmarshal([]byte(block), &exporter); err != nil {
		t.Fatal(err)
	}
	match := exporter.Route.Routes[0].Match
	if len(match) != len(exporter.Receivers) || len(match) < 4 {
		t.Fatalf("%d matches have %d receivers", len(match), len(exporter.Receivers))
	}
	var event corev1.Event
	if !eventually(func() bool {
		list := &corev1.EventList{}
		if err := admin.List(t.Context(), list, client.InNamespace(w.Namespace)); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Kind == match[0].Kind && e.Type == match[0].Type {
				event = e
				return true
			}
		}
		return false
	}) {
		t.Fatalf("there is no Event of kind %s and type %s", match[0].Kind, match[0].Type)
	}
	for i, receiver := range exporter.Receivers {
		if match[i].Receiver != receiver.Name || match[i].Kind != match[0].Kind || match[i].Type != match[0].Type {
			t.Errorf("the match of %s is %+v", receiver.Name, match[i])
		}
		layout, err := json.Marshal(receiver.Webhook.Layout)
		if err != nil {
			t.Fatal(err)
		}
		var message strings.Builder
		if err := template.Must(template.New(receiver.Name).Parse(string(layout))).Execute(&message, event); err != nil {
			t.Errorf("%s: %v", receiver.Name, err)
		}
		for _, want := range []string{w.Namespace + "/nightly-load", "JobFailed", "DLI.0005: no such table"} {
			if !strings.Contains(message.String(), want) {
				t.Errorf("the message to %s does not say %q: %s", receiver.Name, want, message.String())
			}
		}
	}
}

func TestNotificationRecipesAreYAML(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(testenv.Read(t, "../docs/notifications.md"), -1)
	if len(blocks) < 6 {
		t.Fatalf("there are only %d recipes", len(blocks))
	}
	for _, block := range blocks {
		for document := range strings.SplitSeq(block[1], "\n---\n") {
			var recipe map[string]any
			if err := yaml.UnmarshalStrict([]byte(document), &recipe); err != nil {
				t.Errorf("%v\n%s", err, document)
			}
		}
	}
}
