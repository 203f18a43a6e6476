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

package poller

import (
	"context"
	"math"
	"time"

	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// isRunning reports whether a job is in a state for which DLI reports progress.
func (j *job) isRunning() bool {
	return j.state == dli.StateRunning || j.state == dli.StateScaling
}

// askPercent reads the progress of a running job if wanted, at most once per refresh
// interval, and only while no poll waits: progress is informational, so it must not
// delay polls.
func (p *Poller) askPercent(ctx context.Context, j *job, now time.Time) {
	l := j.queue
	switch {
	case !j.target.Percent || !j.isRunning() || now.Before(j.percentDue):
		return
	case !l.isEmpty() || l.inFlight >= p.config.MaxRequests-p.inFlight:
		return
	}
	conn := p.connectionOf(l)
	if conn == nil || conn.Decide(now).Admit != connection.AdmitAll {
		return
	}
	request := conn.Begin(now, connection.CallProgress, j.target.JobID, "")
	if request == nil {
		return
	}
	j.percentDue = now.Add(p.config.Schedule.StatusRefreshInterval)
	p.count(l, false, 1)
	p.requests.Go(func() {
		progress, err := request.SendProgress(ctx, p.config.Clock.Now)
		failure, _ := connection.AsFailure(err)
		came := p.config.Clock.Now()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.count(l, false, -1)
		if err == nil && p.jobs[j.target.Key] == j {
			p.percentCame(j, progress.Fraction)
		}
		p.cameBack(ctx, l, failure, came)
	})
}

// percentCame handles the progress of a job, from 0 to 1; nil if DLI does not report
// it.
func (p *Poller) percentCame(j *job, fraction *float64) {
	if fraction == nil || !j.target.Percent || !j.isRunning() {
		return
	}
	percent := int32(math.Round(*fraction * 100))
	if known := j.progress.Progress; known == nil || *known != percent {
		j.progress.Progress = &percent
		p.config.Deliver(j.target.Key)
	}
}
