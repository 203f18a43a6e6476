// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/dli-operator/dli-operator/internal/text"
)

// NewLogger returns the operator's logger. However often something fails, it says so once
// per cause and minute, and without a stack trace; a panic has its own.
func NewLogger(options ...zap.Opts) logr.Logger {
	withoutStacks := func(o *zap.Options) {
		if o.StacktraceLevel == nil {
			o.StacktraceLevel = zapcore.PanicLevel
		}
	}
	sink := zap.New(append(options, withoutStacks)...).GetSink()
	return logr.New(limitedErrors{LogSink: sink, mu: &sync.Mutex{}, loggedAt: map[string]time.Time{}})
}

// limitedErrors drops errors with a cause that was logged within a minute.
type limitedErrors struct {
	logr.LogSink
	// values are encoded with each entry: of the loggers, one per reconcile, few log any.
	values []any

	mu       *sync.Mutex
	loggedAt map[string]time.Time
}

// WithValues implements logr.LogSink.
func (l limitedErrors) WithValues(values ...any) logr.LogSink {
	l.values = slices.Concat(l.values, values)
	return l
}

// WithName implements logr.LogSink.
func (l limitedErrors) WithName(name string) logr.LogSink {
	l.LogSink = l.LogSink.WithName(name)
	return l
}

// Info implements logr.LogSink.
func (l limitedErrors) Info(level int, message string, values ...any) {
	l.LogSink.Info(level, message, slices.Concat(l.values, values)...)
}

// Error implements logr.LogSink.
func (l limitedErrors) Error(err error, message string, values ...any) {
	cause, now := message+": "+causeOf(err), time.Now()
	l.mu.Lock()
	maps.DeleteFunc(l.loggedAt, func(_ string, loggedAt time.Time) bool { return now.Sub(loggedAt) >= time.Minute })
	_, isRecent := l.loggedAt[cause]
	if !isRecent {
		l.loggedAt[cause] = now
	}
	l.mu.Unlock()
	if !isRecent {
		l.LogSink.Error(err, message, slices.Concat(l.values, values)...)
	}
}

// causeOf is what an error has in common with others, whatever their objects: the API
// server's reason, or the text of the innermost error.
func causeOf(err error) string {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return ""
	case errors.As(err, &status):
		return fmt.Sprint(status.Status().Code, status.Status().Reason)
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return text.WithoutNumbers(err.Error())
}
