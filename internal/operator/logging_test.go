// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

func TestErrorsAreLoggedOncePerCauseAndMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		log := NewLogger(zap.WriteTo(&text)).WithName("a").WithValues("controller", "dlijob")
		for i := range 100 {
			log.Info("DLIJob changed")
			log.Error(fmt.Errorf("writing job %d: %w", i, apierrors.NewInternalError(fmt.Errorf("of %d", i))), "Reconciler error")
			log.Error(fmt.Errorf("writing job %d: %w", i, errors.New("dial 10.0.0.1:6443")), "Reconciler error")
			log.Error(nil, "Observed a panic")
		}
		<-time.After(time.Minute)
		log.Error(nil, "Observed a panic")
		for part, want := range map[string]int{
			"DLIJob changed": 100, "of 0": 1, "dial": 1, "panic": 2, `"controller":"dlijob"`: 104, ".go:": 0,
		} {
			if got := strings.Count(text.String(), part); got != want {
				t.Errorf("%q is logged %d times, want %d", part, got, want)
			}
		}
	})
}
