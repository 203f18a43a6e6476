// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// cluster simulates the API server with its connections.
type cluster struct {
	mu          sync.Mutex
	connections map[types.NamespacedName]*v1alpha1.DLIConnection
	// secret is the only Secret, and reads are the times when it was read.
	secret map[string][]byte
	reads  []time.Time
	// changed wakes the reconcilers of a connection.
	changed map[types.NamespacedName][]chan struct{}
}

func newCluster() *cluster {
	return &cluster{
		connections: map[types.NamespacedName]*v1alpha1.DLIConnection{},
		secret:      map[string][]byte{"accessKeyID": []byte("AK"), "secretAccessKey": []byte("SK")},
		changed:     map[types.NamespacedName][]chan struct{}{},
	}
}

// Get implements client.Reader.
func (c *cluster) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch into := into.(type) {
	case *v1alpha1.DLIConnection:
		if found := c.connections[key]; found != nil {
			found.DeepCopyInto(into)
			return nil
		}
	case *corev1.Secret:
		c.reads = append(c.reads, time.Now())
		if c.secret != nil {
			into.Data = c.secret
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// List implements client.Reader.
func (c *cluster) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, object := range c.connections {
		list := into.(*v1alpha1.DLIConnectionList)
		list.Items = append(list.Items, *object.DeepCopy())
	}
	return nil
}

// rotate replaces the access key.
func (c *cluster) rotate(accessKeyID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secret = map[string][]byte{"accessKeyID": []byte(accessKeyID), "secretAccessKey": []byte("SK")}
}

// edit creates or changes a connection.
func (c *cluster) edit(name string, change func(*v1alpha1.DLIConnectionSpec)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := key(name)
	object := &v1alpha1.DLIConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: types.UID(name)},
		Spec: v1alpha1.DLIConnectionSpec{
			Endpoint:    "http://127.0.0.1:1",
			ProjectID:   key.Name,
			Credentials: v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "s"}},
			RateLimit:   v1alpha1.RateLimit{RequestsPerSecond: 20, Burst: 20},
		},
	}
	if was := c.connections[key]; was != nil {
		object = was.DeepCopy()
	}
	object.Generation++
	if change != nil {
		change(&object.Spec)
	}
	c.connections[key] = object
	c.tell(key)
}

// limitRate changes the rate limit of the connection a.
func (c *cluster) limitRate(rate int32) {
	c.edit("a", func(spec *v1alpha1.DLIConnectionSpec) {
		spec.RateLimit = v1alpha1.RateLimit{RequestsPerSecond: rate, Burst: rate}
	})
}

// tell wakes all reconcilers of a connection; the caller holds the lock.
func (c *cluster) tell(key types.NamespacedName) {
	for _, changed := range c.changed[key] {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// write stores the rejected credentials in the status, unless that has changed since it
// was read.
func (c *cluster) write(read *v1alpha1.DLIConnection, rejections *v1alpha1.RejectedCredentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := client.ObjectKeyFromObject(read)
	object := c.connections[key]
	if object == nil || equality.Semantic.DeepEqual(read.Status.RejectedCredentials, rejections) {
		return
	}
	if equality.Semantic.DeepEqual(object.Status, read.Status) {
		c.connections[key] = object.DeepCopy()
		c.connections[key].Status.RejectedCredentials = rejections
	}
	c.tell(key)
}
