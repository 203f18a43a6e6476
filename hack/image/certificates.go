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
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// certificates returns the authorities that the operator trusts, as PEM. They
// are Mozilla's, from a module that the Go project keeps current: its version
// stands in go.mod, so that the image is the same on whatever machine it is
// built, and an update is a change that can be reviewed. The machine's own
// bundle would differ from one to the next, and may hold a company's authority.
//
// An authority that Mozilla trusts only for certificates issued before some
// date is left out, since a PEM file cannot say so.
func certificates() ([]byte, error) {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		parsed, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		fmt.Fprintf(&text, "# %s\n", parsed.Subject)
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	if text.Len() == 0 {
		return nil, errors.New("no certificate authorities")
	}
	return text.Bytes(), nil
}
