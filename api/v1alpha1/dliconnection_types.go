// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultConnectionName is the name of the DLIConnection that DLIJobs without
// a connectionRef use in their namespace.
const DefaultConnectionName = "default"

// Keys of the Secret that credentials.secretRef names. It holds either the
// first two, with or without the third, or only the token.
const (
	// SecretKeyAccessKeyID is the access key ID (AK).
	SecretKeyAccessKeyID = "accessKeyID"
	// SecretKeySecretAccessKey is the secret access key (SK).
	SecretKeySecretAccessKey = "secretAccessKey"
	// SecretKeySecurityToken is the security token of a temporary access key.
	SecretKeySecurityToken = "securityToken"
	// SecretKeyToken is an IAM token scoped to the project.
	SecretKeyToken = "token"
)

// DLIConnectionSpec holds the endpoint, project and credentials to poll DLI
// with.
//
// +kubebuilder:validation:XValidation:rule="has(self.region) != has(self.endpoint)",message="set exactly one of region and endpoint"
type DLIConnectionSpec struct {
	// region is a Huawei Cloud region, such as cn-north-4; the operator looks up
	// its DLI endpoint.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[a-z0-9]+(-[a-z0-9]+)*$`
	Region string `json:"region,omitempty"`

	// endpoint is the URL of DLI, such as
	// https://dli.cn-north-4.myhuaweicloud.com, for private regions and other
	// clouds. The operator rejects http unless it runs with
	// --allow-insecure-endpoints.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != '' && !self.matches('[@?#]')",message="endpoint must be a URL such as https://dli.cn-north-4.myhuaweicloud.com, without user, query or fragment"
	Endpoint string `json:"endpoint,omitempty"`

	// projectID is the ID of the project that the jobs belong to (DLI:
	// project_id).
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]+$')",message="projectID is the ID of the project, not its name: letters and digits only"
	ProjectID string `json:"projectID"`

	// credentials to poll DLI with.
	// +required
	Credentials Credentials `json:"credentials"`

	// allowedNamespaces selects the namespaces whose DLIJobs may use this
	// connection; only its own namespace if absent.
	// +optional
	// +kubebuilder:default={from: Same}
	AllowedNamespaces AllowedNamespaces `json:"allowedNamespaces,omitzero"`

	// rateLimit limits the requests of all DLIJobs of this connection together.
	// +optional
	// +kubebuilder:default={requestsPerSecond: 20, burst: 20}
	RateLimit RateLimit `json:"rateLimit,omitzero"`

	// reportProgress fills status.progress of this connection's DLIJobs, unless
	// they set reportProgress themselves.
	// +optional
	ReportProgress bool `json:"reportProgress,omitempty"`

	// reportCost fills status.cost of this connection's SQL jobs once they have
	// ended. It costs one more request per job, for which DLI requires the
	// permission dli:jobs:list.
	// +optional
	ReportCost bool `json:"reportCost,omitempty"`

	// language is the language of DLI's messages, such as those of failed jobs:
	// en-us or zh-cn. The operator's own messages are in English.
	// +optional
	// +kubebuilder:default=en-us
	Language Language `json:"language,omitempty"`

	// caBundle holds the CA certificates, in PEM, that sign the endpoint's
	// certificate. They replace the system's, which are used if it is absent.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
}

// Language is a language of DLI's messages.
//
// +kubebuilder:validation:Enum=en-us;zh-cn
type Language string

// The values of language.
const (
	// LanguageEnglish asks for messages in English.
	LanguageEnglish Language = "en-us"
	// LanguageChinese asks for messages in simplified Chinese.
	LanguageChinese Language = "zh-cn"
)

// Credentials are either those in a Secret or the identity of the operator's
// pod.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != has(self.podIdentity)",message="set exactly one of secretRef and podIdentity"
type Credentials struct {
	// secretRef names a Secret in the connection's own namespace with the keys
	// accessKeyID, secretAccessKey and, optionally, securityToken; or with the key
	// token.
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`

	// podIdentity uses the identity that CCE gives to the operator's pod.
	// +optional
	PodIdentity *PodIdentity `json:"podIdentity,omitempty"`
}

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`
}

// PodIdentity has no settings.
type PodIdentity struct{}

