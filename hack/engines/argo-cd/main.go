// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Command argo-cd-sync does what Argo CD's application controller does when it
// syncs: the same engine applies manifests in waves and as hooks, and judges
// their health by the scripts of an argocd-cm. It fails when the sync does.
//
//	argo-cd-sync -argocd-cm=config/argocd/argocd-cm.yaml -namespace=analytics manifests.yaml
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/cache"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync/common"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
	appv1 "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

func main() {
	configMap := flag.String("argocd-cm", "", "File of the ConfigMap that has the health scripts.")
	namespace := flag.String("namespace", "default", "Namespace to sync.")
	flag.Parse()
	if err := synchronize(context.Background(), *configMap, *namespace, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func synchronize(ctx context.Context, configMap, namespace, manifests string) error {
	scripts, err := healthScripts(configMap)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(manifests)
	if err != nil {
		return err
	}
	targets, err := kube.SplitYAML(text)
	if err != nil {
		return fmt.Errorf("%s: %w", manifests, err)
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 50, 100 // those of Argo CD
	cluster := cache.NewClusterCache(config,
		cache.SetNamespaces([]string{namespace}),
		cache.SetPopulateResourceInfoHandler(func(*unstructured.Unstructured, bool) (any, bool) { return nil, true }))
	for err := cluster.EnsureSynced(); err != nil; err = cluster.EnsureSynced() {
		fmt.Fprintln(os.Stderr, "trying again:", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var (
		kubectl = &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}}
		phase   common.OperationPhase
		message string
		results []common.ResourceSyncResult
		started = metav1.Now()
	)
	// As the controller, whenever it looks at an Application again: from the live
	// state, and from what the last time came to.
	for !phase.Completed() {
		// What is not among the manifests is not managed, so nothing is pruned.
		live, err := cluster.GetManagedLiveObjs(targets, func(*cache.Resource) bool { return false })
		if err != nil {
			return err
		}
		operation, done, err := sync.NewSyncContext("HEAD", sync.Reconcile(targets, live, namespace, cluster), config, config, kubectl, namespace,
			sync.WithHealthOverride(scripts), sync.WithInitialState(phase, message, results, started), sync.WithLogr(logr.Discard()))
		if err != nil {
			return err
		}
		operation.Sync()
		phase, message, results = operation.GetState()
		done()
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, result := range results {
		fmt.Printf("%s: %s %s: %s\n", result.ResourceKey.String(), result.Status, result.HookPhase, result.Message)
	}
	if !phase.Successful() {
		return fmt.Errorf("the sync %s: %s", phase, message)
	}
	return nil
}

// healthScripts reads them as Argo CD does: their keys end in group_Kind.
func healthScripts(configMap string) (lua.ResourceHealthOverrides, error) {
	text, err := os.ReadFile(configMap)
	if err != nil {
		return nil, err
	}
	settings := corev1.ConfigMap{}
	if err := yaml.Unmarshal(text, &settings); err != nil {
		return nil, fmt.Errorf("%s: %w", configMap, err)
	}
	scripts := lua.ResourceHealthOverrides{}
	for key, script := range settings.Data {
		if kind, ok := strings.CutPrefix(key, "resource.customizations.health."); ok {
			scripts[strings.Replace(kind, "_", "/", 1)] = appv1.ResourceOverride{HealthLua: script}
		}
	}
	return scripts, nil
}
