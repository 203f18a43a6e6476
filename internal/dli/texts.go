// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"github.com/dli-operator/dli-operator/internal/text"
)

const (
	// maxProseBytes limits a job's statement and message, each.
	maxProseBytes = 4096
	// maxWordBytes, maxNameBytes and maxPathBytes limit the texts that name something:
	// job types; queues, users, databases, tables and columns; results in a bucket.
	maxWordBytes = 64
	maxNameBytes = 256
	maxPathBytes = 1024
	// maxErrorTextBytes limits how much of the message of an error is looked at.
	maxErrorTextBytes = 4096

	// widestEscape is how many bytes of JSON one byte of text can take: \u0041.
	widestEscape = 6
)

// Texts of the endpoint are cleaned, redacted and truncated here, in this order, once:
// what is invisible could split a secret, and a secret that is cut would not be found.

// prose is a text of any length. It shares memory with the body, of which only so much is
// decoded as is needed.
type prose struct{ value }

func (p *prose) UnmarshalJSON(text []byte) error {
	p.value = text
	return nil
}

// read returns the start of the text after clean, at least limit bytes of it if it is
// that long, and without the credentials.
func (p prose) read(limit int, clean func(string) string, hide *secrets) string {
	raw := p.value
	most := limit * widestEscape
	isCut := raw.isString() && len(raw) > most+len(`""`)
	if isCut {
		raw = cutString(raw, most)
	}
	shown := clean(raw.text())
	if isCut {
		shown = hide.withoutStart(shown)
	}
	return hide.in(shown)
}

// statement returns the text of a job's statement, and whether it was truncated.
func (p prose) statement(hide *secrets) (statement string, isTruncated bool) {
	whole := p.read(maxProseBytes, text.Printable, hide)
	statement = text.Truncate(whole, maxProseBytes)
	return statement, len(statement) < len(whole)
}

// message returns the text of a job's message. If it is truncated, it ends in "…", and in
// the first error code, if that would be lost.
func (p prose) message(hide *secrets) string {
	whole := p.read(maxProseBytes, text.Printable, hide)
	return withCode(whole, ErrorCode(whole))
}

// withCode returns a message of at most maxProseBytes. If code is not its first error code
// any more, it ends in it.
func withCode(whole, code string) string {
	message := text.Ellipsize(whole, maxProseBytes)
	if code != ErrorCode(message) {
		message = text.Ellipsize(whole, maxProseBytes-len(" ")-len(code)) + " " + code
	}
	return message
}

// name returns the text of a column's name or type as one line, or so much of it that it
// can only be truncated further.
func (p prose) name(hide *secrets) string {
	return text.Truncate(p.read(uncutTypeBytes, text.OneLine, hide), uncutTypeBytes)
}

// errorText returns an error's message as one line. It is longer than what is shown.
func (p prose) errorText(hide *secrets) string {
	return text.Truncate(p.read(maxErrorTextBytes, text.OneLine, hide), maxErrorTextBytes)
}

// wordOf, nameOf and pathOf are short texts. One that is too long or not printable is
// dropped, because a truncated name would name something else.
func wordOf(word lenientText, hide *secrets) string { return plainOf(word, maxWordBytes, hide) }
func nameOf(name lenientText, hide *secrets) string { return plainOf(name, maxNameBytes, hide) }
func pathOf(path lenientText, hide *secrets) string { return plainOf(path, maxPathBytes, hide) }

func plainOf(plain lenientText, limit int, hide *secrets) string {
	shown := hide.in(string(plain))
	if !text.IsPlain(shown, limit) {
		return ""
	}
	return shown
}
