package api

import (
	"sync"
	"time"
)

// failures counts failed attempts by address, in windows of a minute. Only what
// failed is counted and refused: many good clients behind one address are not.
type failures struct {
	limit int

	mu     sync.Mutex
	window time.Time
	counts map[string]int
}

// maxAddresses bounds one window; beyond it new addresses share a count.
const maxAddresses = 10_000

func newFailures(limit int) *failures { return &failures{limit: limit, counts: map[string]int{}} }

// add counts one failure. It returns how long the address is refused for, or 0.
func (f *failures) add(address string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.window) >= time.Minute {
		f.window, f.counts = now, map[string]int{}
	}
	if _, known := f.counts[address]; !known && len(f.counts) >= maxAddresses {
		address = ""
	}
	f.counts[address]++
	if f.counts[address] <= f.limit {
		return 0
	}
	return f.window.Add(time.Minute).Sub(now)
}
