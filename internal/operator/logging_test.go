// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"testing"

	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestErrorsAreLimited(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	log := uberzap.New(core, uberzap.WrapCore(LimitErrors)).With(uberzap.String("object", "a"))
	for range 100 {
		log.Info("DLIJob changed")
		log.Error("Unable to write event")
	}
	log.Error("another error")
	for message, want := range map[string]int{"DLIJob changed": 100, "Unable to write event": errorsPerMinute, "another error": 1} {
		if got := logs.FilterMessage(message).Len(); got != want {
			t.Errorf("%q is logged %d times, want %d", message, got, want)
		}
	}
}
