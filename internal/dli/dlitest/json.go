// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"bytes"
	"encoding/json"
	"time"
)

// In JSON, durations are strings such as "1m30s", and unknown fields are errors, because
// scripts are written by hand.

type plainPhase Phase

// MarshalJSON encodes the phase with After as a string.
func (p Phase) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		After string `json:"after"`
		plainPhase
	}{p.After.String(), plainPhase(p)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Phase) UnmarshalJSON(data []byte) error {
	read := struct {
		After string `json:"after"`
		*plainPhase
	}{plainPhase: (*plainPhase)(p)}
	if err := unmarshalStrict(data, &read); err != nil {
		return err
	}
	return parseDuration(read.After, &p.After)
}

type plainResponse Response

// UnmarshalJSON reads a response with Delay as a string.
func (r *Response) UnmarshalJSON(data []byte) error {
	read := struct {
		Delay string `json:"delay"`
		*plainResponse
	}{plainResponse: (*plainResponse)(r)}
	if err := unmarshalStrict(data, &read); err != nil {
		return err
	}
	return parseDuration(read.Delay, &r.Delay)
}

func unmarshalStrict(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

func parseDuration(text string, into *time.Duration) (err error) {
	if text != "" {
		*into, err = time.ParseDuration(text)
	}
	return err
}
