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

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// floorJob is the job that the bare client polls. It has no DLIJob, because the
// simulator's records of those are about the operator.
const floorJob = "floor"

// pollAtRate is the bare client: a process that polls the simulator as often as the
// operator and does nothing else. It signs each request, reuses connections,
// uses one timer per poll at random times, and discards the responses. It runs until
// ctx is done.
func pollAtRate(ctx context.Context, o options) error {
	const period = 10 * time.Second
	jobs := max(1, int(o.floorRate*period.Seconds()+0.5))
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.caFile != "" {
		bundle, err := os.ReadFile(o.caFile)
		if err != nil {
			return err
		}
		trust.RootCAs = x509.NewCertPool()
		trust.RootCAs.AppendCertsFromPEM(bundle)
	}
	clients := make([]*http.Transport, o.connections)
	for i := range clients {
		clients[i] = &http.Transport{
			TLSClientConfig: trust, ForceAttemptHTTP2: true,
			MaxIdleConns: 64, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		}
	}
	failed := make(chan error, 1)
	for i := range jobs {
		client := clients[i%len(clients)]
		var timer *time.Timer
		timer = time.AfterFunc(time.Hour, func() {
			if err := ask(ctx, client, o.endpoint, floorJob); err != nil && ctx.Err() == nil && o.errorRate == 0 {
				select {
				case failed <- err:
				default:
				}
			}
			timer.Reset(period*9/10 + rand.N(period/5))
		})
		timer.Reset(rand.N(period))
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func ask(ctx context.Context, client *http.Transport, endpoint, id string) error {
	user := dlitest.SampleUser()
	path := "/v1.0/" + user.ProjectID + "/jobs/" + id + "/status"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+path, http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Project-Id", user.ProjectID)
	if err := dlitest.Sign(r, user, time.Now()); err != nil {
		return err
	}
	response, err := client.RoundTrip(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("job %s: %s", id, response.Status))
	}
	return errors.Join(err, response.Body.Close())
}
