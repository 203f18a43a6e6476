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

package connection

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// Scope is what the operator may read in addition to DLIJobs. The zero value is
// everything.
type Scope struct {
	// ConnectionNamespaces are the namespaces whose DLIConnections are read; empty
	// for all.
	ConnectionNamespaces []string
	// WithoutNamespaces is set if Namespaces are not read, so that grants by selector
	// have no effect.
	WithoutNamespaces bool
}

// reads reports whether the DLIConnections of a namespace are read.
func (s Scope) reads(namespace string) bool {
	return len(s.ConnectionNamespaces) == 0 || slices.Contains(s.ConnectionNamespaces, namespace)
}

// NamespacesNeeded says which permission is missing for grants by selector.
const NamespacesNeeded = "the operator may not read Namespaces; grant it get, list and watch on namespaces with a ClusterRole, and restart it"

// notAllowed is the failure of a job that may not use a connection in another
// namespace. It is the same whether or not the connection exists: authors of
// DLIJobs must not learn what other namespaces contain.
func (s Scope) notAllowed(connection types.NamespacedName, namespace string) *Failure {
	if !s.reads(connection.Namespace) {
		return Failf(v1alpha1.ReasonConnectionNotAllowed,
			"the operator does not read DLIConnections in namespace %s; name one in namespace %s in spec.connectionRef, or have %s added to the operator's --watch-namespaces, and a Role created there", connection.Namespace, namespace, connection.Namespace)
	}
	why := Failf(v1alpha1.ReasonConnectionNotAllowed,
		"DLIConnection %s does not exist or does not allow namespace %s; ask its owner to allow it in spec.allowedNamespaces", connection, namespace)
	if s.WithoutNamespaces {
		why.Message += ", but not with a selector: " + NamespacesNeeded
	}
	return why
}
