// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import "strings"

// redacted replaces a secret.
const redacted = "[redacted]"

// minSecretBytes prevents short credentials, which only tests have, from redacting
// ordinary words.
const minSecretBytes = 8

// secrets are the parts of one request that must not be shown: a hostile, or merely
// helpful, endpoint may echo them in any text of its answer.
type secrets [5]string

// secretsOf returns what authenticates a request, longest first: one may be part of
// another.
func secretsOf(creds Credentials, signature string) secrets {
	return secrets{creds.Token, creds.SecurityToken, signature, creds.SecretAccessKey, creds.AccessKeyID}
}

// in returns text with every secret redacted.
func (s *secrets) in(text string) string {
	for _, secret := range s {
		if len(secret) >= minSecretBytes && strings.Contains(text, secret) {
			text = strings.ReplaceAll(text, secret, redacted)
		}
	}
	return text
}

// withoutStart returns the start of a text, whose end is missing, without the start of a
// secret at its end.
func (s *secrets) withoutStart(text string) string {
	for _, secret := range s {
		for n := min(len(secret), len(text)); n > 0; n-- {
			if strings.HasSuffix(text, secret[:n]) {
				text = text[:len(text)-n]
				break
			}
		}
	}
	return text
}
