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
	"time"

	"go.uber.org/zap/zapcore"
)

// errorsPerMinute is how often an error with the same message is logged in a minute. The
// libraries log one for each write of an Event that fails, for instance.
const errorsPerMinute = 10

// LimitErrors returns a core of a logger that drops more errors than that.
func LimitErrors(core zapcore.Core) zapcore.Core {
	return limitedErrors{core, zapcore.NewSamplerWithOptions(core, time.Minute, errorsPerMinute, 0)}
}

type limitedErrors struct {
	zapcore.Core

	errors zapcore.Core
}

// With implements zapcore.Core.
func (l limitedErrors) With(fields []zapcore.Field) zapcore.Core {
	return limitedErrors{l.Core.With(fields), l.errors.With(fields)}
}

// Check implements zapcore.Core.
func (l limitedErrors) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if entry.Level >= zapcore.ErrorLevel {
		return l.errors.Check(entry, checked)
	}
	return l.Core.Check(entry, checked)
}
