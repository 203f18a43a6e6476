// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package text

import (
	"cmp"
	"sync"
)

// Pool finds a common copy of texts that repeat. The package unique would forget it with the
// next collection of garbage, and objects change one by one. The zero value is empty.
type Pool struct {
	mu sync.Mutex
	// recent are the texts of late, of so many bytes, and older those before them: what is
	// not used again is forgotten.
	recent, older map[string]string
	bytes         int
}

// maxPoolBytes limits the recent texts, and textOverhead is what one takes besides its bytes.
const maxPoolBytes, textOverhead = 1 << 20, 64

// Replace replaces texts by a common copy.
func (p *Pool) Replace(texts ...*string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range texts {
		common, isRecent := p.recent[*text]
		if !isRecent {
			if p.bytes > maxPoolBytes || p.recent == nil {
				p.older, p.recent, p.bytes = p.recent, map[string]string{}, 0
			}
			common = cmp.Or(p.older[*text], *text)
			p.recent[common] = common
			p.bytes += len(common) + textOverhead
		}
		*text = common
	}
}
