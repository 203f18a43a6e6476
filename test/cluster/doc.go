// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package cluster tests the operator where it is meant to run: in pods, on two
// nodes with real kubelets, containerd and runc.
//
// All processes run in private namespaces for processes, mounts, networks, IPC and host
// names. Where the kernel has no namespaces, the test removes its cgroups, restores the
// controllers of the root cgroup, and hides the kernel settings that a kubelet changes.
package cluster
