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

package controllers

import (
	"testing"
	"time"
)

func TestGate(t *testing.T) {
	t.Run("lets one request try credentials that were never accepted", func(t *testing.T) {
		g := gate{probe: defaultProbe}
		if passed, _ := g.enter(noon); !passed {
			t.Fatal("the first request is refused")
		}
		if passed, _ := g.enter(noon); passed {
			t.Error("a second request passes before the first was answered")
		}
		g.leave(accepted, noon, noon, 0)
		for range 10 {
			if passed, _ := g.enter(noon); !passed {
				t.Error("a request is refused after the credentials were accepted")
			}
		}
	})

	t.Run("lets rejected credentials pass at most five times in any five minutes, and keeps trying", func(t *testing.T) {
		g := gate{probe: defaultProbe}
		var tries []time.Time
		for at := noon; at.Before(noon.Add(time.Hour)); at = at.Add(time.Second) {
			if passed, _ := g.enter(at); passed {
				tries = append(tries, at)
				g.leave(rejected, at, at, 0)
			}
		}
		for i := range tries {
			if i >= 5 && tries[i].Sub(tries[i-5]) <= 5*time.Minute {
				t.Errorf("six tries within five minutes: %v to %v", tries[i-5], tries[i])
			}
		}
		if len(tries) < 50 {
			t.Errorf("%d tries in an hour; want nearly one a minute", len(tries))
		}
	})

	t.Run("counts those that were in flight when a key was revoked", func(t *testing.T) {
		g := gate{probe: defaultProbe}
		g.enter(noon)
		g.leave(accepted, noon, noon, 0)
		for range 4 {
			g.enter(noon)
		}
		for range 4 {
			g.leave(rejected, noon, noon, 0)
		}
		if passed, retryAt := g.enter(noon.Add(29 * time.Second)); passed || !retryAt.Equal(noon.Add(30*time.Second)) {
			t.Errorf("passed %v, retry at %v; want refused until 30 s have passed", passed, retryAt)
		}
		if passed, _ := g.enter(noon.Add(30 * time.Second)); !passed {
			t.Fatal("the probe is refused")
		}
		g.leave(rejected, noon.Add(30*time.Second), noon.Add(30*time.Second), 0)
		if passed, _ := g.enter(noon.Add(5 * time.Minute)); passed {
			t.Error("a sixth request within five minutes passes")
		}
	})

	t.Run("rests for as long as the service locks the key", func(t *testing.T) {
		g := gate{probe: defaultProbe}
		g.enter(noon)
		g.leave(rejected, noon, noon, 5*time.Minute)
		if passed, _ := g.enter(noon.Add(5*time.Minute - 1)); passed {
			t.Error("passes while the key is locked")
		}
		if passed, _ := g.enter(noon.Add(5 * time.Minute)); !passed {
			t.Error("refused after the lock has ended")
		}
	})
}
