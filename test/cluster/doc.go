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

// Package cluster tests the operator where it is meant to run: in pods, on two
// nodes with real kubelets, containerd and runc.
//
// All processes run in private namespaces for processes, mounts, networks, IPC and host
// names. Where the kernel has no namespaces, the test removes its cgroups, restores the
// controllers of the root cgroup, and hides the kernel settings that a kubelet changes.
package cluster
