// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// newSource returns the function that fetches the credentials of a connection; see
// credentials.fetch. identityNamespaces are those that may use podIdentity; all if empty.
func newSource(from *v1alpha1.Credentials, connection types.NamespacedName, live client.Reader, identityNamespaces []string) (
	fetch func(context.Context) (dli.Credentials, time.Time, error), err error,
) {
	if ref := from.SecretRef; ref != nil {
		// Objects may be older than the CRD's pattern.
		if problems := validation.NameIsDNSSubdomain(ref.Name, false); len(problems) > 0 {
			return nil, Failf(v1alpha1.ReasonSecretInvalid,
				"DLIConnection %s names a Secret %q, which cannot exist: %s; correct spec.credentials.secretRef.name", connection, ref.Name, problems[0])
		}
		key := types.NamespacedName{Namespace: connection.Namespace, Name: ref.Name}
		return func(ctx context.Context) (dli.Credentials, time.Time, error) { return readSecret(ctx, live, key) }, nil
	}
	if len(identityNamespaces) > 0 && !slices.Contains(identityNamespaces, connection.Namespace) {
		return nil, Failf(v1alpha1.ReasonCredentialsRejected,
			"DLIConnection %s may not use podIdentity, which uses the operator's own permissions; use a secretRef, or have namespace %s added to the operator's --pod-identity-namespaces", connection, connection.Namespace)
	}
	identity, err := dli.PodIdentityFromEnv()
	if err != nil {
		return nil, Failf(v1alpha1.ReasonCredentialsRejected, "DLIConnection %s cannot use the pod's identity: %v", connection, err)
	}
	return func(ctx context.Context) (dli.Credentials, time.Time, error) { return fetchIdentity(ctx, identity) }, nil
}

// readSecret reads credentials from a Secret of the API server, deliberately without a
// cache: a cache would need permission to list and watch all Secrets in the cluster.
// The error is a *Failure if it requires user action; another one may go away.
func readSecret(ctx context.Context, reader client.Reader, key types.NamespacedName) (creds dli.Credentials, expires time.Time, err error) {
	secret := &corev1.Secret{}
	// At its highest log level, the client logs response bodies.
	err = reader.Get(logr.NewContext(ctx, logr.Discard()), key, secret)
	switch {
	case apierrors.IsNotFound(err):
		return creds, expires, Failf(v1alpha1.ReasonSecretNotFound,
			"Secret %s does not exist; create it with the keys accessKeyID and secretAccessKey, or token", key)
	case apierrors.IsForbidden(err):
		return creds, expires, Failf(v1alpha1.ReasonSecretNotFound,
			"the operator may not read Secret %s; grant its ServiceAccount get on secrets in that namespace", key)
	case err != nil:
		return creds, expires, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	// White space around a value comes from an editor or from `echo`, and is never part of it.
	valueOf := func(key string) string { return strings.TrimSpace(string(secret.Data[key])) }
	creds = dli.Credentials{
		AccessKeyID:     valueOf(v1alpha1.SecretKeyAccessKeyID),
		SecretAccessKey: valueOf(v1alpha1.SecretKeySecretAccessKey),
		SecurityToken:   valueOf(v1alpha1.SecretKeySecurityToken),
		Token:           valueOf(v1alpha1.SecretKeyToken),
	}
	if problem := creds.Validate(); problem != nil {
		return dli.Credentials{}, expires, Failf(v1alpha1.ReasonSecretInvalid,
			"Secret %s %v; it must hold accessKeyID and secretAccessKey, with or without securityToken, or token alone", key, problem)
	}
	return creds, expires, nil
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
