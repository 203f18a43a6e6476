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

package dli

import "strings"

// redacted stands where a secret was.
const redacted = "[redacted]"

// minSecretBytes keeps a short credential, which is a test's, from blackening
// innocent words.
const minSecretBytes = 8

// secrets are the parts of one request that must not be shown: an endpoint that
// is hostile, or only helpful, may echo them in any text of its answer.
type secrets [5]string

// secretsOf gathers what authenticates a request, the longest first: one may be
// part of another.
func secretsOf(creds Credentials, signature string) secrets {
	return secrets{creds.Token, creds.SecurityToken, signature, creds.SecretAccessKey, creds.AccessKeyID}
}

// in returns text with every secret in it blackened.
func (s *secrets) in(text string) string {
	for _, secret := range s {
		if len(secret) >= minSecretBytes && strings.Contains(text, secret) {
			text = strings.ReplaceAll(text, secret, redacted)
		}
	}
	return text
}
