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

package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// +kubebuilder:rbac:groups=dli.huaweicloud.com,resources=dliconnections,verbs=get;list;watch
// +kubebuilder:rbac:groups=dli.huaweicloud.com,resources=dliconnections/status,verbs=get;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// DLIConnectionReconciler keeps the credentials of connections fresh and says
// in their status whether they can be used.
type DLIConnectionReconciler struct {
	client.Client
	Connections *Connections
	Clock       clock.PassiveClock
	News        *News
	// Report says whether to write the status: of several operators that share the
	// DLIJobs between them, one does.
	Report bool
}

// Reconcile refreshes a connection's credentials, writes its status if that
// changed, and returns when the credentials are due again.
func (r *DLIConnectionReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	stored := &v1alpha1.DLIConnection{}
	if err := r.Get(ctx, req.NamespacedName, stored); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Connections.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	conn := r.Connections.opened(ctx, stored)
	next, err := conn.refresh(ctx, r.Clock.Now())
	if err != nil {
		return ctrl.Result{}, err
	}
	object := stored.DeepCopy()
	describe(object, conn, r.Connections.Options.Scope, r.Clock.Now())
	if r.Report && !equality.Semantic.DeepEqual(stored.Status, object.Status) {
		err = r.Status().Patch(ctx, object, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
	}
	switch {
	case apierrors.IsConflict(err):
		// The cache is a moment behind, or somebody has changed the object.
		next = min(next, cacheLag)
	case client.IgnoreNotFound(err) != nil:
		return ctrl.Result{}, fmt.Errorf("writing the status of DLIConnection %s: %w", req.NamespacedName, err)
	}
	return ctrl.Result{RequeueAfter: next, Priority: new(0)}, nil
}

// describe sets the status of a connection's object at now.
func describe(object *v1alpha1.DLIConnection, conn *connection, scope Scope, now time.Time) {
	h := conn.healthAt(now)
	if selector := object.Spec.AllowedNamespaces.Selector; selector != nil {
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			h = health{metav1.ConditionFalse, v1alpha1.ReasonSelectorInvalid, fmt.Sprintf("spec.allowedNamespaces.selector selects nothing: %v; correct it", err)}
		} else if scope.WithoutNamespaces {
			// The connection's own namespace can use it all the same.
			h.message += "; spec.allowedNamespaces.selector selects nothing: " + namespacesNeeded
		}
	}
	meta.SetStatusCondition(&object.Status.Conditions, metav1.Condition{
		Type:               v1alpha1.ReadyCondition,
		Status:             h.status,
		Reason:             h.reason,
		Message:            clip(oneLine(h.message), maxConditionMessage),
		ObservedGeneration: object.Generation,
		LastTransitionTime: *seconds(now),
	})
	object.Status.ObservedGeneration = object.Generation
	object.Status.Endpoint = conn.endpoint
}

// SetupWithManager registers the reconciler.
func (r *DLIConnectionReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DLIConnection{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Func(r.News.toConnections)).
		WithOptions(controller.Options{
			// Where the pod's identity comes from may hang, for some seconds.
			MaxConcurrentReconciles: 10,
			RateLimiter:             retries(),
		}).
		Complete(r)
}
