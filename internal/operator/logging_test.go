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
