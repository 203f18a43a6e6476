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

package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
	jobResource        = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "dlijobs"}
	connectionResource = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "dliconnections"}
	namespaceResource  = schema.GroupResource{Resource: "namespaces"}
)

// permission is what a cache needs: to list and watch a resource in a namespace or, if
// that is empty, in the whole cluster.
type permission struct {
	resource  schema.GroupResource
	namespace string
}

func (p permission) String() string {
	if p.namespace == metav1.NamespaceAll {
		return fmt.Sprintf("list and watch %s in the whole cluster", p.resource)
	}
	return fmt.Sprintf("list and watch %s in namespace %s", p.resource, p.namespace)
}

// permissionsIn returns the permissions to cache a resource in some namespaces.
func permissionsIn(namespaces []string, resource schema.GroupResource) (permissions []permission) {
	for _, namespace := range namespaces {
		permissions = append(permissions, permission{resource, namespace})
	}
	return permissions
}

// findScope asks the API server what the operator may read. The error names missing
// permissions, so that the operator does not wait in vain for caches that cannot be
// filled. If the API server does not answer, the operator tries anyway.
func findScope(ctx context.Context, config *rest.Config, o Options) (connection.Scope, error) {
	client, err := authorizationclient.NewForConfig(config)
	if err != nil {
		return connection.Scope{}, fmt.Errorf("creating the access review client: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	scope, required, advice, err := requiredPermissions(ctx, client.SelfSubjectAccessReviews(), o.WatchNamespaces, o.Controllers.Connections.Default.Namespace)
	var missing []string
	if err == nil {
		missing, err = missingPermissions(ctx, client.SelfSubjectAccessReviews(), required)
	}
	switch {
	case err != nil:
		o.Logger.Info("cannot check the operator's permissions; assuming that they are sufficient", "why", err.Error())
		return connection.Scope{}, nil
	case len(missing) > 0:
		return scope, fmt.Errorf("the operator lacks permission to %s; %s", strings.Join(missing, ", and to "), advice)
	}
	o.Logger.Info("checked the operator's permissions",
		"dliJobs", orAll(o.WatchNamespaces), "dliConnections", orAll(scope.ConnectionNamespaces), "grantsBySelector", !scope.WithoutNamespaces)
	return scope, nil
}

func orAll(namespaces []string) string {
	if len(namespaces) == 0 {
		return "all namespaces"
	}
	return strings.Join(namespaces, ",")
}

// requiredPermissions returns what an operator can read that watches the DLIJobs in some
// namespaces (all if empty), the permissions that it needs for that, and what to do if
// one is missing.
func requiredPermissions(ctx context.Context, reviews authorizationclient.SelfSubjectAccessReviewInterface, watched []string, defaultNamespace string) (scope connection.Scope, required []permission, advice string, err error) {
	everywhere := []string{metav1.NamespaceAll}
	if len(watched) == 0 {
		return scope, slices.Concat(permissionsIn(everywhere, jobResource), permissionsIn(everywhere, connectionResource), permissionsIn(everywhere, namespaceResource)),
			"bind its ServiceAccount to the ClusterRole of config/rbac, or restrict it to some namespaces with --watch-namespaces and a Role in each of them, as in config/namespaced", nil
	}
	required = permissionsIn(watched, jobResource)
	missing, err := missingPermissions(ctx, reviews, permissionsIn(everywhere, connectionResource))
	if err != nil {
		return scope, nil, "", err
	}
	if len(missing) > 0 {
		scope.ConnectionNamespaces = slices.Clone(watched)
		if defaultNamespace != "" {
			scope.ConnectionNamespaces = append(scope.ConnectionNamespaces, defaultNamespace)
		}
		slices.Sort(scope.ConnectionNamespaces)
		scope.ConnectionNamespaces = slices.Compact(scope.ConnectionNamespaces)
		required = append(required, permissionsIn(scope.ConnectionNamespaces, connectionResource)...)
	}
	missing, err = missingPermissions(ctx, reviews, permissionsIn(everywhere, namespaceResource))
	scope.WithoutNamespaces = len(missing) > 0
	return scope, required, "bind its ServiceAccount to the Role of config/namespaced there, or remove the namespace from --watch-namespaces and --default-connection", err
}

// missingPermissions returns the permissions that the operator does not have.
func missingPermissions(ctx context.Context, reviews authorizationclient.SelfSubjectAccessReviewInterface, required []permission) (missing []string, err error) {
	for _, p := range required {
		for _, verb := range []string{"list", "watch"} {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: verb, Group: p.resource.Group, Resource: p.resource.Resource, Namespace: p.namespace,
				},
			}}
			result, err := reviews.Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return nil, fmt.Errorf("checking whether the operator may %s: %w", p, err)
			}
			if !result.Status.Allowed {
				missing = append(missing, p.String())
				break
			}
		}
	}
	return missing, nil
}
