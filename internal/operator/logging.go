// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/dli-operator/dli-operator/internal/text"
)

// LogOptions returns the options of the operator's logger. However often something fails,
// the log says so once per cause and minute; a panic has its own stack trace.
func LogOptions() zap.Options {
	limit := func(core zapcore.Core) zapcore.Core {
		return limitedErrors{core, &recentErrors{loggedAt: map[string]time.Time{}, dropped: map[string]int{}}}
	}
	return zap.Options{StacktraceLevel: zapcore.PanicLevel, ZapOpts: []uberzap.Option{uberzap.WrapCore(limit)}}
}

// limitedErrors is the core of a logger that drops the errors that were logged recently.
type limitedErrors struct {
	zapcore.Core

	recent *recentErrors
}

// recentErrors has when each cause was last logged, and how often it was dropped since.
type recentErrors struct {
	mu       sync.Mutex
	loggedAt map[string]time.Time
	dropped  map[string]int
}

// With implements zapcore.Core.
func (l limitedErrors) With(fields []zapcore.Field) zapcore.Core {
	return limitedErrors{l.Core.With(fields), l.recent}
}

// Check implements zapcore.Core.
func (l limitedErrors) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if entry.Level < zapcore.ErrorLevel {
		return l.Core.Check(entry, checked)
	}
	return checked.AddCore(entry, l)
}

// Write implements zapcore.Core.
func (l limitedErrors) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	dropped, ok := l.recent.admit(causeOf(entry, fields), entry.Time)
	if !ok {
		return nil
	}
	if dropped > 0 {
		fields = append(fields, uberzap.Int("dropped", dropped))
	}
	return l.Core.Write(entry, fields)
}

// admit reports whether to log an error, and how many with the same cause were dropped.
func (r *recentErrors) admit(cause string, now time.Time) (dropped int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.loggedAt[cause]) < time.Minute {
		r.dropped[cause]++
		return 0, false
	}
	dropped = r.dropped[cause]
	// What was not seen for a while is dropped: there are as many causes as texts of errors.
	maps.DeleteFunc(r.loggedAt, func(_ string, at time.Time) bool { return now.Sub(at) > 2*time.Minute })
	maps.DeleteFunc(r.dropped, func(cause string, _ int) bool { return r.loggedAt[cause].IsZero() })
	r.loggedAt[cause], r.dropped[cause] = now, 0
	return dropped, true
}

// causeOf is what an error has in common with others, whatever their objects: its message,
// and the API server's reason or the text of the innermost error.
func causeOf(entry zapcore.Entry, fields []zapcore.Field) string {
	for _, field := range fields {
		err, ok := field.Interface.(error)
		if !ok {
			continue
		}
		if status := apierrors.APIStatus(nil); errors.As(err, &status) {
			return fmt.Sprint(entry.Message, status.Status().Code, status.Status().Reason)
		}
		for inner := err; inner != nil; inner = errors.Unwrap(inner) {
			err = inner
		}
		return entry.Message + text.WithoutNumbers(err.Error())
	}
	return entry.Message
}
