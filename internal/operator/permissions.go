// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
)

const (
	// reviewTimeout bounds each access review, and answerTimeout how long to wait for an
	// API server that does not answer.
	reviewTimeout = 5 * time.Second
	answerTimeout = 2 * time.Minute
)

// findScope returns what the operator can read that watches some namespaces, as the API
// server says: DLIConnections everywhere or only there, and Namespaces or not. What it
// lacks besides shows when it lists that. It waits for an API server that does not answer:
// a process that ends instead is restarted later and later.
func findScope(ctx context.Context, config *rest.Config, o Options) (scope connection.Scope, err error) {
	config = rest.CopyConfig(config)
	config.Timeout = reviewTimeout
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return scope, fmt.Errorf("creating the access review client: %w", err)
	}
	var everyConnection, everyNamespace bool
	var failure error
	err = wait.PollUntilContextTimeout(ctx, time.Second, answerTimeout, true, func(ctx context.Context) (bool, error) {
		if everyConnection, failure = canWatch(ctx, client, v1alpha1.GroupVersion.Group, "dliconnections"); failure == nil {
			everyNamespace, failure = canWatch(ctx, client, "", "namespaces")
		}
		return failure == nil || apierrors.IsForbidden(failure), nil
	})
	switch {
	case err != nil:
		return scope, fmt.Errorf("the API server does not answer: %w", errors.Join(err, failure))
	case failure != nil:
		o.Logger.Info("cannot check the operator's permissions; assuming that they are sufficient", "error", failure.Error())
		return scope, nil //nolint:nilerr // it tries anyway
	case len(o.WatchNamespaces) > 0:
		scope.WithoutNamespaces = !everyNamespace
		if !everyConnection {
			all := append(slices.Clone(o.WatchNamespaces), cmp.Or(o.Controllers.Connections.Default.Namespace, o.WatchNamespaces[0]))
			scope.ConnectionNamespaces = slices.Compact(slices.Sorted(slices.Values(all)))
		}
	}
	o.Logger.Info("checked the operator's permissions",
		"dliJobs", orAll(o.WatchNamespaces), "dliConnections", orAll(scope.ConnectionNamespaces), "grantsBySelector", !scope.WithoutNamespaces)
	return scope, nil
}

func orAll(namespaces []string) string {
	return cmp.Or(strings.Join(namespaces, ","), "all namespaces")
}

// canWatch reports whether the operator may watch a resource in the whole cluster.
func canWatch(ctx context.Context, client kubernetes.Interface, group, resource string) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "watch", Group: group, Resource: resource},
	}}
	review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("checking whether the operator may watch %s: %w", resource, err)
	}
	return review.Status.Allowed, nil
}
