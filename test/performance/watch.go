// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// shown is the decoded part of a watch event. It is small, because the benchmark shares its
// cores with what it measures.
type shown struct {
	Type   string `json:"type"`
	Object struct {
		Metadata struct {
			Name            string `json:"name"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Status struct {
			JobStatus  string `json:"jobStatus"`
			Outcome    string `json:"outcome"`
			Conditions []struct {
				Type   string `json:"type"`
				Status string `json:"status"`
				Reason string `json:"reason"`
			} `json:"conditions"`
		} `json:"status"`
	} `json:"object"`
}

// watch watches all DLIJobs, like clients that wait for them.
func (w *world) watch(ctx context.Context) error {
	config := w.controlPlane.Config()
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(config.Host, "/")
	if !strings.Contains(base, "://") {
		base = "https://" + base
	}
	base += "/apis/dli.huaweicloud.com/v1alpha1/dlijobs"
	version, err := latest(ctx, http, base)
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			if err := w.follow(ctx, http, base, &version); err != nil && ctx.Err() == nil {
				say("the watch continues after: %v", err)
			}
		}
	}()
	return nil
}

func latest(ctx context.Context, client *http.Client, url string) (string, error) {
	response, err := get(ctx, client, url+"?limit=1")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var list struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	return list.Metadata.ResourceVersion, errors.Join(json.NewDecoder(response.Body).Decode(&list), missing(&list.Metadata.ResourceVersion))
}

func missing(version *string) error {
	if *version == "" {
		return errors.New("the list of DLIJobs has no resource version")
	}
	return nil
}

func (w *world) follow(ctx context.Context, client *http.Client, url string, version *string) error {
	response, err := get(ctx, client, url+"?watch=1&allowWatchBookmarks=true&timeoutSeconds=3600&resourceVersion="+*version)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	for {
		var e shown
		if err := decoder.Decode(&e); err != nil {
			return err
		}
		now := time.Now()
		if e.Type == "ERROR" {
			return errors.New("the API server ended the watch")
		}
		*version = e.Object.Metadata.ResourceVersion
		if e.Type != "MODIFIED" {
			continue
		}
		i, err := strconv.Atoi(strings.TrimPrefix(e.Object.Metadata.Name, "bench-"))
		if err != nil {
			continue
		}
		status := &e.Object.Status
		words := []string{status.JobStatus, status.Outcome}
		for _, c := range status.Conditions {
			words = append(words, c.Type, c.Status, c.Reason)
		}
		w.jobs.show(i, strings.Join(words, " "), status.JobStatus != "", status.Outcome != "", now)
	}
}

func get(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return response, nil
}
