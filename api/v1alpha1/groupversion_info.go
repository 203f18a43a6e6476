// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is the API of the DLI operator: a DLIJob watches one SQL
// job in Huawei Cloud Data Lake Insight (DLI), and a DLIConnection holds the
// endpoint, project and credentials to poll it with.
//
// The package holds types, constants and pure helpers only, so that other
// controllers can import it without pulling in the operator.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +groupName=dli.huaweicloud.com
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "dli.huaweicloud.com", Version: "v1alpha1"}

// SchemeGroupVersion is GroupVersion under the name that generated code expects.
var SchemeGroupVersion = GroupVersion

var schemeBuilder = runtime.NewSchemeBuilder(func(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&DLIJob{}, &DLIJobList{},
		&DLIConnection{}, &DLIConnectionList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
})

// AddToScheme registers the types of this package with a scheme.
var AddToScheme = schemeBuilder.AddToScheme