// NamespacesFrom selects which namespaces are allowed.
//
// +kubebuilder:validation:Enum=Same;All;Selector
type NamespacesFrom string

// The values of allowedNamespaces.from.
const (
	// NamespacesFromSame allows the connection's own namespace.
	NamespacesFromSame NamespacesFrom = "Same"
	// NamespacesFromAll allows every namespace.
	NamespacesFromAll NamespacesFrom = "All"
	// NamespacesFromSelector allows the connection's own namespace and those
	// whose labels the selector matches.
	NamespacesFromSelector NamespacesFrom = "Selector"
)

// AllowedNamespaces selects the namespaces whose DLIJobs may use a connection.
//
// +kubebuilder:validation:XValidation:rule="(self.from == 'Selector') == has(self.selector)",message="set a selector if, and only if, from is Selector"
// +kubebuilder:validation:XValidation:rule="!has(self.selector) || (!has(self.selector.matchLabels) || size(self.selector.matchLabels) <= 100) && (!has(self.selector.matchExpressions) || size(self.selector.matchExpressions) <= 100)",message="a selector has at most 100 labels and 100 expressions"
type AllowedNamespaces struct {
	// from is Same, All or Selector. The connection's own namespace is always
	// allowed.
	// +optional
	// +kubebuilder:default=Same
	From NamespacesFrom `json:"from,omitempty"`

	// selector matches the labels of the allowed namespaces.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// RateLimit is a token bucket.
type RateLimit struct {
	// requestsPerSecond is the rate at which the bucket fills.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	RequestsPerSecond int32 `json:"requestsPerSecond,omitempty"`

	// burst is the size of the bucket.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Burst int32 `json:"burst,omitempty"`
}

// DLIConnectionStatus reports whether the connection is usable.
type DLIConnectionStatus struct {
	// conditions holds Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the metadata.generation that this status describes;
	// -1 until the operator has seen the DLIConnection.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// endpoint is the URL in use. Absent while unknown.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Endpoint string `json:"endpoint,omitempty"`

	// rejectedCredentials records that DLI rejected the credentials. More than
	// five wrong signatures lock an access key for all its users, so restarts of
	// the operator, leader changes and other shards must not try them sooner.
	// Absent while DLI accepts the credentials, or has not been polled.
	// +optional
	RejectedCredentials *RejectedCredentials `json:"rejectedCredentials,omitempty"`
}

// RejectedCredentials is one set of credentials that DLI rejected.
type RejectedCredentials struct {
	// fingerprint distinguishes these credentials from others without revealing
	// them.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Fingerprint string `json:"fingerprint"`

	// lockedUntil is the time before which nobody tries these credentials again.
	// Before an attempt, the operator that makes it moves it ahead, so that there
	// is only one.
	// +optional
	LockedUntil *metav1.MicroTime `json:"lockedUntil,omitempty"`

	// message describes the latest rejection.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// DLIConnection holds the endpoint, project and credentials with which the
// operator polls the status of jobs from DLI.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=dliconnections,shortName=dlic,categories=dli
// +kubebuilder:printcolumn:name="READY",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="True when the connection is usable"
// +kubebuilder:printcolumn:name="REASON",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why it is Ready or not"
// +kubebuilder:printcolumn:name="PROJECT",type=string,JSONPath=`.spec.projectID`,description="Project that the jobs belong to"
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`,description="Age of the DLIConnection"
// +kubebuilder:printcolumn:name="ENDPOINT",type=string,priority=1,JSONPath=`.status.endpoint`,description="URL of DLI in use"
// +kubebuilder:printcolumn:name="MESSAGE",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,description="What happened, and what to do"
type DLIConnection struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec holds the endpoint, project and credentials.
	// +required
	Spec DLIConnectionSpec `json:"spec"`

	// status reports whether the connection is usable.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status DLIConnectionStatus `json:"status,omitempty"`
}

// DLIConnectionList is a list of DLIConnections.
//
// +kubebuilder:object:root=true
type DLIConnectionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DLIConnection `json:"items"`
}

// GetConditions returns the conditions of the DLIConnection.
func (c *DLIConnection) GetConditions() []metav1.Condition { return c.Status.Conditions }
