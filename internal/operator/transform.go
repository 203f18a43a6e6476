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
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// newTransform returns a transform for the cache that keeps only what the controllers
// read of each DLIJob, and a single copy of texts that many jobs share. The cache holds
// every watched job, so it takes most of the operator's memory.
func newTransform() func(any) (any, error) {
	strip := cache.TransformStripManagedFields()
	texts := &interned{}
	return func(object any) (any, error) {
		object, err := strip(object)
		if job, ok := object.(*v1alpha1.DLIJob); ok {
			// kubectl's own copy of the whole manifest.
			delete(job.Annotations, corev1.LastAppliedConfigAnnotation)
			job.TypeMeta = metav1.TypeMeta{}
			// Decoders allocate spare capacity.
			job.Status.Conditions = slices.Clip(slices.Clone(job.Status.Conditions))
			job.Status.Columns = slices.Clip(slices.Clone(job.Status.Columns))
			texts.shareTexts(job)
		}
		return object, err
	}
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
