// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// certificates returns the certificate authorities that the operator trusts, in PEM.
// They are Mozilla's, from a module maintained by the Go project: its version is in
// go.mod, so that the image is the same on every build machine, and an update can be
// reviewed. The bundles of machines differ, and may contain a company's authority.
//
// An authority that Mozilla only trusts for certificates issued before some date is left
// out, because PEM cannot express that.
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
