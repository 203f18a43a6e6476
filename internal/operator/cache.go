// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/text"
)

// cacheOptions caches only what the controllers read. onError handles failed lists and watches.
func cacheOptions(o Options, onError toolscache.WatchErrorHandlerWithContext) cache.Options {
	return cache.Options{
		DefaultWatchErrorHandler: onError,
		DefaultTransform:         newTransform(new(text.Pool)),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.DLIJob{}:        {Label: o.selector, Namespaces: inNamespaces(o.WatchNamespaces)},
			&v1alpha1.DLIConnection{}: {Namespaces: inNamespaces(o.Controllers.Connections.Scope.ConnectionNamespaces)},
		},
	}
}

// inNamespaces restricts a cache to some namespaces; no restriction if empty.
func inNamespaces(namespaces []string) map[string]cache.Config {
	if len(namespaces) == 0 {
		return nil
	}
	configs := map[string]cache.Config{}
	for _, namespace := range namespaces {
		configs[namespace] = cache.Config{}
	}
	return configs
}

// maxPollRequest is how much of the annotation poll-requested-at is kept: more than counts.
const maxPollRequest = 1024

// newTransform returns what keeps only what the controllers read of an object for the cache,
// whatever the authors of objects put into their metadata, and a single copy of texts that many
// DLIJobs share. The cache holds every watched job, so it takes most of the operator's memory.
// What is dropped is safe from the controllers' writes: they only patch the status.
func newTransform(texts *text.Pool) toolscache.TransformFunc {
	return func(object any) (any, error) {
		switch object := object.(type) {
		case *v1alpha1.DLIJob:
			object.ObjectMeta = keptMeta(&object.ObjectMeta)
			object.TypeMeta = metav1.TypeMeta{}
			// Decoders allocate spare capacity.
			object.Status.Conditions = slices.Clip(slices.Clone(object.Status.Conditions))
			object.Status.Columns = slices.Clip(slices.Clone(object.Status.Columns))
			object.Status.Tags = slices.Clip(slices.Clone(object.Status.Tags))
			shareTexts(object, texts)
		case *v1alpha1.DLIConnection:
			object.ObjectMeta = keptMeta(&object.ObjectMeta)
		case *metav1.PartialObjectMetadata: // a Namespace, whose labels decide about connections
			labels := object.Labels
			object.ObjectMeta = keptMeta(&object.ObjectMeta)
			object.Labels = labels
		}
		return object, nil
	}
}

// keptMeta returns what the controllers read of the metadata of an object.
func keptMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	kept := metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
	if request, ok := m.Annotations[v1alpha1.PollRequestedAtAnnotation]; ok {
		kept.Annotations = map[string]string{v1alpha1.PollRequestedAtAnnotation: strings.Clone(text.Truncate(request, maxPollRequest))}
	}
	return kept
}

// shareTexts shares the texts of a DLIJob that repeat, unlike IDs.
func shareTexts(job *v1alpha1.DLIJob, texts *text.Pool) {
	status := &job.Status
	texts.Replace(&job.Namespace, (*string)(&job.Spec.Type), (*string)(&status.Outcome), (*string)(&status.Phase),
		&status.JobStatus, &status.JobType, &status.JobMode, &status.QueueName, &status.Owner, &status.Image,
		&status.DatabaseName, &status.TableName, &status.Statement, &status.Message)
	for i := range status.Conditions {
		c := &status.Conditions[i]
		texts.Replace(&c.Type, (*string)(&c.Status), &c.Reason, &c.Message)
	}
	for i := range status.Tags {
		texts.Replace(&status.Tags[i].Key, &status.Tags[i].Value)
	}
	for i := range status.Columns {
		texts.Replace(&status.Columns[i].Name, &status.Columns[i].Type)
	}
}

// firstFill knows whether the caches have been filled. A busy API server needs a while to
// list tens of thousands of DLIJobs.
type firstFill struct {
	// fail ends the operator.
	fail func(error)
	done atomic.Bool
}

// addInformers adds everything that the controllers read to a cache that is started later.
// Some of it would otherwise only be filled once the operator holds the lease, so a
// standby replica could not know whether it is able to work.
func (f *firstFill) addInformers(ctx context.Context, c cache.Cache, scope connection.Scope) error {
	objects := []client.Object{&v1alpha1.DLIJob{}, &v1alpha1.DLIConnection{}}
	if !scope.WithoutNamespaces {
		namespace := &metav1.PartialObjectMetadata{}
		namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		objects = append(objects, namespace)
	}
	for _, object := range objects {
		_, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if meta.IsNoMatchError(err) {
			return fmt.Errorf("the CRDs are not installed; a cluster administrator must apply config/crd: %w", err)
		}
		if err != nil {
			return fmt.Errorf("creating the cache: %w", err)
		}
	}
	go func() { f.done.Store(c.WaitForCacheSync(ctx)) }()
	return nil
}

// handleWatchError handles a failed list or watch, which is retried. A forbidden one
// will be forbidden again, so the operator ends instead of waiting.
func (f *firstFill) handleWatchError(ctx context.Context, r *toolscache.Reflector, err error) {
	toolscache.DefaultWatchErrorHandler(ctx, r, err)
	if apierrors.IsForbidden(err) && !f.done.Load() {
		f.fail(fmt.Errorf("the operator lacks a permission: %w; bind its ServiceAccount to the ClusterRole of config/rbac, "+
			"or to the Role of config/namespaced in each namespace of --watch-namespaces and --default-connection", err))
	}
}

// checkReady is the /readyz check that the caches are filled. Once filled, they stay
// filled.
func (f *firstFill) checkReady(*http.Request) error {
	if !f.done.Load() {
		return errors.New("the caches are not filled yet")
	}
	return nil
}
