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
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
)

// reviewTimeout bounds all access reviews together.
const reviewTimeout = 15 * time.Second

var (
	jobs        = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "dlijobs"}
	connections = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "dliconnections"}
	namespaces  = schema.GroupResource{Resource: "namespaces"}
)

// right is the permission that a cache needs: to list and watch a resource in a
// namespace or, if that is empty, in the whole cluster.
type right struct {
	resource  schema.GroupResource
	namespace string
}

func (r right) String() string {
	where := "in the whole cluster"
	if r.namespace != metav1.NamespaceAll {
		where = "in namespace " + r.namespace
	}
	return fmt.Sprintf("list and watch %s %s", r.resource, where)
}

// toRead returns the rights needed to cache a resource.
func toRead(resource schema.GroupResource, namespaces ...string) []right {
	rights := make([]right, len(namespaces))
	for i, namespace := range namespaces {
		rights[i] = right{resource, namespace}
	}
	return rights
}

// missingRightsError names the missing permissions, so that the operator does not
// wait in vain for caches that cannot be filled.
type missingRightsError struct {
	rights []right
	wayOut string
}

func (e *missingRightsError) Error() string {
	missing := make([]string, len(e.rights))
	for i, r := range e.rights {
		missing[i] = r.String()
	}
	return fmt.Sprintf("the operator lacks permission to %s; %s", strings.Join(missing, ", and to "), e.wayOut)
}

// findScope asks the API server what the operator may read, and returns the
// resulting scope. If the API server does not answer, the operator tries anyway.
func findScope(ctx context.Context, config *rest.Config, o options, log logr.Logger) (connection.Scope, error) {
	client, err := authorizationclient.NewForConfig(config)
	if err != nil {
		return connection.Scope{}, fmt.Errorf("creating the access review client: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	scope, lacking, err := scopeOf(ctx, client.SelfSubjectAccessReviews(), list(o.watchNamespaces), o.controllers.Connections.Default.Namespace)
	switch {
	case err != nil:
		log.Info("cannot check the operator's permissions; assuming that they are sufficient", "why", err.Error())
		return connection.Scope{}, nil
	case lacking != nil:
		return connection.Scope{}, lacking
	}
	log.Info("checked the operator's permissions",
		"dliJobs", orAll(list(o.watchNamespaces)), "dliConnections", orAll(scope.ConnectionNamespaces), "grantsBySelector", !scope.WithoutNamespaces)
	return scope, nil
}

func orAll(namespaces []string) string {
	if len(namespaces) == 0 {
		return "all namespaces"
	}
	return strings.Join(namespaces, ",")
}

// scopeOf returns what an operator can read that watches the DLIJobs in some
// namespaces (all if empty), and which permissions it lacks.
func scopeOf(ctx context.Context, reviews authorizationclient.SelfSubjectAccessReviewInterface, watched []string, ofDefault string) (connection.Scope, *missingRightsError, error) {
	const all = metav1.NamespaceAll
	var scope connection.Scope
	if len(watched) == 0 {
		needed := slices.Concat(toRead(jobs, all), toRead(connections, all), toRead(namespaces, all))
		lacking, err := denied(ctx, reviews, needed, "bind its ServiceAccount to the ClusterRole of config/rbac, or restrict it to some namespaces with --watch-namespaces and a Role in each of them, as in config/namespaced")
		return scope, lacking, err
	}
	needed := toRead(jobs, watched...)
	everyConnection, err := denied(ctx, reviews, toRead(connections, all), "")
	if err != nil {
		return scope, nil, err
	}
	if everyConnection != nil {
		scope.ConnectionNamespaces = slices.Clone(watched)
		if ofDefault != "" {
			scope.ConnectionNamespaces = append(scope.ConnectionNamespaces, ofDefault)
		}
		slices.Sort(scope.ConnectionNamespaces)
		scope.ConnectionNamespaces = slices.Compact(scope.ConnectionNamespaces)
		needed = append(needed, toRead(connections, scope.ConnectionNamespaces...)...)
	}
	everyNamespace, err := denied(ctx, reviews, toRead(namespaces, all), "")
	if err != nil {
		return scope, nil, err
	}
	scope.WithoutNamespaces = everyNamespace != nil
	lacking, err := denied(ctx, reviews, needed, "bind its ServiceAccount to the Role of config/namespaced there, or remove the namespace from --watch-namespaces and --default-connection")
	return scope, lacking, err
}

// denied returns an error with the rights that the operator does not have, and
// what to do about it; nil if it has all of them.
func denied(ctx context.Context, reviews authorizationclient.SelfSubjectAccessReviewInterface, rights []right, wayOut string) (*missingRightsError, error) {
	var missing []right
	for _, r := range rights {
		for _, verb := range []string{"list", "watch"} {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: verb, Group: r.resource.Group, Resource: r.resource.Resource, Namespace: r.namespace,
				},
			}}
			answer, err := reviews.Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return nil, fmt.Errorf("checking whether the operator may %s: %w", r, err)
			}
			if !answer.Status.Allowed {
				missing = append(missing, r)
				break
			}
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	return &missingRightsError{missing, wayOut}, nil
}
