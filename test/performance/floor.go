// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

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

// The bare client wakes once for all polls of a tick, as the operator does, and polls each
// job once in a period, with the operator's jitter.
const (
	floorTick   = 20 * time.Millisecond
	floorPeriod = 10 * time.Second
)

// pollAtRate is the bare client: a process that polls the simulator as often as the
// operator and does nothing else. It signs each request, reuses connections, and discards
// the responses. It runs until ctx is done.
func pollAtRate(ctx context.Context, o options) error {
	clients, err := bareClients(o)
	if err != nil {
		return err
	}
	// due has the numbers of the jobs that are due at each tick.
	due := make([][]int, 2*floorPeriod/floorTick)
	for job := range max(1, int(o.floorRate*floorPeriod.Seconds()+0.5)) {
		at := rand.N(int(floorPeriod / floorTick))
		due[at] = append(due[at], job)
	}
	if err := ask(ctx, clients[0], o.endpoint, floorJob); err != nil && o.errorRate == 0 {
		return err
	}
	wake := time.NewTicker(floorTick)
	defer wake.Stop()
	began, next := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-wake.C:
			for ; next < int(now.Sub(began)/floorTick); next++ {
				jobs := due[next%len(due)]
				due[next%len(due)] = nil
				for _, job := range jobs {
					// One that fails is not counted: on a busy machine, a connection may break.
					go func() { _ = ask(ctx, clients[job%len(clients)], o.endpoint, floorJob) }()
					again := (next + int((floorPeriod*9/10+rand.N(floorPeriod/5))/floorTick)) % len(due)
					due[again] = append(due[again], job)
				}
			}
		}
	}
}

// bareClients returns a transport for each connection.
func bareClients(o options) ([]*http.Transport, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.caFile != "" {
		bundle, err := os.ReadFile(o.caFile)
		if err != nil {
			return nil, err
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
	return clients, nil
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
