// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// readSecret reads credentials from a Secret of the API server, deliberately without a
// cache: a cache would need permission to list and watch all Secrets in the cluster.
// The error is a *Failure if it requires user action; another one may go away.
func readSecret(ctx context.Context, reader client.Reader, key types.NamespacedName) (dli.Credentials, error) {
	secret := &corev1.Secret{}
	// At its highest log level, the client logs response bodies.
	err := reader.Get(logr.NewContext(ctx, logr.Discard()), key, secret)
	switch {
	case apierrors.IsNotFound(err):
		return dli.Credentials{}, Failf(v1alpha1.ReasonSecretNotFound,
			"Secret %s does not exist; create it with the keys accessKeyID and secretAccessKey, or token", key)
	case apierrors.IsForbidden(err):
		return dli.Credentials{}, Failf(v1alpha1.ReasonSecretNotFound,
			"the operator may not read Secret %s; grant its ServiceAccount get on secrets in that namespace", key)
	case err != nil:
		return dli.Credentials{}, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	creds := credentialsIn(secret.Data)
	if problem := creds.Validate(); problem != nil {
		return dli.Credentials{}, Failf(v1alpha1.ReasonSecretInvalid,
			"Secret %s %v; it must hold accessKeyID and secretAccessKey, with or without securityToken, or token alone", key, problem)
	}
	return creds, nil
}

// credentialsIn reads credentials from a Secret's data. It trims whitespace around a
// value, which comes from an editor or from `echo` and is never part of a key.
func credentialsIn(data map[string][]byte) dli.Credentials {
	value := func(key string) string { return strings.TrimSpace(string(data[key])) }
	return dli.Credentials{
		AccessKeyID:     value(v1alpha1.SecretKeyAccessKeyID),
		SecretAccessKey: value(v1alpha1.SecretKeySecretAccessKey),
		SecurityToken:   value(v1alpha1.SecretKeySecurityToken),
		Token:           value(v1alpha1.SecretKeyToken),
	}
}

// fetchIdentity fetches the temporary key that CCE provides to the pod, and returns
// when it expires. Its errors are like those of readSecret.
func fetchIdentity(ctx context.Context, identity *dli.PodIdentity) (dli.Credentials, time.Time, error) {
	creds, expires, err := identity.Fetch(ctx)
	if ctx.Err() != nil {
		return dli.Credentials{}, time.Time{}, fmt.Errorf("fetching the pod's credentials: %w", ctx.Err())
	}
	if err != nil {
		return dli.Credentials{}, time.Time{}, Failf(v1alpha1.ReasonCredentialsRejected,
			"the pod's identity is not available: %v; bind an agency to the operator's ServiceAccount in CCE, or use a secretRef", err)
	}
	return creds, expires, nil
}
