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
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
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

// all is the namespace of a permission in the whole cluster.
var all = []string{metav1.NamespaceAll}

var (
	jobResource        = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "dlijobs"}
	connectionResource = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "dliconnections"}
	namespaceResource  = schema.GroupResource{Resource: "namespaces"}
)

// findScope returns what the operator can read, as the API server says. It waits for an
// API server that does not answer: a process that ends instead is restarted later and
// later. The error names missing permissions, whose caches could never be filled.
func findScope(ctx context.Context, config *rest.Config, o Options) (scope connection.Scope, err error) {
	config = rest.CopyConfig(config)
	config.Timeout = reviewTimeout
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return scope, fmt.Errorf("creating the access review client: %w", err)
	}
	var missing []string
	var failure error
	err = wait.PollUntilContextTimeout(ctx, time.Second, answerTimeout, true, func(ctx context.Context) (bool, error) {
		scope, missing, failure = readableScope(ctx, client.AuthorizationV1().SelfSubjectAccessReviews(), o.WatchNamespaces, o.Controllers.Connections.Default.Namespace)
		return failure == nil || apierrors.IsForbidden(failure), nil
	})
	switch {
	case err != nil:
		return scope, fmt.Errorf("the API server does not answer: %w", errors.Join(err, failure))
	case failure != nil:
		o.Logger.Info("cannot check the operator's permissions; assuming that they are sufficient", "error", failure.Error())
		return connection.Scope{}, nil //nolint:nilerr // it tries anyway
	case len(missing) > 0:
		return scope, fmt.Errorf("the operator lacks permission to %s; bind its ServiceAccount to the ClusterRole of config/rbac, "+
			"or to the Role of config/namespaced in each namespace of --watch-namespaces and --default-connection", strings.Join(missing, ", and to "))
	}
	o.Logger.Info("checked the operator's permissions",
		"dliJobs", orAll(o.WatchNamespaces), "dliConnections", orAll(scope.ConnectionNamespaces), "grantsBySelector", !scope.WithoutNamespaces)
	return scope, nil
}

func orAll(namespaces []string) string {
	return cmp.Or(strings.Join(namespaces, ","), "all namespaces")
}

// readableScope returns what an operator can read that watches the DLIJobs in some
// namespaces (all if empty), and which permissions it lacks for that.
func readableScope(ctx context.Context, reviews authorizationclient.SelfSubjectAccessReviewInterface, watched []string, defaultNamespace string) (scope connection.Scope, missing []string, err error) {
	everyConnection, errConnections := missingPermissions(ctx, reviews, connectionResource, all)
	everyNamespace, errNamespaces := missingPermissions(ctx, reviews, namespaceResource, all)
	if len(watched) == 0 {
		everyJob, errJobs := missingPermissions(ctx, reviews, jobResource, all)
		return scope, slices.Concat(everyJob, everyConnection, everyNamespace), errors.Join(errConnections, errNamespaces, errJobs)
	}
	missing, errJobs := missingPermissions(ctx, reviews, jobResource, watched)
	scope.WithoutNamespaces = len(everyNamespace) > 0
	if len(everyConnection) > 0 {
		scope.ConnectionNamespaces = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(watched), cmp.Or(defaultNamespace, watched[0])))))
		var ofConnections []string
		ofConnections, err = missingPermissions(ctx, reviews, connectionResource, scope.ConnectionNamespaces)
		missing = append(missing, ofConnections...)
	}
	return scope, missing, errors.Join(errConnections, errNamespaces, errJobs, err)
}

// missingPermissions returns what the operator may not do of listing and watching a
// resource in some namespaces.
func missingPermissions(ctx context.Context, reviews authorizationclient.SelfSubjectAccessReviewInterface, resource schema.GroupResource, namespaces []string) (missing []string, err error) {
	for _, namespace := range namespaces {
		where := "namespace " + namespace
		if namespace == metav1.NamespaceAll {
			where = "the whole cluster"
		}
		for _, verb := range []string{"list", "watch"} {
			review, err := reviews.Create(ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: resource.Group, Resource: resource.Resource, Namespace: namespace},
			}}, metav1.CreateOptions{})
			if err != nil {
				return nil, fmt.Errorf("checking whether the operator may %s %s in %s: %w", verb, resource, where, err)
			}
			if !review.Status.Allowed {
				missing = append(missing, fmt.Sprintf("list and watch %s in %s", resource, where))
				break
			}
		}
	}
	return missing, nil
}
