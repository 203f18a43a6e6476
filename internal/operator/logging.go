// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

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
