// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Command pause waits for a signal. Kubernetes runs it to hold the namespaces that the
// containers of a pod share.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	<-end
}
