// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// Series holds the metrics of a process: name{labels} to value.
type Series map[string]float64

// Scrape reads the metrics of a process.
func Scrape(ctx context.Context, url string) (Series, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return ReadSeries(response.Body)
}

// ReadSeries reads metrics in Prometheus' text format.
func ReadSeries(text io.Reader) (Series, error) {
	all := Series{}
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ')
		if space < 0 || line[0] == '#' {
			continue
		}
		if value, err := strconv.ParseFloat(line[space+1:], 64); err == nil {
			all[line[:space]] = value
		}
	}
	return all, lines.Err()
}

// Sum adds up the series with a name and all the given labels, each written as
// name="value".
func (s Series) Sum(name string, labels ...string) (total float64) {
next:
	for key, value := range s {
		rest, ok := strings.CutPrefix(key, name)
		if !ok || rest != "" && rest[0] != '{' {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(rest, label) {
				continue next
			}
		}
		total += value
	}
	return total
}

// Count returns the number of series whose names begin with a prefix.
func (s Series) Count(prefix string) (n int) {
	for key := range s {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}

// Growth returns by how much the series of Sum have grown since before.
func (s Series) Growth(before Series, name string, labels ...string) float64 {
	return s.Sum(name, labels...) - before.Sum(name, labels...)
}

// Within returns the upper bound of the histogram bucket that contains a quantile of
// the observations since before.
func (s Series) Within(name string, before Series, share float64) float64 {
	total := s.Growth(before, name+"_count")
	least := math.Inf(1)
	for key, value := range s {
		rest, ok := strings.CutPrefix(key, name+`_bucket{le="`)
		if !ok || total == 0 || value-before[key] < share*total {
			continue
		}
		if le, err := strconv.ParseFloat(strings.TrimSuffix(rest, `"}`), 64); err == nil {
			least = min(least, le)
		}
	}
	return least
}
