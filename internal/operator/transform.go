// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/text"
)

// maxPollRequest is how much of the annotation poll-requested-at is kept: more than counts.
const maxPollRequest = 1024

// newTransform returns a transform for the cache that keeps only what the controllers
// read, whatever the authors of objects put into their metadata, and a single copy of
// texts that many DLIJobs share. The cache holds every watched job, so it takes most of
// the operator's memory. What it drops is safe from the controllers' writes: they only
// patch the status.
func newTransform() func(any) (any, error) {
	texts := &interned{}
	return func(object any) (any, error) {
		switch object := object.(type) {
		case *v1alpha1.DLIJob:
			object.ObjectMeta = keptMeta(&object.ObjectMeta)
			object.TypeMeta = metav1.TypeMeta{}
			// Decoders allocate spare capacity.
			object.Status.Conditions = slices.Clip(slices.Clone(object.Status.Conditions))
			object.Status.Columns = slices.Clip(slices.Clone(object.Status.Columns))
			texts.shareTexts(object)
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

// interned keeps one copy of each recently seen text.
type interned struct {
	mu    sync.Mutex
	texts map[string]string
}

// Limits of what is kept: reasons and messages repeat, IDs do not.
const (
	maxInterned       = 10_000
	maxInternedLength = 512
)

func (i *interned) shareTexts(job *v1alpha1.DLIJob) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.texts == nil || len(i.texts) > maxInterned {
		i.texts = map[string]string{}
	}
	status := &job.Status
	for _, text := range []*string{
		&job.Namespace,
		&status.JobStatus, &status.JobType, &status.JobMode, &status.QueueName, &status.Owner,
		&status.DatabaseName, &status.TableName, &status.Statement, &status.Message,
	} {
		i.share(text)
	}
	for n := range status.Conditions {
		c := &status.Conditions[n]
		i.share(&c.Type)
		i.share((*string)(&c.Status))
		i.share(&c.Reason)
		i.share(&c.Message)
	}
	for n := range status.Columns {
		i.share(&status.Columns[n].Name)
		i.share(&status.Columns[n].Type)
	}
}

func (i *interned) share(text *string) {
	if *text == "" || len(*text) > maxInternedLength {
		return
	}
	if shared, ok := i.texts[*text]; ok {
		*text = shared
		return
	}
	i.texts[*text] = *text
}
